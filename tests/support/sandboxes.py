"""Code and limits for tests that run it in a sandbox, and the processes that it leaves behind."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from programs.code.sandbox import Limits

# The memory is a number that distinguishes this module's processes from others.
SHORT = Limits(cpu=1, wall=2.0, memory=(256 << 20) + os.getpid())
BUSY = Limits(cpu=1, wall=60.0, memory=SHORT.memory)  # for code that uses up its CPU time
TESTS = (
    "def check(candidate):\n    assert candidate(2) == 'expected 4'\n"
    "    assert candidate(3) == 'expected 9'\n"
)
RIGHT = "def f(x):\n    return f'expected {x * x}'\n"


def left_behind() -> list[str]:
    """Return the processes of these tests' sandboxes that are still there after a while.

    The kernel ends a namespace just after its owner.
    """
    for _ in range(100):
        found = []
        for process in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):  # it ended meanwhile
                if str(SHORT.memory).encode() in (
                    command := Path(f"/proc/{process}/cmdline").read_bytes()
                ):
                    found.append(f"{process}: {command!r}")
        if not found:
            break
        time.sleep(0.05)
    return found
