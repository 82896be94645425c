"""A draw as its group knows it: which choices it was given, and whether they fit a budget."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from .usage import DrawMeter


class Spender(Protocol):
    """What limits the calls of a draw, and of draws within it."""

    def reserve(self, claimant: Claimant) -> bool:
        """Reserve a draw's first call, unless it is; return whether it fits."""

    def further(self) -> bool:
        """Count one more choice, for which no call is made; return whether it fits."""

    def refuse(self) -> None:
        """Raise what ends a draw whose next call does not fit."""

    def release(self, claimant: Claimant, *, made: bool, cost: float) -> bool:
        """End the reservation of a call that a draw did not make.

        Args:
            made: whether another draw's request asked for its choice.
            cost: US dollars that choices cost of which no draw made a call.

        Returns:
            Whether the reservation counts for that choice.
        """


class Bill(Protocol):
    """A request, as far as its choices have a price."""

    def bill(self, choice: Any) -> tuple[str, dict[str, Any], float | None]:
        """Return the model of a choice, what it used, and what it costs in US dollars."""


class Claimant:
    """A draw, as its group knows it.

    Attributes:
        number: its number among the draws of its member and question.
        shared: how many of its calls were answered by a request that another draw's call is
            counted for.
        unclaimed: how many choices were given on its behalf, of which it made no call.
        left_over: those of them that came, and are in no call's usage yet.
        spender: what limits its calls; None where nothing does.
    """

    def __init__(self) -> None:
        self.number = self.shared = self.unclaimed = 0
        self.left_over: list[tuple[Bill, Any]] = []
        self.spender: Spender | None = None
        #: How many unclaimed choices the spender has counted, apart from a call that is reserved.
        self._paid = 0
        self._paying = threading.Lock()

    def reserve(self) -> bool:
        """Return whether its first call may be made; if so, it is reserved from then on."""
        return self.pay() and (self.spender is None or self.spender.reserve(self))

    def pay(self) -> bool:
        """Have the spender count the unclaimed choices; return whether they fit."""
        if self.spender is None:
            return True
        with self._paying:
            while self._paid < self.unclaimed:
                if not self.spender.further():
                    return False
                self._paid += 1
        return True

    def require(self) -> None:
        """Pay before a call asks for another choice than the one it was reserved for.

        Raises:
            BaseException: of the spender's, where that does not fit.
        """
        if not self.pay():
            self.refuse()

    def refuse(self) -> None:
        """Raise what ends a draw whose next call does not fit."""
        if self.spender is not None:
            self.spender.refuse()

    def settle(self, meter: DrawMeter) -> None:
        """End what is reserved, and bill what is left over, once the draw takes no choice more."""
        spent = 0.0
        while self.left_over:
            request, choice = self.left_over.pop()
            model, used, cost = request.bill(choice)
            meter.add_unclaimed(model, used, cost)
            spent += cost or 0.0
        if self.spender is not None:
            made = self.unclaimed > self._paid
            self._paid += self.spender.release(self, made=made, cost=spent)
            self.pay()
