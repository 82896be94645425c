"""Threads for draws: a thread that is done takes the next draw, for starting one costs as much as a fifth of a draw."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from . import cachefiles

#: A thread that nobody needs for so long ends.
IDLE_S = 5.0


class Workers:
    """Runs every job at once, each on a thread of its own.

    Daemon threads: a hung call must not keep the interpreter from ending after Ctrl-C.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0  # threads that wait, less the jobs that wait for them
        self._threads = 0

    def start(self, job: Callable[[], None]) -> None:
        """Run `job`, which must not raise."""
        with self._lock:
            taken = self._idle > 0
            self._idle -= taken
            self._threads += not taken
        # Handed over by the queue also to a new thread: its arguments would be kept as long as it lives.
        self._jobs.put(job)
        if not taken:
            threading.Thread(target=self._work, name="dspy-mux-draw", daemon=True).start()

    def forget(self) -> None:
        """Begin anew: in a forked process none of the threads is there."""
        self.__init__()  # type: ignore[misc]

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._idle > 0:  # else a job is on its way to one of those that wait
                        self._idle -= 1
                        self._threads -= 1
                        return
                continue
            job()
            del job  # what it held can go while this thread waits
            if self._threads > cachefiles.enough_for():
                cachefiles.let_go()
            with self._lock:
                self._idle += 1


workers = Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.forget)
