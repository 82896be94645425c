from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest

#: DSPy's own prices, not those of today that it would fetch.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch):
    """Shortens the pauses between attempts to a twentieth, and the life of idle threads."""
    monkeypatch.setattr("dspy_mux.sampling.retry.FIRST_WAIT_S", 0.05)
    monkeypatch.setattr("dspy_mux.sampling.threads.IDLE_S", 0.05)


@pytest.fixture(autouse=True)
def quiet():
    """DSPy warns of each short and each truncated response."""
    logger = logging.getLogger("dspy")
    before = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(before)


@pytest.fixture
def nothing_left():
    """Fails where more threads or files stay than there were before; shows what is left."""
    _settled()
    threads, files = set(threading.enumerate()), open_files()

    def left() -> list[str]:
        frames = sys._current_frames()
        ours = [thread for thread in threading.enumerate() if thread not in threads]
        return [
            thread.name + "".join(traceback.format_stack(frames.get(thread.ident or 0), 4))
            for thread in ours
        ]

    def check() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and (left() or open_files() > files):
            gc.collect()  # what only a cycle of references holds is not left behind
            time.sleep(0.02)
        assert (left(), max(0, open_files() - files)) == ([], 0)

    return check


def _settled() -> None:
    # What an earlier test used may still be on its way out.
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline and any(
        thread.name == "dspy-mux-draw" for thread in threading.enumerate()
    ):
        time.sleep(0.02)


def open_files() -> int:
    """Files and sockets that this process has open."""
    return len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"))
