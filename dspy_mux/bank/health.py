"""Notice what must end a collection: a wrong set-up, a failing metric, or a member that is down."""

from __future__ import annotations

import logging

from ..errors import ConfigurationError, MuxError
from ..sampling.causes import is_error
from ..sampling.draw import find_mistake
from .limits import Limits
from .score import Scorer
from .writer import RecordedDraw

logger = logging.getLogger(__name__)

#: A member counts as down when this many first draws in a row fail before a response comes.
_FAILURES_IN_A_ROW = 12


class Health:
    """Watches the draws of a collection as they end.

    Args:
        members: how many members the pool has.

    Attributes:
        responded: members that are known to be up.
    """

    def __init__(self, scorer: Scorer, budget: Limits | None, members: int):
        self.scorer, self.budget, self.members = scorer, budget, members
        self._unpriced: list[str] = []
        self.responded: set[str] = set()
        self._failures: dict[str, int] = {}

    def check(self, draw: RecordedDraw) -> BaseException | None:
        """Return the error that ends the collection, where this draw shows one."""
        if draw.cut_short:
            return None
        if (mistake := find_mistake(draw)) is not None:
            return mistake
        if draw.metric_error is not None:
            return self.scorer.failure(draw.unit[0], draw.metric_error)
        return self._check_member(draw) or self._check_prices()

    def _check_member(self, draw: RecordedDraw) -> MuxError | None:
        name = draw.member.label
        # A member that responds is up, even where nobody can use its response.
        if draw.prediction is not None or not is_error(draw.cause or ""):
            self.responded.add(name)
        # A draw that fails again says little about its member.
        if name in self.responded or draw.repeats:
            return None
        self._failures[name] = self._failures.get(name, 0) + 1
        if self._failures[name] < _FAILURES_IN_A_ROW:
            return None
        return MuxError(
            f"The first {_FAILURES_IN_A_ROW} draws of {name!r} all failed ({draw.cause}): fix that "
            "and collect again with retry_failed (--retry-failed), or leave the member out."
        )

    def _check_prices(self) -> ConfigurationError | None:
        """Warn of members without a known price; return an error where no member has one."""
        budget = self.budget
        if budget is None or budget.max_cost is None or budget.unpriced == self._unpriced:
            return None
        self._unpriced = budget.unpriced
        names = ", ".join(self._unpriced)
        if len(self._unpriced) == self.members:
            return ConfigurationError(
                f"DSPy knows no price of {names}, so max_cost cannot hold: set max_calls instead."
            )
        logger.warning("DSPy knows no price of %s, whose calls max_cost does not count.", names)
        return None
