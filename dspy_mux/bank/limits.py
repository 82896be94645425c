"""Budget: the LM calls and US dollars that a collection may spend, counted call by call."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dspy.utils.callback import BaseCallback

from ..sampling.grouped_call import first_asker
from ..sampling.usage import PricedCall, current_call

Limit = Literal["max_calls", "max_cost"]
#: Prices are sums of floats.
_ROUNDING = 1e-9


class LimitReached(BaseException):
    """Ends a draw whose next call does not fit the budget.

    A `BaseException`: a program must not take it for a failed call.
    """


@dataclass(eq=False)
class _Seen:
    """What a member's draws took so far.

    Attributes:
        calls: LM calls of its longest draw.
        cost: US dollars of its dearest draw.
        known: whether one of its draws came to an answer.
        dearest: US dollars of its dearest call.
        priced: whether its calls have a known price; None before the first one.
    """

    calls: int
    cost: float = 0.0
    known: bool = False
    dearest: float = 0.0
    priced: bool | None = None


class Limits(Protocol):
    """A budget, of this process (`Budget`) or of its parent (`RemoteBudget`)."""

    max_cost: float | None
    stopped: Limit | None

    @property
    def unpriced(self) -> list[str]:
        """Members whose calls have no known price."""

    def share(self, member: str) -> Share | None:
        """Return what a draw of this member may spend; None where nothing is left (yet)."""

    def begin(self, share: Share) -> float:
        """Reserve a call; return what it is expected to cost. Raises `LimitReached`."""

    def end(self, share: Share, expected: float, call: PricedCall, failed: bool) -> None:
        """Take note that a call ended, and of what it cost."""

    def further(self, share: Share) -> bool:
        """Count a choice that no call is made for; return whether it fits."""

    def charge(self, cost: float) -> None:
        """Add what such choices cost."""

    def settled(self, share: Share, *, answered: bool) -> None:
        """Take note that a draw ended or was given up."""


class Budget:
    """The LM calls and US dollars that all draws together may take.

    A draw begins where as much is left as the member's longest and dearest draw took, and a call
    is made where it fits; otherwise the draw ends there (`LimitReached`). So `max_calls` holds to
    the call. A price is known only from a response: until a member's first one, its draws are made
    one at a time; from then on calls in flight count as its dearest. So the cost exceeds
    `max_cost` by at most a member's first draw, and what calls in flight cost above the member's
    dearest call before them.

    >>> budget = Budget(max_calls=2, max_cost=None, longest={"a": 1})
    >>> one, two = budget.share("a"), budget.share("a")
    >>> budget.share("a") is None  # both calls are reserved
    True

    Args:
        longest: member → LM calls that a draw is assumed to need until one has come to an answer,
            as a program may skip steps. Where no draw is in flight, one may start with less.

    Attributes:
        stopped: the limit that was reached, or None.
    """

    def __init__(self, max_calls: int | None, max_cost: float | None, longest: Mapping[str, int]):
        self.max_calls, self.max_cost, self.longest = max_calls, max_cost, longest
        self.stopped: Limit | None = None
        self._seen = {name: _Seen(calls) for name, calls in longest.items()}
        self._drawing: set[Share] = set()
        self._calls, self._cost, self._expected = 0, 0.0, 0.0
        self._lock = threading.Lock()

    @property
    def unpriced(self) -> list[str]:
        """Members whose calls have no known price."""
        return [name for name, seen in self._seen.items() if seen.priced is False]

    def expect(self, member: str, calls: int) -> None:
        """Assume so many LM calls of a member's draw, unless the member is known."""
        with self._lock:
            self._seen.setdefault(member, _Seen(calls))

    def share(self, member: str) -> Share | None:
        """Return what a draw of this member may spend; None where nothing is left for it (yet)."""
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
        """Take note that a draw ended or was given up."""
        with self._lock:
            self._drawing.discard(share)
            seen = self._seen[share.member]
            if answered and share.calls and not seen.known:
                seen.calls, seen.known = share.calls, True
            seen.calls, seen.cost = max(seen.calls, share.calls), max(seen.cost, share.cost)

    def _without_room(self, member: str) -> Limit | Literal["price"] | None:
        """Return what forbids a draw of this member beside those in flight."""
        ours = self._seen[member]
        if self.max_calls is not None:
            in_flight = sum(
                max(0, self._seen[share.member].calls - share.calls) for share in self._drawing
            )
            needed = ours.calls if ours.known or self._drawing else 1
            if self._calls + in_flight + needed > self.max_calls:
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

    def begin(self, share: Share) -> float:
        """Reserve a call; return what it is expected to cost."""
        with self._lock:
            expected = self._seen[share.member].dearest
            if not self._takes_one(expected):
                raise LimitReached(self.stopped)
            share.calls += 1
            self._expected += expected
            return expected

    def _takes_one(self, expected: float) -> bool:
        """Count a call where it fits; note which limit it would pass."""
        if self.max_calls is not None and self._calls + 1 > self.max_calls:
            self.stopped = "max_calls"
        elif (
            self.max_cost is not None
            and self._cost + self._expected + expected > self.max_cost + _ROUNDING
        ):
            self.stopped = "max_cost"
        else:
            self._calls += 1
            return True
        return False

    def further(self, share: Share) -> bool:
        """Count a choice that no call is made for; return whether it fits."""
        with self._lock:
            return self._takes_one(self._seen[share.member].dearest)

    def charge(self, cost: float) -> None:
        """Add what such choices cost."""
        with self._lock:
            self._cost += cost

    def end(self, share: Share, expected: float, call: PricedCall, failed: bool) -> None:
        """Take note that a call ended, and of what it cost."""
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
    """One draw's share of a budget.

    As a DSPy callback it sees every LM call that the draw makes, by whichever LM.

    Attributes:
        member: whose draw it is.
        calls: LM calls made, those in flight included.
        cost: US dollars spent.
        refused: whether one of its calls did not fit the budget.
    """

    def __init__(self, budget: Limits, member: str):
        self.budget, self.member = budget, member
        self.calls, self.cost, self.refused = 0, 0.0, False
        self._in_flight: dict[str, tuple[float, PricedCall, object]] = {}
        self._lock = threading.Lock()
        #: Of draws in a group, this one and those within it: what the first call is expected to
        #: cost, where it is reserved; and that call, "" where the draw makes none any more.
        self._reserved: dict[object, float] = {}
        self._first: dict[object, str] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Share:
        return self  # it is the draw's, wherever DSPy's settings are copied to

    def reserve(self, claimant: object) -> bool:
        """Reserve a draw's first call, unless it is or has been; return whether it fits.

        Its choice may be asked for by another draw's request, before it makes the call.
        """
        with self._lock:
            if claimant not in self._first and claimant not in self._reserved:
                try:
                    self._reserved[claimant] = self.budget.begin(self)
                except LimitReached:
                    return False  # the draw may ask by itself
            return True

    def further(self) -> bool:
        """Count one more choice, for which no call is made; return whether it fits."""
        return self.budget.further(self)

    def refuse(self) -> None:
        """End a draw whose next call does not fit."""
        self.refused = True
        raise LimitReached(self.budget.stopped)

    def release(self, claimant: object, *, made: bool, cost: float) -> bool:
        """End the reservation of a call that a draw did not make.

        Args:
            made: whether another draw's request asked for its choice.
            cost: US dollars that choices cost of which no draw made a call.

        Returns:
            Whether the reservation counts for that choice.
        """
        with self._lock:
            reserved = self._reserved.pop(claimant, None)
            self._first[claimant] = ""
        if reserved is not None:
            self.budget.end(self, reserved, PricedCall(), failed=made)
        if cost:
            self.budget.charge(cost)
        return made and reserved is not None

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        call, claimant = PricedCall(), first_asker()
        try:
            if claimant is None or claimant.spender is not self:
                expected = self.budget.begin(self)
            else:
                with self._lock:  # until it is granted, nobody asks for a choice on its behalf
                    reserved = self._reserved.pop(claimant, None)
                    expected = self.budget.begin(self) if reserved is None else reserved
                    self._first[claimant] = call_id
        except LimitReached:
            self.refused = True
            raise
        self._in_flight[call_id] = expected, call, claimant
        current_call.set(call)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        expected, call, claimant = self._in_flight.pop(call_id)
        current_call.set(None)
        with self._lock:
            if self._first.get(claimant) == call_id:
                del self._first[claimant]  # it may be made again
        self.budget.end(self, expected, call, exception is not None)
