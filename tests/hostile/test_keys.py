"""Keys: nothing that is written, shown or raised holds one, also where a server echoes it."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from dspy_mux.redact import looks_like_a_key, masked, without

from ..support.echo import echo_server
from ..support.keyed_run import KEYS, VARIABLE

ROOT = Path(__file__).parents[2]


def forms(key: str) -> list[bytes]:
    """A key as it may be written: as it is, quoted for an address, and as Basic authorization."""
    return [key.encode(), quote(key, safe="").encode(), base64.b64encode(f"user:{key}".encode())]


def test_a_run_with_known_keys_leaves_none_behind(tmp_path):
    folder, cache = tmp_path / "run", tmp_path / "cache"
    folder.mkdir()
    environment = {
        **os.environ,
        VARIABLE: KEYS["variable"],
        "DSPY_CACHEDIR": str(cache),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    with echo_server() as server:
        command = [sys.executable, "-m", "tests.support.keyed_run", str(folder), server.address]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=240)
    assert b"Told on stderr" in done.stderr, done.stderr.decode()[-3000:]
    sent = "\n".join(server.sent)
    assert all(any(form.decode() in sent for form in forms(key)) for key in KEYS.values()), (
        "the server saw no key to echo"
    )
    written = {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    expected = {
        "bank.sqlite",
        "debug.log",
        "best.json",
        "pool.json",
        "study.db",
        "report.html",
        "results.jsonl",
        "table.csv",
    }
    assert expected <= set(written)
    assert any(name.endswith(".verdict") for name in written)
    assert any(name.endswith(".error") for name in written)
    written |= {"stdout": done.stdout, "stderr": done.stderr}
    found = [
        (name, where)
        for name, key in KEYS.items()
        for where, content in written.items()
        for form in forms(key)
        if form in content
    ]
    assert found == []
    assert b"***" in written["bank.sqlite"]


def in_small_letters(quoted: str) -> str:
    return re.sub("%..", lambda sign: sign[0].lower(), quoted)


def in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def quotings(key: str) -> list[str]:
    """The ways in which a server may write what it was sent."""
    quoted = quote(key, safe="")
    plain = [
        key, quoted, in_small_letters(quoted), quote(key), quote_plus(key), quote(quoted),
        in_json(key), json.dumps(key, ensure_ascii=False)[1:-1],
        in_json(key).replace("/", r"\/"), repr(key)[1:-1],
    ]  # fmt: skip
    in_html = [html.escape(key), key.replace("/", "&#x2F;").replace("+", "&#43;")]
    return [
        *plain,
        *in_html,
        *map(in_json, plain + in_html),
        *map(html.escape, plain + in_html),
        *(quote(p, safe="") for p in plain),
    ]


@pytest.mark.parametrize(
    "key",
    [
        "sk-fake-A1b2C3d4E5f6G7h8", "fake/B+9=8.key-0123456789", "p4ss word&<1>\"2\"'3'",
        "back\\slash\\\\/1\\", "ключ-é-😀-1",
        "100%2F%25", "-----BEGIN KEY-----\nMII/+A=\n-----END KEY-----",
    ],
)  # fmt: skip
def test_a_key_is_masked_in_every_form(key):
    told = quotings(key)
    for form in told:
        assert without(f"1 {form} 2 {key} 3 {form} 4", [key]) == "1 *** 2 *** 3 *** 4"
    assert without("\n".join(told), [key]) == "\n".join(["***"] * len(told))
    assert without("back slash B 9 8 key p4ss word", [key]) == "back slash B 9 8 key p4ss word"


@pytest.mark.parametrize(
    "piece", ["sk-", "sk-a", "hf_", "Bearer ", "AIza-", "secret ", "a://b:", "\\", "%25", "&amp;"]
)
def test_looking_for_keys_takes_linear_time(piece):
    text = piece * (300_000 // len(piece))  # a careless pattern takes minutes
    looks_like_a_key(text)
    masked(text)
    without(
        f"{text}0123456789{text}",
        ["fake/B+9=8.key-0123456789", f"0123456789{piece}1", '\\"' * 50 + "0123456789"],
    )
