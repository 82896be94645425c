"""How a call under way can be stopped by whoever no longer waits for it: an engine offers, a draw takes up."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

#: Ways to stop the calls that are made in this context; None where nobody would use them.
stops: ContextVar[list[Callable[[], object]] | None] = ContextVar("dspy_mux_stops", default=None)


def offer(stop: Callable[[], object]) -> None:
    """Tell the draw around this call, if there is one, how to stop it. `stop` may be called from any thread, and too late."""
    offered = stops.get()
    if offered is not None:
        offered.append(stop)
