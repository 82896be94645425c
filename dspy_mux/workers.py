"""Threads for draws: a thread that is done takes the next draw, for starting one costs as much as a fifth of a draw."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable

from . import cachefiles

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
                threading.Thread(target=self._end_the_spare, name="dspy-mux-draw", daemon=True).start()
            except Exception:  # noqa: BLE001  (the job runs all the same; the next one tries again)
                self._watched = False

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # what it held can go while this thread waits
            if self._threads > cachefiles.enough_for():
                cachefiles.let_go()
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
