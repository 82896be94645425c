"""Reuse threads for draws: starting one costs as much as a fifth of a draw."""

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

#: Idle threads end after this many seconds, at the latest after twice as many.
IDLE_S = 5.0


class Workers:
    """Runs every job at once, each on a thread of its own.

    The threads are daemons: a call that hangs must not keep the interpreter from ending.
    """

    def __init__(self) -> None:
        # None ends the thread that takes it. Threads wait without a timeout: before Python 3.13
        # a wait with one could last for ever, too.
        self._jobs: queue.SimpleQueue[tuple[Callable[[], None], Callable[[], object]] | None] = (
            queue.SimpleQueue()
        )
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait, less the jobs that wait for them
        self._spare = 0  # the fewest idle threads since they were last counted
        self._threads = 0
        self._watched = False  # whether a thread runs that ends the spare ones

    def start(self, job: Callable[[], None], then: Callable[[], object] = lambda: None) -> None:
        """Run `job`, and `then` once its thread can take another job; neither may raise.

        Raises:
            RuntimeError: no thread is idle and none can be started; `job` never runs.
        """
        with self._lock:
            taken = self._idle > 0
            self._idle -= taken
            self._spare = min(self._spare, self._idle)
            self._threads += not taken
        if not taken:
            self._add_thread()
        # A new thread takes its job from the queue too: it would keep its arguments for life.
        self._jobs.put((job, then))
        if not self._watched:
            self._watch()

    def forget(self) -> None:
        """Begin anew: a forked process has none of the threads."""
        self.__init__()  # type: ignore[misc]

    def _add_thread(self) -> None:
        try:
            threading.Thread(target=self._work, name="dspy-mux-draw", daemon=True).start()
        except Exception:
            with self._lock:
                self._threads -= 1
            raise

    def _watch(self) -> None:
        with self._lock:
            watched, self._watched = self._watched, True
        if watched:
            return
        try:
            threading.Thread(target=self._end_spare, name="dspy-mux-draw", daemon=True).start()
        except Exception:  # noqa: BLE001  (the job runs all the same; the next one tries again)
            self._watched = False

    def _work(self) -> None:
        while (taken := self._jobs.get()) is not None:
            job, then = taken
            job()
            del taken, job  # what it held can be freed while this thread waits
            if self._threads > most_with_files():
                close_cache_files()
            with self._lock:
                self._idle += 1
            then()
            del then

    def _end_spare(self) -> None:
        """End spare threads until no thread is left."""
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
except ImportError:  # Windows, whose threads share no such limit
    resource = None  # type: ignore[assignment]

#: Files that a thread keeps open: a database and its log in each shard of DSPy's cache.
FILES_PER_THREAD = 32
#: Files that all threads may keep open where the process may open more; each takes memory too.
MOST_FILES = 1024


def most_with_files() -> float:
    """Return how many threads may keep files open, within half of what the process may open."""
    if resource is None:
        return MOST_FILES / FILES_PER_THREAD
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    half = math.inf if allowed == resource.RLIM_INFINITY else allowed / 2
    return min(MOST_FILES, half) / FILES_PER_THREAD


def close_cache_files() -> None:
    """Close this thread's files of DSPy's cache; to open them again takes a millisecond."""
    close = getattr(dspy.cache.disk_cache, "close", None)  # a dict where nothing is cached on disk
    if close is not None:
        with suppress(sqlite3.Error):  # they are closed with the thread then
            close()


Item = TypeVar("Item")

#: The shortest wait. Before Python 3.13, `SimpleQueue.get` waits for ever if its time is up before
#: it has begun to wait.
SHORTEST_WAIT_S = 0.02


def take(items: queue.SimpleQueue[Item], patience: float) -> Item:
    """Return the next item, for the one thread that takes from this queue.

    Args:
        patience: seconds to wait; infinity waits for ever, 0 or less not at all.

    Raises:
        queue.Empty: none came in that time, or in `SHORTEST_WAIT_S` if that is longer.
    """
    if patience <= 0:
        return items.get_nowait()
    return items.get(timeout=None if patience == math.inf else max(patience, SHORTEST_WAIT_S))
