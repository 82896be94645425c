"""Threads for draws: a thread that is done takes the next draw, for starting one costs as much as a fifth of a draw."""

from __future__ import annotations

import math
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import dspy

#: A thread that nobody needs for so long ends, at the latest after twice that time.
IDLE_S = 5.0


class Workers:
    """Runs every job at once, each on a thread of its own.

    Daemon threads: a hung call must not keep the interpreter from ending after Ctrl-C.
    """

    def __init__(self) -> None:
        # None ends the thread that takes it. (Threads wait for ever: before Python 3.13 a wait with a timeout might, too.)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait, less the jobs that wait for them
        self._spare = 0  # the fewest that were idle since they were last counted
        self._threads = 0
        self._watched = False  # whether a thread is there that ends the spare ones

    def start(self, job: Callable[[], None]) -> None:
        """Run `job`, which must not raise.

        Raises:
            RuntimeError: no thread is idle and none can be started; `job` never runs.
        """
        with self._lock:
            taken = self._idle > 0
            self._idle -= taken
            self._spare = min(self._spare, self._idle)
            self._threads += not taken
        if not taken:
            self._add()
        # Handed over by the queue also to a new thread: its arguments would be kept as long as it lives.
        self._jobs.put(job)
        if not self._watched:
            self._watch()

    def forget(self) -> None:
        """Begin anew: in a forked process none of the threads is there."""
        self.__init__()  # type: ignore[misc]

    def _add(self) -> None:
        try:
            threading.Thread(target=self._work, name="dspy-mux-draw", daemon=True).start()
        except Exception:
            with self._lock:
                self._threads -= 1
            raise

    def _watch(self) -> None:
        with self._lock:
            watched, self._watched = self._watched, True
        if not watched:
            try:
                threading.Thread(
                    target=self._end_the_spare, name="dspy-mux-draw", daemon=True
                ).start()
            except Exception:  # noqa: BLE001  (the job runs all the same; the next one tries again)
                self._watched = False

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # what it held can go while this thread waits
            if self._threads > enough_for():
                let_go()
            with self._lock:
                self._idle += 1

    def _end_the_spare(self) -> None:
        """Until there is no thread left."""
        while True:
            time.sleep(IDLE_S)
            with self._lock:
                ending = self._spare
                self._idle -= ending
                self._threads -= ending
                self._spare = self._idle
                left = self._watched = self._threads > 0
            for _ in range(ending):
                self._jobs.put(None)
            if not left:
                return


workers = Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.forget)


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


Item = TypeVar("Item")

#: Before Python 3.13, `SimpleQueue.get` waits for ever if its time is up before it has begun to wait: so never for less than this.
SHORTEST_S = 0.02


def take(items: queue.SimpleQueue[Item], patience: float) -> Item:
    """The next item, for the one thread that takes from this queue.

    Args:
        patience: seconds to wait for it; infinity is for ever, 0 or less not at all.

    Raises:
        queue.Empty: none came in that time (or in `SHORTEST_S`, if that is longer).
    """
    if patience <= 0:
        return items.get_nowait()
    return items.get(timeout=None if patience == math.inf else max(patience, SHORTEST_S))
