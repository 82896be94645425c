"""Notice what must end a collection, such as a failing metric, or the draws of one member."""

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
#: A member that has responded counts as down only when draws of so many questions fail in a row:
#: a server may have trouble with one.
_QUESTIONS = 3


class Health:
    """Watches the draws of a collection as they end.

    Args:
        members: how many members the pool has.

    Attributes:
        responded: members that are known to be up, or were.
        given_up: members whose servers are down → how many draws failed in a row, and the cause of
            the last one. No further draws of them are to be made.
    """

    def __init__(self, scorer: Scorer, budget: Limits | None, members: int):
        self.scorer, self.budget, self.members = scorer, budget, members
        self._unpriced: list[str] = []
        self.responded: set[str] = set()
        self.given_up: dict[str, tuple[int, str]] = {}
        self._failures: dict[str, int] = {}
        self._down: dict[str, list[int]] = {}  # questions of draws that found a server down
        self._cached: set[str] = set()

    def check(self, draw: RecordedDraw, in_flight: int) -> BaseException | None:
        """Return the error that ends the collection, where this draw shows one.

        Args:
            in_flight: draws that may be under way at once.
        """
        if draw.cut_short:
            return None
        if (mistake := find_mistake(draw)) is not None:
            return mistake
        if draw.metric_error is not None:
            return self.scorer.failure(draw.unit[0], draw.metric_error)
        self._check_server(draw, in_flight)
        return self._check_member(draw) or self._check_prices()

    def _check_server(self, draw: RecordedDraw, in_flight: int) -> None:
        """Give a member up whose server is down.

        Rate limits, refusals and late answers are not of a server that is down; the first two are
        responses, the last ones say nothing.
        """
        name = draw.member.label
        if name in self.given_up:
            return
        if not draw.found_server_down:
            if not (draw.from_cache or draw.withdrawn):
                self._down.pop(name, None)
            return
        questions = self._down.setdefault(name, [])
        questions.append(draw.unit[0])
        least = _FAILURES_IN_A_ROW
        if name in self.responded:
            if len(set(questions)) < _QUESTIONS:
                return
            least = max(least, 2 * in_flight)  # those in flight fail together when it restarts
        if len(questions) >= least:
            self.given_up[name] = len(questions), draw.cause or ""
            logger.warning(
                "Member %r is given up for this collection: its last %d draws failed (%s).",
                name,
                *self.given_up[name],
            )

    def _check_member(self, draw: RecordedDraw) -> MuxError | None:
        name = draw.member.label
        # A member that responds is up, even where nobody can use its response.
        if draw.from_cache:
            self._cached.add(name)
            return None
        if draw.prediction is not None or not is_error(draw.cause or ""):
            self.responded.add(name)
        # A draw that fails again says little about its member.
        if name in self.responded or name in self.given_up or draw.repeats:
            return None
        self._failures[name] = self._failures.get(name, 0) + 1
        if self._failures[name] < _FAILURES_IN_A_ROW:
            return None
        first = f"first {_FAILURES_IN_A_ROW} draws of {name!r}"
        if name in self._cached:
            first += " that DSPy's cache did not answer"
        return MuxError(
            f"The {first} all failed ({draw.cause}): fix that "
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
