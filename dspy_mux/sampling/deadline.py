"""The deadline of a draw, and how an engine reports loading or offers to be stopped.

An engine can say how its call is stopped (`offer`), and that it is loading something, which does
not count against the draw (`loading`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Deadline:
    """How long a draw is waited for: until it ends, or until its time is up.

    Attributes:
        outer: the deadline of the draw around it, when a mux runs inside a mux.
    """

    def __init__(self) -> None:
        self.outer: Deadline | None = None
        self._lock = threading.Lock()
        self._over = False
        self._stops: list[Callable[[], object]] = []
        self._loads = 0
        # The deadline and the time since when it is paused, in one tuple: read without the lock.
        self._time: tuple[float, float | None] = (math.inf, None)

    @property
    def at(self) -> float:
        """The deadline in `time.monotonic()`; infinite without one. It recedes while paused."""
        deadline, since = self._time
        return deadline if since is None else deadline + time.monotonic() - since

    def begin(self, timeout: float | None) -> None:
        """Start the clock."""
        self._time = (math.inf if timeout is None else time.monotonic() + timeout, None)

    def end(self) -> None:
        """Stop all calls: nobody waits for the draw any more."""
        with self._lock:
            self._over = True
            stops, self._stops = self._stops, []
        for stop in stops:
            stop()

    def on_end(self, stop: Callable[[], object]) -> None:
        """Have `stop` called when the draw ends; at once where it has ended."""
        with self._lock:
            if not self._over:
                self._stops.append(stop)
                return
        stop()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock of this draw alone, while it waits for its turn or its thread."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def pause(self) -> None:
        """Stop the clock until `resume` was called as often as `pause`."""
        self._count_load(1)

    def resume(self) -> None:
        self._count_load(-1)

    def _count_load(self, by: int) -> None:
        with self._lock:
            (deadline, since), now = self._time, time.monotonic()
            self._loads += by
            self._time = (
                deadline if since is None else deadline + now - since,
                now if self._loads else None,
            )


#: The deadline of the draw around this call; None outside of draws.
current_deadline: ContextVar[Deadline | None] = ContextVar("dspy_mux_deadline", default=None)


def offer(stop: Callable[[], object]) -> None:
    """Tell the draw around this call, if there is one, how to stop the call.

    `stop` may be called from any thread, after the call has ended, and at once where the draw has
    ended before.
    """
    deadline = current_deadline.get()
    if deadline is not None:
        deadline.on_end(stop)


@contextmanager
def loading() -> Iterator[None]:
    """Pause the deadlines of all draws around this call while an engine loads something."""
    around, deadline = [], current_deadline.get()
    while deadline is not None:
        around.append(deadline)
        deadline = deadline.outer
    for deadline in around:
        deadline.pause()
    try:
        yield
    finally:
        for deadline in around:
            deadline.resume()
