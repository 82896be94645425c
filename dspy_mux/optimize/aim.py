"""What an operating point shall keep to: a promised risk, calls of a large model, or money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ConfigurationError, check_number
from ..mux.points import OperatingPoint
from ..replay.threshold import Goal

#: Names of points. The first three need a large model, the others are for a pool alone.
CHEAPEST, BALANCED, MOST_ACCURATE = "cheapest", "balanced", "most accurate"
MOST_ANSWERED, FEWEST_WRONG = "most answered", "fewest wrong"


@dataclass(frozen=True)
class Aim:
    """Bounds on an operating point; None for each that does not matter.

    Attributes:
        max_risk: the most wrong answers among the trusted ones, as a share, promised with
            `confidence`.
        max_escalated: the most questions that may go to the large model, as a share.
        max_cost: the most US dollars a question, of the pool's draws and the large model's calls.

    Raises:
        ConfigurationError: a share outside 0 to 1, or no amount of money.
    """

    max_risk: float | None = None
    confidence: float = 0.9
    max_escalated: float | None = None
    max_cost: float | None = None

    def __post_init__(self) -> None:
        Goal(0.5 if self.max_risk is None else self.max_risk, self.confidence)
        for name, value, example in (
            ("max_escalated", self.max_escalated, 0.2),
            ("max_cost_per_question", self.max_cost, 0.001),
        ):
            if value is not None:
                check_number(name, value, example)
        if self.max_escalated is not None and not 0 <= self.max_escalated <= 1:
            raise ConfigurationError(
                f"max_escalated must be a share between 0 and 1, not {self.max_escalated!r}."
            )
        if self.max_cost is not None and not 0 < self.max_cost < math.inf:
            raise ConfigurationError(
                "max_cost_per_question must be a number of US dollars above 0, not "
                f"{self.max_cost!r}."
            )

    @classmethod
    def of(
        cls,
        max_risk: float | None,
        confidence: float,
        max_escalated: float | None,
        max_cost: float | None,
        large: bool,
    ) -> Aim | None:
        """Return the aim; None where nothing is bounded and no large model is named."""
        aim = cls(max_risk, confidence, max_escalated, max_cost)
        return aim if large or aim.goal is not None or aim.bounds_calls else None

    @property
    def goal(self) -> Goal | None:
        """The promise; None where none is asked for."""
        return None if self.max_risk is None else Goal(self.max_risk, self.confidence)

    @property
    def bounds_calls(self) -> bool:
        """Whether the large model's calls are bounded, by their number or their price."""
        return self.max_escalated is not None or self.max_cost is not None

    def compiled(self, large: bool) -> str:
        """Return the name of the point to compile.

        Within bounds on calls it is the most accurate. For a promise alone it is the one that
        trusts most answers, which costs the fewest calls; with nothing bounded, the balanced one.
        """
        if not large:
            return MOST_ANSWERED
        if self.bounds_calls:
            return MOST_ACCURATE
        return BALANCED if self.goal is None else CHEAPEST

    def excess(self, point: OperatingPoint) -> tuple[float, float]:
        """Return by how much a point exceeds the bounds on calls and on money; 0 for within."""
        calls = _above(point.escalated, self.max_escalated)
        return calls, _above(point.cost, self.max_cost)

    def allowed(self, points: Sequence[OperatingPoint]) -> list[OperatingPoint]:
        """Return the points within the bounds."""
        return [point for point in points if not any(self.excess(point))]

    def check_large(self, large: bool) -> None:
        """Raise ConfigurationError where calls of a large model are bounded, and there is none."""
        if self.bounds_calls and not large:
            raise ConfigurationError(
                "max_escalated and max_cost_per_question bound the calls of a large model: name "
                "it, escalate=… (--escalate NAME)."
            )


def _above(value: float | None, most: float | None) -> float:
    # Sums of prices and counts carry rounding errors; a bound of exactly that much is kept.
    return 0.0 if value is None or most is None else max(0.0, value - most - 1e-12)
