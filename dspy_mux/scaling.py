"""How accuracy and cost grow with members and with draws per member (SLM-MUX, "Test-time Scaling"), from recorded draws.

For each size the subset is the best by O(S) on each split's training part, scored on its test part. The members told beside a
figure, their union and their contradiction are of all questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError
from .record import Record
from .replay import Result, compare, pooled_results, replay
from .search import search
from .splits import Split, holdout

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: Rules shown beside one another, as in the paper's figures.
RULES = ("consistency", "pooled")


@dataclass(frozen=True)
class Point:
    """One rule at one size and k; accuracies are fractions, `low` and `high` their 95 % interval over questions."""

    members: tuple[str, ...]
    size: int
    k: int
    rule: str
    accuracy: float
    low: float
    high: float
    union_accuracy: float
    contradiction: float
    calls_per_question: float
    cost_per_question: float | None
    questions: int


@dataclass(frozen=True)
class Scaling:
    """`by_members` at k = `k`, `by_draws` with the members of the best size; `sweet_spot` is the least that none beats clearly."""

    by_members: list[Point]
    by_draws: list[Point]
    k: int
    sweet_spot: Point
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "by_members": [asdict(point) for point in self.by_members],
            "by_draws": [asdict(point) for point in self.by_draws],
            "k": self.k,
            "sweet_spot": asdict(self.sweet_spot),
            "reason": self.reason,
        }

    def figures(self) -> list[go.Figure]:
        """Accuracy against members and against draws, with intervals; needs plotly."""
        from .figures import scaling_figure

        return [
            scaling_figure(self.by_members, "size", "members"),
            scaling_figure(self.by_draws, "k", "draws per member (k)"),
        ]


def scale(
    record: Record,
    *,
    k: int = 3,
    k_max: int | None = None,
    max_members: int = 5,
    penalty: float = 1.0,
    splits: Sequence[Split] | None = None,
    threshold: float = 1.0,
    seed: int = 0,
) -> Scaling:
    """Accuracy and cost over members (at k) and over k (2 to `k_max`, with the members of the best size).

    Raises:
        ConfigurationError: k above what is recorded, or fewer than two draws a member.
    """
    recorded = record.votes.shape[2]
    k_max = recorded if k_max is None else min(k_max, recorded)
    if k > recorded:
        raise ConfigurationError(f"{record.source} holds {recorded} draws a member, fewer than k={k}.")
    splits = list(splits) if splits is not None else holdout(len(record.questions), repeats=10, seed=seed)
    sizes = range(1, min(max_members, len(record.members)) + 1)
    at = _Scale(record, penalty, splits, threshold)
    results = {size: at.point(size, k, RULES[0]) for size in sizes}
    by_members = [at.point(size, k, rule)[1] for size in sizes for rule in RULES]
    sweet, reason = _sweet_spot(results)
    by_draws = [at.point(sweet.size, draws, rule)[1] for draws in range(min(2, k_max), k_max + 1) for rule in RULES]
    return Scaling(by_members, by_draws, k, sweet, reason)


class _Scale:
    """Points of the curves: on each split, the subset that its training part chooses is scored on its test part."""

    def __init__(self, record: Record, penalty: float, splits: Sequence[Split], threshold: float):
        self.record, self.penalty, self.splits, self.threshold = record, penalty, splits, threshold
        self._chosen: dict[tuple[int, int, int], tuple[str, ...]] = {}

    def members(self, size: int, k: int, split: int) -> tuple[str, ...]:
        """The best subset by O(S) on a split's training part; on all questions for −1."""
        if (size, k, split) not in self._chosen:
            part = self.record if split < 0 else self.record.rows(self.splits[split].train)
            found = search(part, [size], k=k, penalty=self.penalty, top=1, threshold=self.threshold)
            self._chosen[size, k, split] = found.results[0].members
        return self._chosen[size, k, split]

    def point(self, size: int, k: int, rule: str) -> tuple[Result, Point]:
        parts = []
        for index, split in enumerate(self.splits):
            part, _ = self.record.of(self.members(size, k, index), None)
            parts.append(replay(part, rule, k=k, splits=[split], threshold=self.threshold, seed=index))
        result = pooled_results(parts)
        overall = self.members(size, k, -1)
        terms = search(self.record.of(overall, None)[0], [size], k=k, top=1, threshold=self.threshold).results[0]
        return result, Point(
            members=overall,
            size=size,
            k=k,
            rule=rule,
            accuracy=result.accuracy,
            low=result.ci95[0],
            high=result.ci95[1],
            union_accuracy=terms.union_accuracy,
            contradiction=terms.contradiction,
            calls_per_question=result.calls_per_question,
            cost_per_question=result.cost_per_question,
            questions=result.questions,
        )


def _sweet_spot(results: dict[int, tuple[Result, Point]]) -> tuple[Point, str]:
    """The fewest members that no larger subset beats by more than its standard error."""
    for size in sorted(results):
        result, point = results[size]
        better = [
            (other, difference)
            for other in sorted(results)
            if other > size and (difference := compare(results[other][0], result)).mean > difference.stderr
        ]
        if not better:
            largest = max(results)
            if size == largest:
                return point, f"{size} members: each step up to them gains more than its standard error."
            best = max((results[other][1].accuracy for other in results if other > size), default=point.accuracy)
            return point, (
                f"{size} members: more of them change the accuracy of {100 * point.accuracy:.1f} % to at most {100 * best:.1f} %, "
                "within one standard error of the paired difference, and cost more calls."
            )
    raise AssertionError("the largest size is never beaten by a larger one")
