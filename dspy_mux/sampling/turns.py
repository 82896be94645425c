"""Share an event loop: draws take turns, so that others on the loop are never kept waiting long.

To write a prompt and to read a reply take a millisecond of the loop each. Were they to run whenever
they can, some thousand draws that begin at once would hold up the loop for seconds.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias
from weakref import WeakKeyDictionary

#: Seconds of one pass of the loop in which turns may begin.
SLICE_S = 0.005
#: How many of those who wait are woken for one pass; there may be time for fewer.
_AT_ONCE = 16

#: A place in a queue: of the call, and of the wait. What was begun first is finished first.
Place: TypeAlias = tuple[int, int]
_call: ContextVar[int] = ContextVar("dspy_mux_turns")
_tickets = itertools.count()


class _Turns:
    """The turns on one loop. Holds no reference to it, or the loop would never be freed."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Place, asyncio.Future[None]]] = []
        self._ends: float | None = None  # of this pass; None until a turn begins in it
        self._planned = False  # whether `_next_pass` will run

    async def take(self) -> None:
        turn = next_place()
        while not self._may_begin(turn):
            woken = asyncio.get_running_loop().create_future()
            heapq.heappush(self._waiting, (turn, woken))
            await woken

    def _may_begin(self, turn: Place) -> bool:
        now = time.monotonic()
        if self._ends is None:
            self._ends = now + SLICE_S
            self._plan()
        return now < self._ends and not (self._waiting and self._waiting[0][0] < turn)

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._next_pass)

    def _next_pass(self) -> None:
        self._ends, self._planned = None, False
        woken = 0
        while self._waiting and woken < _AT_ONCE:
            _, future = heapq.heappop(self._waiting)
            if not future.done():  # the draw was cancelled
                future.set_result(None)
                woken += 1
        if woken:  # they run first, in the next pass
            self._plan()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()


def next_place() -> Place:
    """Return a place behind all others of this call, and before all of later calls."""
    ticket = next(_tickets)
    return _call.get(ticket), ticket


@contextmanager
def in_turn() -> Iterator[None]:
    """Give the turns of a call, those of its draws included, the place of its first one."""
    first = _call.set(_call.get(next(_tickets)))
    try:
        yield
    finally:
        _call.reset(first)


async def take_turn() -> None:
    """Return once this task may use the loop for some milliseconds, until it next waits."""
    loop = asyncio.get_running_loop()
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = _Turns()
    await turns.take()
