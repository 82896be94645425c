"""Threads for draws: a thread that is done takes the next draw, for starting one costs as much as a fifth of a draw."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from . import cachefiles

#: A thread that nobody needs for so long ends.
IDLE_S = 5.0


class _Worker:
    """One thread's place: the job laid there for it, and the lock that it waits at for the next one.

    A lock each, for `queue.SimpleQueue.get` with a timeout may wait for ever where several threads wait at one queue.
    """

    __slots__ = ("called", "job")

    def __init__(self, job: Callable[[], None]) -> None:
        self.job: Callable[[], None] | None = job
        self.called = threading.Lock()
        self.called.acquire()


class Workers:
    """Runs every job at once, each on a thread of its own.

    Daemon threads: a hung call must not keep the interpreter from ending after Ctrl-C.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []  # the last to be done is the first to be called; the others may end
        self._threads = 0

    def start(self, job: Callable[[], None]) -> None:
        """Run `job`, which must not raise."""
        with self._lock:
            worker = self._idle.pop() if self._idle else None
            self._threads += worker is None
        if worker is not None:
            worker.job = job
            worker.called.release()
        else:
            threading.Thread(target=self._work, args=(_Worker(job),), name="dspy-mux-draw", daemon=True).start()

    def forget(self) -> None:
        """Begin anew: in a forked process none of the threads is there."""
        self.__init__()  # type: ignore[misc]

    def _work(self, worker: _Worker) -> None:
        while True:
            job, worker.job = worker.job, None
            if job is not None:
                job()
            del job  # what it held can go while this thread waits
            if self._threads > cachefiles.enough_for():
                cachefiles.let_go()
            with self._lock:
                self._idle.append(worker)
            if not worker.called.acquire(timeout=IDLE_S) and self._ended(worker):
                return

    def _ended(self, worker: _Worker) -> bool:
        with self._lock:
            if worker in self._idle:
                self._idle.remove(worker)
                self._threads -= 1
                return True
        worker.called.acquire()  # just called
        return False


workers = Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.forget)
