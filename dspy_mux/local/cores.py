"""Processor cores: how many threads a model may use, and whose turn it is.

llama.cpp's threads wait for one another at every layer, so a single thread without a core stalls all of them: measured, two
models with two threads each on two cores fall to a third of the speed, and sometimes to nothing. Models of one process
therefore take turns on the cores instead of sharing them.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from pathlib import Path

from ..errors import LocalModelError

THREADS_VARIABLE = "DSPY_MUX_THREADS"
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@functools.cache
def usable_cores() -> int:
    """Cores that this process may run on: its affinity mask, cut to the container's CPU quota; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()[:2]
        cores = min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass  # no control group, or "max": no quota
    return max(1, cores)


@functools.cache
def default_threads() -> int:
    """Threads for a model where the user names no number: DSPY_MUX_THREADS, or the cores that are free now; at least 1.

    Free are the usable cores less the one-minute load. Measured once per process: later, the load would be our own.

    Raises:
        LocalModelError: DSPY_MUX_THREADS is not a whole number of 1 or more.
    """
    told = os.environ.get(THREADS_VARIABLE)
    if told:
        if not told.isdigit() or int(told) < 1:
            raise LocalModelError(f"{THREADS_VARIABLE} must be a whole number of threads, 1 or more, not {told!r}.")
        return int(told)
    busy = round(os.getloadavg()[0]) if hasattr(os, "getloadavg") else 0
    return max(1, usable_cores() - busy)


class CoreBudget:
    """Cores handed out first come, first served.

    A holder that sees `contended` should stop taking on work once it has held its cores for `QUANTUM_S`, finish what runs and
    release: long enough to keep its slots full, short enough that a question put to three models does not wait on one.
    """

    QUANTUM_S = 0.5

    def __init__(self, cores: int) -> None:
        self._free = self._cores = cores
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def contended(self) -> bool:
        return bool(self._waiting)

    def acquire(self, threads: int) -> float:
        """Waits for this caller's turn and takes `threads` cores (all of them where it asks for more); returns the time."""
        need = min(threads, self._cores)
        me = object()
        with self._changed:
            self._waiting.append(me)
            while self._waiting[0] is not me or self._free < need:
                self._changed.wait()
            self._waiting.popleft()
            self._free -= need
            self._changed.notify_all()  # the next in line may fit beside this one
        return time.monotonic()

    def release(self, threads: int) -> None:
        with self._changed:
            self._free += min(threads, self._cores)
            self._changed.notify_all()


BUDGET = CoreBudget(usable_cores())
