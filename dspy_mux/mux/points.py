"""Operating points of a mux: thresholds that were measured when it was compiled, to pick from.

A point says how many questions the pool answers itself, how often it is wrong, and what a large
model's calls for the rest come to. `MuxOptimizer` finds them; they are saved with the mux.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeAlias

import pydantic

from ..errors import ConfigurationError
from ..voting.ballot import draws_text
from .saved_checks import checked_part

#: What names a point: its name, its position, or its threshold.
Which: TypeAlias = str | int | float
#: Thresholds that differ by less are the same.
_NEAR = 1e-6


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and what it gave on the questions that measured it; shares are fractions.

    Attributes:
        threshold: the confidence from which the pool's answer is trusted.
        names: what it can be picked by, such as "cheapest".
        promised: whether the promise of `OperatingPoints` holds for it.
        coverage: questions whose answer is trusted.
        risk: wrong ones among these; None where there are none.
        accuracy: questions answered rightly, by a trusted answer or by the large model.
        escalated: questions that go to the large model; None without one.
        cost: US dollars a question, of all the pool's draws and the large model's calls; None where
            no price is known.
    """

    threshold: Annotated[float, pydantic.Field(ge=0, le=1)]
    names: tuple[str, ...]
    promised: bool
    coverage: float
    risk: float | None
    accuracy: float
    escalated: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class OperatingPoints:
    """The points of a compiled mux, from the lowest threshold up. No other is better in all.

    Attributes:
        promise: what is promised at each point that is `promised`, or why nothing is; None where
            no promise was asked for.
        questions: distinct questions that measured the points, and chose the thresholds.
        large: the name of the large model; None without one.
        compiled: the name of the point that the mux was compiled to; None where there is none.
        rule, members, k: what the confidences are of; k is of each member.
        accuracy_large: of the large model, asked every question; None without one.
    """

    points: tuple[OperatingPoint, ...]
    promise: str | None
    questions: int
    large: str | None
    compiled: str | None
    rule: str
    members: tuple[str, ...]
    k: tuple[int, ...]
    accuracy_large: float | None = None

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[OperatingPoint]:
        return iter(self.points)

    def __getitem__(self, which: Which) -> OperatingPoint:
        """Return a point by its name, its position (an int), or its threshold (a float).

        Raises:
            ConfigurationError: there is no such point.
        """
        for at, point in enumerate(self.points):
            if _is(which, at - len(self), point) or _is(which, at, point):
                return point
        raise ConfigurationError(self._lacks(which))

    @property
    def names(self) -> tuple[str, ...]:
        """What points can be picked by."""
        return tuple(dict.fromkeys(name for point in self.points for name in point.names))

    @property
    def nothing(self) -> str:
        """Why there are no points, as a sentence."""
        return self.promise or "No question has an answer."

    def _lacks(self, which: Which) -> str:
        if not self.points:
            return f"There is no operating point to pick: {self.nothing}"
        return (
            f"There is no operating point {which!r}: pick one of "
            f"{', '.join(map(repr, self.names))}, a position from 0 to {len(self) - 1}, or the "
            "threshold of one as a float."
        )

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raise ConfigurationError unless the points are of these members and draws."""
        if list(drawn) != list(zip(self.members, self.k, strict=True)):
            raise ConfigurationError(
                "The threshold of this mux was chosen for "
                f"{draws_text(zip(self.members, self.k, strict=True))} draws: compile it again for "
                f"{draws_text(drawn)}."
            )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def _is(which: object, at: int, point: OperatingPoint) -> bool:
    if isinstance(which, str):
        return which in point.names
    if isinstance(which, int):
        return which == at and not isinstance(which, bool)
    return isinstance(which, float) and abs(which - point.threshold) < _NEAR


def load_points(saved: Mapping[str, Any]) -> OperatingPoints:
    """Return the saved points of a mux.

    Raises:
        DataError: they are damaged.
    """
    return checked_part("points", OperatingPoints, saved)
