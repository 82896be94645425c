"""`dspy-mux serve` as a process: what it prints, and what signals do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from ..support.fault_server import Fault, always, fault_server
from ..support.wait import until

POOL = """
k = 2
temperature = 0.5
[[members]]
name = "{name}"
model = "openai/a"
api_base = "{address}"
api_key_env = "MEMBER_KEY"
engine = "lm15"
options = {{cache = false, num_retries = 0}}
"""
ENVIRONMENT = {**os.environ, "MEMBER_KEY": "none", "CLIENT_KEY": "a-key-for-the-tests"}


class Served:
    """A server in a process of its own.

    Attributes:
        lines: what it has written so far, to either stream.
    """

    def __init__(self, *options):
        command = [sys.executable, "-m", "dspy_mux", "serve", "--port", "0", *map(str, options)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: self.says("Serving ") or self.process.poll() is not None)

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def says(self, text):
        return any(text in line for line in list(self.lines))

    @property
    def url(self):
        first = next(line for line in self.lines if "Serving " in line)
        return first.split(" at ")[1].strip().removesuffix("/v1")

    def ask(self, model="pool", **fields):
        body = {"model": model, "messages": [{"role": "user", "content": "Where?"}], **fields}
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=60)

    def end(self):
        """Wait until it has ended; return its exit code."""
        code = self.process.wait(timeout=60)
        self._reader.join()
        return code


@contextmanager
def serving(*options) -> Iterator[Served]:
    served = Served(*options)
    try:
        yield served
    finally:
        served.process.kill()
        served.process.wait()


def write(path, address, name="a"):
    path.write_text(POOL.format(address=address, name=name))
    return path


@pytest.fixture
def pool(tmp_path):
    return tmp_path / "pool.toml"


@contextmanager
def hanging(pool, *options):
    """A server whose members never answer."""
    with (
        fault_server(always(Fault.HANG)) as faults,
        serving("--pool", write(pool, faults.address), *options) as served,
    ):
        yield served, faults


def test_it_reads_its_files_again_and_answers_before_it_ends(pool):
    with fault_server(lambda asked: None) as faults, ThreadPoolExecutor() as threads:
        write(pool, faults.address)
        with serving("--pool", pool, "--name", "my-mux") as served:
            assert served.ask("my-mux").status_code == 200
            write(pool, faults.address, "renamed")
            served.process.send_signal(signal.SIGHUP)
            until(lambda: served.says("my-mux/renamed"))
            assert served.ask("my-mux").json()["mux"]["member"] == "renamed"
            pool.write_text("k = ")
            served.process.send_signal(signal.SIGHUP)
            until(lambda: served.says("Still serving what was served before: The pool file"))
            faults.latency, before = 1.0, len(faults.requests)
            asked = threads.submit(served.ask, "my-mux")
            until(lambda: len(faults.requests) > before)
            served.process.terminate()
            assert asked.result().json()["mux"]["member"] == "renamed"
            assert served.end() == 0


def test_after_the_grace_clients_are_told(pool):
    with hanging(pool, "--grace", "0.2") as (served, faults), ThreadPoolExecutor() as threads:
        asked = [threads.submit(served.ask, stream=stream) for stream in (False, True)]
        until(lambda: len(faults.requests) == 2)
        served.process.terminate()
        assert all("shutting_down" in each.result().text for each in asked)
        assert served.end() == 0


def test_a_second_signal_ends_it_at_once(pool):
    with hanging(pool, "--grace", "1000") as (served, faults), ThreadPoolExecutor() as threads:
        asked = threads.submit(served.ask)
        until(lambda: faults.requests)
        served.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            served.process.wait(timeout=0.5)
        served.process.terminate()
        assert served.end() == 0
        asked.exception()
