"""Keys: nothing that is written, shown or raised holds one, also where a server echoes it."""

from __future__ import annotations

import base64
import html
import json
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from urllib.parse import quote, quote_plus

import dspy
import pytest

from dspy_mux import AllMembersFailed, PlainAdapter, SLMMux
from dspy_mux.adapters.fields import ECHOED_KEY
from dspy_mux.redact import looks_like_a_key, masked, without

from ..support.echo import echo_server
from ..support.http_models import model_server
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
    "piece",
    [
        "sk-",
        "sk-a",
        "hf_",
        "Bearer ",
        "AIza-",
        "eyJ-",
        "aB1-",
        "github_pat_",
        "xoxb-",
        "aB3",
        "secret ",
        "a://b:",
        "\\",
        "%25",
        "&amp;",
    ],
)
def test_looking_for_keys_takes_linear_time(piece):
    text = piece * (300_000 // len(piece))  # a careless pattern takes minutes
    looks_like_a_key(text)
    masked(text)
    without(
        f"{text}0123456789{text}",
        ["fake/B+9=8.key-0123456789", f"0123456789{piece}1", '\\"' * 50 + "0123456789"],
    )


# Answers: one is never altered, and one with its member's key is refused.

OWN_KEY = "sk-own-A1b2C3d4E5f6G7h8"
ANSWERS = [
    "customer_identifier",  # the value of a variable named like a key
    "Kx8vQ2mZ7tRb4Lp9Yw3Nc6Hd",  # that of a token
    "sk-users-0123456789abcdef",  # somebody's key: a program may look for leaked ones
    "Bearer 0123456789abcdef",
    "password: hunter2",
    "ollama",
]
REPLIES = {
    "chat": (dspy.ChatAdapter(), "[[ ## answer ## ]]\n{}\n\n[[ ## completed ## ]]"),
    "json": (dspy.JSONAdapter(), '{{"answer": "{}"}}'),
    "plain": (PlainAdapter(), "{}"),
}


@pytest.fixture(scope="module")
def says():
    """A mux of one member with this key, whose server gives this answer."""
    with model_server() as server:

        def mux(how: str, answer: str, key: str) -> SLMMux:
            adapter, reply = REPLIES[how]
            name = f"m{len(server.replies)}"
            server.replies[name] = ({"content": reply.format(answer)}, "stop")
            lm = dspy.LM(
                f"openai/{name}", api_base=f"{server.address}/v1", api_key=key, engine="lm15"
            )
            return SLMMux(dspy.Predict("question -> answer"), [lm], k=1, adapter=adapter)

        yield mux


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("how", REPLIES)
@pytest.mark.parametrize("key", [OWN_KEY, "ollama", "customer_identifier"])
def test_an_answer_is_never_altered(monkeypatch, says, how, answer, key):
    monkeypatch.setenv("PARTITION_KEY", ANSWERS[0])
    monkeypatch.setenv("SERVICE_TOKEN", ANSWERS[1])
    pred = says(how, answer, key)(question="?")
    assert pred.answer == answer
    assert pred.verdict.ballots[0].answers[0].answer == answer


@pytest.mark.parametrize("how", REPLIES)
@pytest.mark.parametrize("echo", [OWN_KEY, f"You sent <{OWN_KEY}>", OWN_KEY.replace("-", "%2D")])
def test_an_answer_with_its_members_key_is_refused(says, how, echo):
    with pytest.raises(AllMembersFailed) as failed:
        says(how, echo, OWN_KEY)(question="?")
    assert list(failed.value.causes.values()) == [[ECHOED_KEY]]
    assert OWN_KEY not in "".join(traceback.format_exception(failed.value))
    # Another member's key is a text like any other.
    assert says(how, echo, "sk-other-0123456789")(question="?").answer == echo
