"""Scaling curves: accuracy and cost against members and against draws per member.

See SLM-MUX, "Test-time Scaling". For each size the subset is the best by O(S) on each split's
training part; accuracy, union and contradiction come from the test part. The members listed beside
a figure are the best on all questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TypedDict

import numpy as np

from ..bank.record import Record
from ..progress import counted
from ..replay.grading import graded
from ..replay.replay import Result, compare, pooled_results, replay
from ..replay.resample import check_record, check_recorded, complete
from ..replay.splits import Split, holdout
from .options import check_least
from .plan import PROBABILITY
from .search import Outcomes, search

#: The rules compared, as in the paper's figures: SLM-MUX and Agent Forest. The curves show
#: `probability` beside them where all members have log-probabilities of answers.
RULES = ("consistency", "pooled")
_PAPERS_K = 3


@dataclass(frozen=True)
class Point:
    """One rule at one size and k. Accuracies, union and contradiction are fractions from 0 to 1.

    They come from the same test questions, so `consistency` is never above the union where scores
    are 0 or 1. Accuracy is the mean score; union and contradiction count scores that reach the
    threshold.

    Attributes:
        members: the best subset of this size on all questions.
        low, high: the 95 % interval of the accuracy over questions.
        calls_per_question: LM calls; cost_per_question: US dollars, None where unknown.
        questions: distinct questions tested.
    """

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
class Gain:
    """SLM-MUX compared with Agent Forest on the same questions and members; fractions.

    See the paper, "Test-time Scaling vs Agent Forest".

    Attributes:
        setting: "2 draws", or "best": each rule at the k that scores best on each split's training
            part.
        mux_k, forest_k: draws per member; for "best" the k most often chosen.
        mux, forest: the two accuracies.
        mean, low, high: SLM-MUX − Agent Forest, paired, with its 95 % interval over questions.
    """

    setting: str
    size: int
    mux_k: int
    forest_k: int
    mux: float
    forest: float
    mean: float
    low: float
    high: float
    questions: int


class ScalingDict(TypedDict):
    """A `Scaling` as plain values for JSON."""

    by_members: list[dict[str, object]]
    by_draws: list[dict[str, object]]
    gains: list[dict[str, object]]
    k: int
    sweet_spot: dict[str, object]
    reason: str


@dataclass(frozen=True)
class Scaling:
    """The curves that `scale` returns.

    Attributes:
        by_members: one point per size and rule, at `k` draws per member.
        by_draws: one point per k and rule, with the size asked for, else the sweet spot's.
        gains: SLM-MUX against Agent Forest at that size, at the fewest draws and at the best k.
        k: draws per member in `by_members`.
        sweet_spot: the fewest members that no larger subset beats by more than its standard error.
        reason: a sentence on the sweet spot.
    """

    by_members: list[Point]
    by_draws: list[Point]
    gains: list[Gain]
    k: int
    sweet_spot: Point
    reason: str

    def as_dict(self) -> ScalingDict:
        """Return plain values for JSON."""
        return {
            "by_members": [asdict(point) for point in self.by_members],
            "by_draws": [asdict(point) for point in self.by_draws],
            "gains": [asdict(gain) for gain in self.gains],
            "k": self.k,
            "sweet_spot": asdict(self.sweet_spot),
            "reason": self.reason,
        }


def scale(  # noqa: PLR0913  (public: independent keyword arguments)
    record: Record,
    *,
    k: int | None = None,
    k_max: int | None = None,
    max_members: int = 5,
    size: int | None = None,
    penalty: float = 1.0,
    splits: Sequence[Split] | None = None,
    repeats: int = 10,
    threshold: float | None = None,
    seed: int = 0,
) -> Scaling:
    """Measure accuracy and cost over the number of members and over the draws per member.

    See the paper, "Test-time Scaling".

        >>> import numpy as np
        >>> from dspy_mux import Record, scale
        >>> right = np.zeros((20, 3, 3), bool)  # 20 questions, 3 members, 3 draws
        >>> right[:12, 0] = right[8:, 1] = right[:4, 2] = True
        >>> votes = np.where(right, 0, [[[1, 2, 3]]])  # classes of answers within a question
        >>> questions = tuple(f"q{n}" for n in range(20))
        >>> curves = scale(Record(("a", "b", "c"), questions, votes, right.astype(float), {}))
        >>> [(p.size, round(p.accuracy, 2)) for p in curves.by_members if p.rule == "consistency"]
        [(1, 0.51), (2, 1.0), (3, 1.0)]
        >>> curves.sweet_spot.members
        ('a', 'b')

    Args:
        record: scored draws of every member. Questions of which one lacks draws are left out.
        k: draws per member while the number of members grows; None for 3, or for `k_max` or all
            that are recorded where these are fewer.
        k_max: draws per member, at most; None for all that are recorded, as for more than these.
        max_members: the largest subset.
        size: members while the draws grow from 2 to `k_max`, or from 1 where the rule
            `probability` is shown too; None for the sweet spot.
        penalty: the λ of the search for each size, from 0 to 1,000,000.
        splits: training and test parts; None for random halves.
        repeats: how many of these; each figure is their mean, and its interval is over questions.
        threshold: the score from which an answer counts as correct; None for 1, which refuses
            scores outside 0 to 1 (`grading.py`).
        seed: of the default splits.

    Raises:
        ConfigurationError: k above the recorded draws, a size that no subset has, or a number
            below 1.
    """
    check_record(record)
    check_least("k_max", k_max)
    check_least("max_members", max_members)
    record, _ = complete(record, splits, k_max)
    recorded = record.votes.shape[2]
    k_max = recorded if k_max is None else min(k_max, recorded)
    k = min(_PAPERS_K, k_max) if k is None else k
    check_recorded(record, k)
    splits = (
        list(splits)
        if splits is not None
        else holdout(len(record.questions), repeats=repeats, seed=seed)
    )
    sizes = range(1, min(max_members, len(record.members)) + 1)
    record, correct = graded(record, threshold)
    curves = _Curves(record, penalty, splits, correct)
    by_size = {count: curves.point(count, k, RULES[0]) for count in counted(sizes, "sizes")}
    shown = (*RULES, PROBABILITY) if _all_have_probabilities(record) else RULES
    by_members = [curves.point(count, k, rule)[1] for count in sizes for rule in shown]
    sweet, reason = _sweet_spot(by_size)
    size = sweet.size if size is None else size
    draws = range(min(2, k_max), k_max + 1)
    # With one draw each there is nothing to vote on, and probabilities decide.
    from_one = draws if shown == RULES else range(1, k_max + 1)
    by_draws = [
        curves.point(size, each, rule)[1]
        for each in counted(from_one, "numbers of draws")
        for rule in shown
    ]
    fewest = f"{draws[0]} draw{'s' if draws[0] > 1 else ''}"
    gains = [curves.gain(size, fewest, draws[:1]), curves.gain(size, "best", draws)]
    return Scaling(by_members, by_draws, gains, k, sweet, reason)


def _all_have_probabilities(record: Record) -> bool:
    logprob = record.evidence.get("answer_logprob")
    return logprob is not None and not bool(np.isnan(logprob).all(axis=(0, 2)).any())


class _Curves:
    """Points of the curves: subsets chosen on each training part, scored on its test part."""

    def __init__(self, record: Record, penalty: float, splits: Sequence[Split], threshold: float):
        self.record, self.penalty, self.splits, self.threshold = record, penalty, splits, threshold
        # Both rules and all their figures use the same subsets and draws, so each is made once.
        self.members, self.results, self.contradiction = (
            cache(self._members),
            cache(self._results),
            cache(self._contradiction),
        )

    def _members(self, size: int, k: int, split: int) -> tuple[str, ...]:
        """The best subset by O(S) on a split's training part; on all questions for −1."""
        part = self.record if split < 0 else self.record.rows(self.splits[split].train)
        found = search(part, [size], k=k, penalty=self.penalty, top=1, threshold=self.threshold)
        return found.results[0].members

    def _results(self, size: int, k: int, rule: str) -> list[Result]:
        """One result per split."""
        return [
            self._replayed(size, k, rule, index, split) for index, split in enumerate(self.splits)
        ]

    def _replayed(self, size: int, k: int, rule: str, index: int, split: Split) -> Result:
        part, _ = self.record.of(self.members(size, k, index), None)
        return replay(part, rule, k=k, splits=[split], threshold=self.threshold, seed=index)

    def _contradiction(self, size: int, k: int) -> float:
        """Mean contradiction over the test parts."""
        found = []
        for index, split in enumerate(self.splits):
            part, _ = self.record.of(self.members(size, k, index), None)
            outcomes = Outcomes.from_record(
                part.rows(split.test), k=k, threshold=self.threshold, seed=index
            )
            found.append(outcomes.terms(range(size))[1])
        return float(np.mean(found))

    def point(self, size: int, k: int, rule: str) -> tuple[Result, Point]:
        """The pooled result of a rule over all splits, and its point on the curves."""
        result = pooled_results(self.results(size, k, rule))
        return result, Point(
            members=self.members(size, k, -1),
            size=size,
            k=k,
            rule=rule,
            accuracy=result.accuracy,
            low=result.ci95[0],
            high=result.ci95[1],
            union_accuracy=result.union_accuracy,
            contradiction=self.contradiction(size, k),
            calls_per_question=result.calls_per_question,
            cost_per_question=result.cost_per_question,
            questions=result.questions,
        )

    def gain(self, size: int, setting: str, draws: Sequence[int]) -> Gain:
        """SLM-MUX − Agent Forest, each at the k of `draws` that scores best in training.

        Equal values: the fewest draws.
        """
        best = {
            rule: [self._best_k(size, draws, rule, index) for index in range(len(self.splits))]
            for rule in RULES
        }
        mux, forest = (
            pooled_results(
                [self.results(size, k, rule)[index] for index, k in enumerate(best[rule])]
            )
            for rule in RULES
        )
        difference = compare(mux, forest)
        return Gain(
            setting=setting,
            size=size,
            mux_k=_most_frequent(best[RULES[0]]),
            forest_k=_most_frequent(best[RULES[1]]),
            mux=mux.accuracy,
            forest=forest.accuracy,
            mean=difference.mean,
            low=difference.low,
            high=difference.high,
            questions=difference.n,
        )

    def _best_k(self, size: int, draws: Sequence[int], rule: str, index: int) -> int:
        if len(draws) == 1:
            return draws[0]
        train = self.splits[index].train
        scored = {
            k: self._replayed(size, k, rule, index, Split(train, train)).accuracy for k in draws
        }
        return max(scored, key=scored.__getitem__)


def _most_frequent(values: Sequence[int]) -> int:
    return Counter(sorted(values)).most_common(1)[0][0]


def _sweet_spot(results: dict[int, tuple[Result, Point]]) -> tuple[Point, str]:
    """The fewest members that no larger subset beats by more than its standard error."""
    for size in sorted(results):
        result, point = results[size]
        better = [
            (other, difference)
            for other in sorted(results)
            if other > size
            and (difference := compare(results[other][0], result)).mean > difference.stderr
        ]
        if not better:
            largest, named = max(results), f"{size} member{'s' if size > 1 else ''}"
            if size == largest:
                return point, f"{named}: each step up to them gains more than its standard error."
            best = max(
                (results[other][1].accuracy for other in results if other > size),
                default=point.accuracy,
            )
            return point, (
                f"{named}: more of them change the accuracy of {100 * point.accuracy:.1f} % to at "
                f"most {100 * best:.1f} %, within one standard error of the paired difference, "
                "and cost more calls."
            )
    raise AssertionError("the largest size is never beaten by a larger one")
