"""What an engine can tell the draw around its call: how to stop it, and that it loads what is no draw's time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Waiting:
    """What waits for the calls of a draw: until it is over, or its time is up.

    Attributes:
        outer: of the draw around it, when a mux runs inside a mux.
    """

    def __init__(self) -> None:
        self.outer: Waiting | None = None
        self._lock = threading.Lock()
        self._over = False
        self._stops: list[Callable[[], object]] = []
        self._loads = 0
        # The deadline, and since when it is put off; in one, for it is read without the lock.
        self._time: tuple[float, float | None] = (math.inf, None)

    @property
    def deadline(self) -> float:
        """In `time.monotonic()`; infinite for none. While something is loaded it is put off, moment by moment."""
        deadline, since = self._time
        return deadline if since is None else deadline + time.monotonic() - since

    def begin(self, timeout: float | None) -> None:
        """The time that it has runs from now."""
        self._time = (math.inf if timeout is None else time.monotonic() + timeout, None)

    def end(self) -> None:
        """Nobody waits any more: what was offered is stopped, and what still is offered is stopped at once."""
        with self._lock:
            self._over = True
            stops, self._stops = self._stops, []
        for stop in stops:
            stop()

    def stop_with(self, stop: Callable[[], object]) -> None:
        """Have `stop` called when nobody waits any more."""
        with self._lock:
            if not self._over:
                self._stops.append(stop)
                return
        stop()

    def put_off(self, by: int) -> None:
        """The deadline, from when one more load has begun (1) until one less is under way (-1)."""
        with self._lock:
            (deadline, since), now = self._time, time.monotonic()
            self._loads += by
            self._time = (
                deadline if since is None else deadline + now - since,
                now if self._loads else None,
            )


#: Of the draw around this call; None where there is none.
waiting: ContextVar[Waiting | None] = ContextVar("dspy_mux_waiting", default=None)


def offer(stop: Callable[[], object]) -> None:
    """Tell the draw around this call, if there is one, how to stop it.

    `stop` may be called from any thread, too late, and at once, where the draw was given up before.
    """
    around = waiting.get()
    if around is not None:
        around.stop_with(stop)


@contextmanager
def loading() -> Iterator[None]:
    """Around what an engine loads before its first call: no time of the draws that wait for it."""
    around, each = [], waiting.get()
    while each is not None:
        around.append(each)
        each = each.outer
    for each in around:
        each.put_off(1)
    try:
        yield
    finally:
        for each in around:
            each.put_off(-1)
