"""The files that DSPy's cache on disk holds open: sixteen databases and their logs for every thread that uses it.

A mux draws on many threads, so that few questions at once would take every file that a process may open.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

import dspy

try:
    import resource
except ImportError:  # Windows, where threads have no such bound in common
    resource = None  # type: ignore[assignment]

#: Of one thread: a database and its log in each of the cache's shards.
FILES = 32
#: What the threads may keep together, where the process may open more; each also takes memory for its pages.
MOST = 1024


def enough_for() -> float:
    """How many threads may keep them, so that they take no more than half of what the process may open."""
    if resource is None:
        return MOST / FILES
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (MOST if allowed == resource.RLIM_INFINITY else min(MOST, allowed / 2)) / FILES


def let_go() -> None:
    """Close those of this thread; it opens them again when it needs them, which takes about a millisecond."""
    close = getattr(dspy.cache.disk_cache, "close", None)  # a dict where there is no cache on disk
    if close is not None:
        with suppress(sqlite3.Error):  # then they are closed with the thread
            close()
