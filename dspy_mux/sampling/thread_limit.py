"""Bound the threads of all draws of this process, and queue the draws that find none free.

A program may run a mux within a draw, in a tool, or on threads of its own, so draws may wait for
draws that are still queued. Two rules keep them from waiting for ever: a call within a draw always
has a thread for one of its draws, and where no thread has come free for `STALLED_S`, the first call
in the queue without a draw under way gets one more.
"""

from __future__ import annotations

import contextvars
import heapq
import os
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from weakref import WeakSet

from ..errors import ConfigurationError
from .threads import workers
from .turns import Place, next_place

VARIABLE = "DSPY_MUX_DRAW_THREADS"
#: Threads of draws at once in this process, unless `DSPY_MUX_DRAW_THREADS` says otherwise.
MOST_THREADS = 512
#: Seconds without a thread that comes free until one more is allowed.
STALLED_S = 1.0

#: How many jobs with a permit this one runs within.
_depth: ContextVar[int] = ContextVar("dspy_mux_thread_depth", default=0)
_limits: WeakSet[ThreadLimit] = WeakSet()


class NoThread(Exception):
    """The system starts no further thread."""

    def __str__(self) -> str:
        return (
            "the system starts no further thread: lower DSPY_MUX_DRAW_THREADS or num_threads, or "
            "raise its limit (ulimit -u, a container's pids limit)"
        )


def most_threads() -> int:
    """Return DSPY_MUX_DRAW_THREADS, or its default.

    Raises:
        ConfigurationError: DSPY_MUX_DRAW_THREADS is not a whole number of 1 or more.
    """
    value = os.environ.get(VARIABLE)
    if not value:
        return MOST_THREADS
    if not value.isdecimal() or int(value) < 1:
        raise ConfigurationError(
            f"{VARIABLE} must be a whole number of threads, 1 or more, not {value!r}."
        )
    return int(value)


class ThreadLimit:
    """At most so many permits at once; each is a right to one thread.

    Args:
        most: returns how many; asked whenever somebody begins to ask for permits.
    """

    def __init__(self, most: Callable[[], int]):
        self._most = most
        self.forget()
        _limits.add(self)

    def forget(self) -> None:
        """Begin anew: a forked process has none of the threads."""
        self.lock = threading.Lock()
        self._allowed = 0
        self._held = 0
        #: What the system allows, as far as is known while somebody waits.
        self._possible: int | None = None
        self._queue: list[tuple[int, Place, Applicant]] = []
        self._moved = time.monotonic()

    def applicant(self, notify: Callable[[], object], *, reserve: bool = False) -> Applicant:
        """Return a new applicant for permits.

        Args:
            notify: called on any thread when there is a permit to take that there was not before.
            reserve: whether its first permit is beyond the limit where it asks within a draw.

        Raises:
            ConfigurationError: DSPY_MUX_DRAW_THREADS is no number of threads.
        """
        most, depth = self._most(), _depth.get()
        with self.lock:
            self._allowed = most
        return Applicant(self, notify, depth, reserve=reserve and depth > 0)

    def relieve(self) -> None:
        """Allow one more thread where none has come free for `STALLED_S`; for those who wait."""
        with self.lock:
            if time.monotonic() - self._moved < STALLED_S:
                return
            waiting = [place for place in self._queue if not place[2].holds]
            if not waiting:
                return
            place = min(waiting)
            self._queue.remove(place)
            heapq.heapify(self._queue)
            notify = self._grant(place[2], last=True)
        notify()

    # All below with the lock held.

    def _has_room(self) -> bool:
        most = self._allowed if self._possible is None else min(self._allowed, self._possible)
        return self._held < most

    def _hold(self, applicant: Applicant) -> None:
        self._held += 1
        applicant.holds += 1
        self._moved = time.monotonic()

    def _drop(self, applicant: Applicant) -> None:
        self._held -= 1
        applicant.holds -= 1
        self._moved = time.monotonic()

    def _grant(self, applicant: Applicant, *, last: bool = False) -> Callable[[], object]:
        applicant.queued = False
        applicant.granted.append(Permit(self, applicant, last=last))
        self._hold(applicant)
        return applicant.notify

    def _fill(self) -> list[Callable[[], object]]:
        """Grant what there is room for; return whom to notify, once the lock is free."""
        notify = []
        while self._queue and self._has_room():
            notify.append(self._grant(heapq.heappop(self._queue)[2]))
        if not self._queue:
            self._possible = None
        return notify

    def _enqueue(self, applicant: Applicant) -> None:
        if not applicant.queued:
            applicant.queued = True
            heapq.heappush(self._queue, (-applicant.depth, applicant.place, applicant))


class Applicant:
    """One call that asks for permits; inner calls before outer ones, then first come, first served.

    Attributes:
        holds: permits that it has, including granted ones that it has not taken.
    """

    def __init__(
        self,
        limit: ThreadLimit,
        notify: Callable[[], object],
        depth: int,
        *,
        reserve: bool,
    ):
        self.limit, self.notify, self.depth, self.reserve = limit, notify, depth, reserve
        self.place = next_place()
        self.holds = 0
        self.queued = self._refused = False
        self.granted: list[Permit] = []

    def take(self) -> Permit | None:
        """Return a permit; or None and join the queue."""
        limit = self.limit
        with limit.lock:
            if self.granted:
                self._refused = False
                return self.granted.pop()
            first = self.reserve and not self.holds
            room = limit._has_room() and not limit._queue
            if not self._refused and (first or room):
                limit._hold(self)
                return Permit(limit, self)
            limit._enqueue(self)
            return None

    def satisfied(self) -> None:
        """Note that it needs no more for now: what it asks for next is behind the others."""
        self.place = next_place()

    def refused(self, permit: Permit) -> bool:
        """Note that the system started no thread; return whether to wait until one comes free."""
        limit = self.limit
        with limit.lock:
            permit.held = False
            limit._drop(self)
            limit._possible = max(1, limit._held)
            if permit.last or not any(each._held for each in list(_limits)):
                return False
            self._refused = True
            limit._enqueue(self)
        return True

    def leave(self) -> None:
        """Leave the queue, and give back what was granted and not taken."""
        limit = self.limit
        with limit.lock:
            if self.queued:
                self.queued = False
                limit._queue = [place for place in limit._queue if place[2] is not self]
                heapq.heapify(limit._queue)
            for permit in self.granted:
                permit.held = False
                limit._drop(self)
            self.granted.clear()
            notify = limit._fill()
        for each in notify:
            each()


class Permit:
    """A right to one thread, until it is released.

    Attributes:
        last: whether it was granted beyond the limit, to end a wait.
    """

    def __init__(self, limit: ThreadLimit, applicant: Applicant, *, last: bool = False):
        self.limit, self.applicant, self.last = limit, applicant, last
        self.held = True

    def start(
        self,
        job: Callable[[], None],
        then: Callable[[], object] = lambda: None,
        context: contextvars.Context | None = None,
    ) -> None:
        """Run `job`, which must not raise, on a thread.

        Args:
            then: called when the thread is free for another job.
            context: of the job alone; None for a copy of this one.

        Raises:
            NoThread: the system starts none, and none is idle; the permit is still held.
        """
        context = context or contextvars.copy_context()
        context.run(_deepen)

        def free() -> None:
            self.release()
            then()

        try:
            workers.start(partial(context.run, job), free)
        except RuntimeError as error:
            raise NoThread from error

    def release(self) -> None:
        """Give the thread to the next in the queue; no effect the second time."""
        limit = self.limit
        with limit.lock:
            if not self.held:
                return
            self.held = False
            limit._drop(self.applicant)
            notify = limit._fill()
        for each in notify:
            each()


def _deepen() -> None:
    _depth.set(_depth.get() + 1)


def forget_all() -> None:
    """Begin anew in a forked process."""
    for limit in list(_limits):
        limit.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_all)

#: The threads that draws run on.
draw_threads = ThreadLimit(most_threads)
