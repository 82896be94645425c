"""How many examples a fuzz test tries, and how long one of them may take."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import settings


def share(part: float) -> settings:
    """For tests whose examples are dear, or cheap: so many times the examples of the profile."""
    return settings(max_examples=max(5, round(settings().max_examples * part)))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Fails where the block takes longer. One that would hang is interrupted, on systems that
    have timers."""

    def interrupt(*_: Any) -> None:
        raise AssertionError(f"not done after {seconds} s")

    timed = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGALRM, interrupt) if timed else None
    began = time.monotonic()
    try:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
    finally:
        if timed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - began < seconds
