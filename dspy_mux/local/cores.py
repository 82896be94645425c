"""How many threads a model may use."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path

from ..errors import LocalModelError

THREADS_VARIABLE = "DSPY_MUX_THREADS"
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_LOAD = Path("/proc/loadavg")


def usable_cores() -> int:
    """Cores that this process may run on: its affinity mask, cut to the container's CPU quota; at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()[:2]
        cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no control group, or "max": no quota
    return max(1, cores)


def busy_cores() -> int:
    """Threads of other processes that want a core now; where the system does not tell, the load of the last minute."""
    try:
        # The third figure, "running/all"; the least of a few looks, as much that runs does so for a moment only.
        looks = []
        for _ in range(5):
            looks.append(int(_LOAD.read_text().split()[3].split("/")[0]) - 1)
            time.sleep(0.005)
        return max(0, min(looks))
    except (OSError, ValueError, IndexError):
        return round(os.getloadavg()[0]) if hasattr(os, "getloadavg") else 0


@functools.cache
def default_threads() -> int:
    """Threads for a model where the user names no number: DSPY_MUX_THREADS, or the cores that are free now; at least 1.

    Found once per process: later, what is busy would be our own other models.

    Raises:
        LocalModelError: DSPY_MUX_THREADS is not a whole number of 1 or more.
    """
    told = os.environ.get(THREADS_VARIABLE)
    if told:
        if not told.isdigit() or int(told) < 1:
            raise LocalModelError(
                f"{THREADS_VARIABLE} must be a whole number of threads, 1 or more, not {told!r}."
            )
        return int(told)
    return max(1, min(usable_cores(), (os.cpu_count() or 1) - busy_cores()))
