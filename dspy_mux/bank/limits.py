"""What a collection may spend, counted call by call, whichever of its threads makes them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dspy.utils.callback import BaseCallback

from ..sampling.usage import PricedCall, current_call

Limit = Literal["max_calls", "max_cost"]
#: Prices are sums of floats.
_ROUNDING = 1e-9


class LimitReached(BaseException):
    """Ends a draw whose next call the budget has no room for. No `Exception`: a program must not take it for a failed call."""


@dataclass(eq=False)
class _Seen:
    """What a member's draws took so far.

    Attributes:
        calls, cost: of its longest and its dearest draw; known: whether one of them came to an answer; dearest: of its calls;
            priced: whether what a call costs is known, None before one was made.
    """

    calls: int
    cost: float = 0.0
    known: bool = False
    dearest: float = 0.0
    priced: bool | None = None


class Budget:
    """LM calls and US dollars that all draws together may take.

    A draw is begun where there is room for as much as the member's longest and dearest draw so far took, and a call made where
    there is room for it; else the draw ends there (`LimitReached`). So `max_calls` holds to the call. What a call costs is known
    only from its response: until a member's first one is there its draws are made one at a time, and from then on calls under way
    count as the member's dearest. So the costs can pass `max_cost` by no more than what a member's first draw takes, and what
    calls under way take above the member's dearest before them.

    Args:
        longest: member → LM calls that one of its draws is taken to need until one has come to an answer: a program may have steps
            that it does not always take. Where no draw is under way, one may start with less.

    Attributes:
        stopped: the limit that was reached, or None.
    """

    def __init__(self, max_calls: int | None, max_cost: float | None, longest: Mapping[str, int]):
        self.max_calls, self.max_cost = max_calls, max_cost
        self.stopped: Limit | None = None
        self._seen = {name: _Seen(calls) for name, calls in longest.items()}
        self._drawing: set[Share] = set()
        self._calls, self._cost, self._expected = 0, 0.0, 0.0
        self._lock = threading.Lock()

    @property
    def unpriced(self) -> list[str]:
        """Members whose calls have no known price."""
        return [name for name, seen in self._seen.items() if seen.priced is False]

    def share(self, member: str) -> Share | None:
        """What a draw of this member may spend; None while, or because, there is no room for one more."""
        with self._lock:
            over = self.stopped or self._without_room(member)
            if over is None:
                share = Share(self, member)
                self._drawing.add(share)
                return share
            if not self._drawing and over != "price":
                self.stopped = over
            return None

    def settled(self, share: Share, *, answered: bool) -> None:
        """The draw has an outcome, or is given up."""
        with self._lock:
            self._drawing.discard(share)
            seen = self._seen[share.member]
            if answered and share.calls and not seen.known:
                seen.calls, seen.known = share.calls, True
            seen.calls, seen.cost = max(seen.calls, share.calls), max(seen.cost, share.cost)

    def _without_room(self, member: str) -> Limit | Literal["price"] | None:
        """What leaves no room for a draw of this member beside those under way."""
        ours = self._seen[member]
        if self.max_calls is not None:
            under_way = sum(
                max(0, self._seen[share.member].calls - share.calls) for share in self._drawing
            )
            needed = ours.calls if ours.known or self._drawing else 1
            if self._calls + under_way + needed > self.max_calls:
                return "max_calls"
        if self.max_cost is not None:
            if ours.priced is None and any(share.member == member for share in self._drawing):
                return "price"
            dear = sum(
                max(0.0, self._seen[share.member].cost - share.cost) for share in self._drawing
            )
            if (
                self._cost >= self.max_cost
                or self._cost + dear + ours.cost > self.max_cost + _ROUNDING
            ):
                return "max_cost"
        return None

    def _begin(self, share: Share) -> float:
        """Make room for a call; what it is expected to cost."""
        with self._lock:
            expected = self._seen[share.member].dearest
            if self.max_calls is not None and self._calls + 1 > self.max_calls:
                self.stopped = "max_calls"
            elif (
                self.max_cost is not None
                and self._cost + self._expected + expected > self.max_cost + _ROUNDING
            ):
                self.stopped = "max_cost"
            else:
                self._calls += 1
                share.calls += 1
                self._expected += expected
                return expected
            share.refused = True
            raise LimitReached(self.stopped)

    def _end(self, share: Share, expected: float, call: PricedCall, failed: bool) -> None:
        with self._lock:
            self._expected -= expected
            if not failed and not call.billed:  # DSPy's cache answered
                self._calls -= 1
                share.calls -= 1
            if call.billed:
                seen = self._seen[share.member]
                seen.priced = seen.priced or call.cost is not None
                seen.dearest = max(seen.dearest, call.cost or 0.0)
                self._cost += call.cost or 0.0
                share.cost += call.cost or 0.0


class Share(BaseCallback):
    """One draw's part of a budget; as a DSPy callback it sees every LM call that the draw makes, by whichever LM.

    Attributes:
        member: whose draw it is.
        calls, cost: spent by it, calls under way included.
        refused: whether a call of it was not made, for want of room.
    """

    def __init__(self, budget: Budget, member: str):
        self.budget, self.member = budget, member
        self.calls, self.cost, self.refused = 0, 0.0, False
        self._under_way: dict[str, tuple[float, PricedCall]] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Share:
        return self  # it is the draw's, wherever DSPy's settings are copied to

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        call = PricedCall()
        self._under_way[call_id] = self.budget._begin(self), call
        current_call.set(call)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        expected, call = self._under_way.pop(call_id)
        current_call.set(None)
        self.budget._end(self, expected, call, exception is not None)
