"""Count the cores that are free: how many threads a model may use."""

from __future__ import annotations

import functools
import os
import time
from pathlib import Path

from ..errors import ConfigurationError

THREADS_VARIABLE = "DSPY_MUX_THREADS"
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_LOAD = Path("/proc/loadavg")


def usable_cores() -> int:
    """Return the cores of the affinity mask, cut to the container's CPU quota; at least 1."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()[:2]
        cores = min(cores, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no control group, or "max", which is no quota
    return max(1, cores)


def busy_cores() -> int:
    """Return how many threads of other processes want a core now.

    Where the system does not say, the load of the last minute stands in.
    """
    try:
        # The fourth figure, "running/all"; the minimum of a few looks, as many threads run briefly.
        looks = []
        for _ in range(5):
            looks.append(int(_LOAD.read_text().split()[3].split("/")[0]) - 1)
            time.sleep(0.005)
        return max(0, min(looks))
    except (OSError, ValueError, IndexError):
        return round(os.getloadavg()[0]) if hasattr(os, "getloadavg") else 0


@functools.cache
def default_threads() -> int:
    """Return DSPY_MUX_THREADS, or the number of cores that are free now; at least 1.

    Computed once per process: later, the busy cores would be those of our own other models.

    Raises:
        ConfigurationError: DSPY_MUX_THREADS is not a whole number of 1 or more.
    """
    threads = os.environ.get(THREADS_VARIABLE)
    if threads:
        if not threads.isdigit() or int(threads) < 1:
            raise ConfigurationError(
                f"{THREADS_VARIABLE} must be a whole number of threads, 1 or more, not {threads!r}."
            )
        return int(threads)
    return max(1, min(usable_cores(), (os.cpu_count() or 1) - busy_cores()))
