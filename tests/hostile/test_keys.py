"""Keys: nothing that is written, shown or raised holds one, also where a server echoes it."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from .echoing import echo_server
from .keyed_run import KEYS, VARIABLE

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
        command = [sys.executable, "-m", "tests.hostile.keyed_run", str(folder), server.address]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=240)
    assert b"Told on stderr" in done.stderr, done.stderr.decode()[-3000:]
    sent = "\n".join(server.sent)
    assert all(any(form.decode() in sent for form in forms(key)) for key in KEYS.values()), "the server saw no key to echo"
    written = {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    expected = {"bank.sqlite", "debug.log", "best.json", "pool.json", "study.db", "report.html", "results.jsonl", "table.csv"}
    assert expected <= set(written)
    assert any(name.endswith(".verdict") for name in written)
    assert any(name.endswith(".error") for name in written)
    written |= {"stdout": done.stdout, "stderr": done.stderr}
    found = [
        (name, where) for name, key in KEYS.items() for where, content in written.items() for form in forms(key) if form in content
    ]
    assert found == []
    assert b"***" in written["bank.sqlite"]
