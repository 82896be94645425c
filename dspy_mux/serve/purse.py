"""Budgets of a server: what the process and each key may still spend on questions."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..bank.limits import Budget, Share
from ..sampling.usage import DrawMeter
from .errors import APIError
from .question import Question

logger = logging.getLogger("dspy_mux")

#: Seconds after which a client may ask again whose question others' reservations left no room.
_RESERVED_S = 1


@dataclass
class Ticket:
    """A question that is admitted.

    Attributes:
        shares: of budgets, each with whose it is.
        meter: counts what the question spends, whatever becomes of it.
    """

    question: Question
    shares: list[tuple[Share, Purse]] = field(default_factory=list)
    meter: DrawMeter = field(default_factory=DrawMeter)
    is_answered: bool = False


class Purse:
    """A budget that questions take a share of, each as one draw does in a collection.

    Args:
        whose: of the budget, for messages, such as "The server's".
    """

    def __init__(self, max_calls: int | None, max_cost: float | None, whose: str):
        self.whose = whose
        self.budget = Budget(max_calls, max_cost, {})
        self._warned = False

    @property
    def is_limited(self) -> bool:
        return self.budget.max_calls is not None or self.budget.max_cost is not None

    @contextmanager
    def share(self, ticket: Ticket) -> Iterator[Share]:
        """Yield a question's share.

        Raises:
            APIError: too little is left.
        """
        # Budgets know a question by its model, as they know a draw by its member.
        model = ticket.question.model
        self.budget.expect(model.name, model.draws)
        share = self.budget.share(model.name)
        if share is None and self.budget.stopped is None:
            raise APIError(
                429,
                f"{self.whose} budget is reserved for questions under way; ask again in a moment.",
                code="budget_reserved",
                retry_after=_RESERVED_S,
            )
        if share is None:
            raise self.spent()
        try:
            yield share
        finally:
            self.budget.settled(share, answered=ticket.is_answered)
            self._warn_of_prices()

    def _warn_of_prices(self) -> None:
        if self.budget.max_cost is not None and self.budget.unpriced and not self._warned:
            self._warned = True
            logger.warning(
                "The cost of %s is not limited: its calls have no known price. Limit its calls.",
                ", ".join(self.budget.unpriced),
            )

    def spent(self) -> APIError:
        """Return what a client is told once the budget is spent."""
        return APIError(
            429, f"{self.whose} budget is spent, or too little is left.", code="insufficient_quota"
        )
