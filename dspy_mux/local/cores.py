"""How many threads a model may use."""

from __future__ import annotations

import functools
import os
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
