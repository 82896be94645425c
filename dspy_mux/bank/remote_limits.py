"""A parent's budget in its child processes: each call is asked for, so the sum holds exactly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from ..sampling.interrupt import Interrupt
from ..sampling.usage import PricedCall
from .limits import Budget, Limit, LimitReached, Share

#: Seconds until a draw that waits for other processes' draws asks again.
_AGAIN_S = 0.05


class RemoteBudget:
    """The budget of the parent process, as its child sees it.

    Args:
        ask: sends a question to `Account.answer` and returns the reply.
        interrupt: ends a wait for room.
    """

    def __init__(
        self, ask: Callable[..., dict[str, Any]], max_cost: float | None, interrupt: Interrupt
    ):
        self._ask_parent, self.max_cost, self._interrupt = ask, max_cost, interrupt
        self.stopped: Limit | None = None
        self.unpriced: list[str] = []
        self._open = 0  # draws of this process under way
        self._numbers: WeakKeyDictionary[Share, int] = WeakKeyDictionary()

    def share(self, member: str) -> Share | None:
        """Return what a draw may spend; None where nothing is left, or not before one of ours ends.

        Where only draws of other processes are under way, wait for them.
        """
        while (reply := self._ask("share", member=member))["share"] is None:
            if self.stopped is not None or self._open or self._interrupt.asked:
                return None
            time.sleep(_AGAIN_S)
        share = Share(self, member)
        self._numbers[share] = reply["share"]
        self._open += 1
        return share

    def settled(self, share: Share, *, answered: bool) -> None:
        """Take note that a draw ended or was given up."""
        self._open -= 1
        self._ask("settled", share=self._numbers[share], answered=answered)

    def begin(self, share: Share) -> float:
        """Reserve a call; return what it is expected to cost."""
        expected: float | None = self._ask("begin", share=self._numbers[share])["expected"]
        if expected is None:
            raise LimitReached(self.stopped)
        return expected

    def further(self, share: Share) -> bool:
        """Count a choice that no call is made for; return whether it fits."""
        fits: bool = self._ask("further", share=self._numbers[share])["expected"] is not None
        return fits

    def charge(self, cost: float) -> None:
        """Add what such choices cost."""
        self._ask("charge", cost=cost)

    def end(self, share: Share, expected: float, call: PricedCall, failed: bool) -> None:
        """Take note that a call ended, and of what it cost."""
        self._ask(
            "end",
            share=self._numbers[share],
            expected=expected,
            billed=call.billed,
            cost=call.cost,
            failed=failed,
        )

    def _ask(self, question: str, **details: Any) -> dict[str, Any]:
        try:
            reply = self._ask_parent(question, **details)
        except (EOFError, OSError):  # the parent has ended, and nobody may spend any more
            return {"share": None, "expected": None}
        self.stopped, self.unpriced = reply["stopped"], reply["unpriced"]
        return reply


class Account:
    """What one child process spends of a budget."""

    def __init__(self, budget: Budget):
        self._budget = budget
        self._made = 0
        self._shares: dict[int, Share] = {}
        self._settled: set[int] = set()
        #: What the calls under way are expected to cost.
        self._calls: dict[int, list[float]] = {}

    def answer(self, question: str, details: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a child."""
        answers: dict[str, Callable[..., dict[str, Any]]] = {
            "share": self._share,
            "settled": self._settle,
            "begin": self._begin,
            "end": self._end,
            "further": self._further,
            "charge": self._charge,
        }
        reply = answers[question](**details)
        return {**reply, "stopped": self._budget.stopped, "unpriced": self._budget.unpriced}

    def close(self) -> None:
        """Settle what a child that was killed had under way: its calls may have been billed."""
        for number in list(self._shares):
            for expected in list(self._calls[number]):
                self._end(number, expected, billed=True, cost=expected or None, failed=True)
            if number in self._shares and number not in self._settled:
                self._settle(number, answered=False)

    def _share(self, member: str) -> dict[str, Any]:
        share = self._budget.share(member)
        if share is None:
            return {"share": None}
        self._made += 1
        self._shares[self._made], self._calls[self._made] = share, []
        return {"share": self._made}

    def _settle(self, share: int, answered: bool) -> dict[str, Any]:
        self._budget.settled(self._shares[share], answered=answered)
        self._settled.add(share)
        self._drop_if_done(share)
        return {}

    def _begin(self, share: int) -> dict[str, Any]:
        if share not in self._shares or share in self._settled:  # the draw was given up
            return {"expected": None}
        try:
            expected = self._budget.begin(self._shares[share])
        except LimitReached:
            return {"expected": None}
        self._calls[share].append(expected)
        return {"expected": expected}

    def _further(self, share: int) -> dict[str, Any]:
        open_ = share in self._shares and share not in self._settled
        return {"expected": 0.0 if open_ and self._budget.further(self._shares[share]) else None}

    def _charge(self, cost: float) -> dict[str, Any]:
        self._budget.charge(cost)
        return {}

    def _end(
        self, share: int, expected: float, billed: bool, cost: float | None, failed: bool
    ) -> dict[str, Any]:
        self._calls[share].remove(expected)
        self._budget.end(self._shares[share], expected, PricedCall(billed, cost), failed)
        self._drop_if_done(share)
        return {}

    def _drop_if_done(self, share: int) -> None:
        """Forget a draw that has ended with all of its calls; one may outlive its draw."""
        if share in self._settled and not self._calls[share]:
            del self._shares[share], self._calls[share]
            self._settled.remove(share)
