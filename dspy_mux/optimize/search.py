"""Subset search: which members complement each other, by O(S) or by replayed accuracy.

O(S) = UnionAcc(S) − λ · Contradiction(S) is computed exactly for every subset (SLM-MUX, "Model
Selection Search"). Correct and consistently wrong answers are bits, one per question and 64 to a
word, so a subset costs a few operations per word. All subsets are tried (`enumeration.py`); pools
too large for that are searched by branch and bound (`branch_and_bound.py`), whose best is proven or
comes with a bound on the gap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from ..bank.record import Record
from ..errors import ConfigurationError, check_number
from ..replay.decisions import check_evidence, picks_of
from ..replay.grading import graded
from ..replay.resample import check_record, chosen_draws
from ..voting.ballot import by_accuracy
from .branch_and_bound import BranchAndBound
from .enumeration import Best, Bits, enumerate_subsets, objective_values
from .options import MOST_PENALTY
from .subset_accuracy import Codes, count_right, rank_codes

#: Up to this many subsets of a size are enumerated; more are searched by branch and bound.
ENUMERABLE = 5_000_000


class SubsetDict(TypedDict):
    """A `Subset` as plain values for JSON."""

    members: list[str]
    objective: float
    union_accuracy: float
    contradiction: float
    ceiling: float
    floor: float
    stderr: float
    accuracy: float | None


@dataclass(frozen=True, order=True)
class Subset:
    """A subset and the terms of its objective, as fractions of all questions.

    Subsets sort best first; ties by size, then by position in the pool.

    Attributes:
        members: names, in pool order.
        objective: O(S) = union_accuracy − λ · contradiction.
        union_accuracy: share of questions that some member answers correctly.
        contradiction: share of those questions' total on which, at the same time, another member
            is consistently wrong.
        accuracy: of the rule asked for, replayed; None where none was.
        stderr: standard error of the objective over questions.
    """

    sort_key: tuple[float, int, tuple[int, ...]] = field(repr=False)
    members: tuple[str, ...] = field(compare=False)
    objective: float = field(compare=False)
    union_accuracy: float = field(compare=False)
    contradiction: float = field(compare=False)
    accuracy: float | None = field(compare=False, default=None)
    stderr: float = field(compare=False, default=0.0)

    @property
    def ceiling(self) -> float:
        """O(S) at λ = 0, which `consistency` never exceeds where scores are 0 or 1."""
        return self.union_accuracy

    @property
    def floor(self) -> float:
        """O(S) at λ = 1, which `consistency` reaches where its draws decide (paper, "bounds")."""
        return self.union_accuracy - self.contradiction

    def as_dict(self) -> SubsetDict:
        """Return plain values for JSON."""
        return {
            "members": list(self.members),
            "objective": self.objective,
            "union_accuracy": self.union_accuracy,
            "contradiction": self.contradiction,
            "ceiling": self.ceiling,
            "floor": self.floor,
            "stderr": self.stderr,
            "accuracy": self.accuracy,
        }


@dataclass(frozen=True)
class Found:
    """The result of `search`.

    Attributes:
        results: the best subsets, best first.
        evaluated: subsets whose objective was computed.
        exact: whether the first result is proven best.
        seconds: wall time of the search.
        gap: how much better, at most, the objective of another subset could be; 0 if exact.
    """

    results: list[Subset]
    evaluated: int
    exact: bool
    seconds: float
    gap: float = 0.0


@dataclass(frozen=True)
class Outcomes:
    """The members' outcomes per question (or question and choice of draws), as bits.

    Attributes:
        members: names [M].
        correct: [M, W] bits: the plurality answer is correct.
        wrong: [M, W] bits: the member is consistently wrong (s = 1 and not correct).
        rows: bits in use.
        questions: distinct questions; fewer than `rows` where several choices of draws are stacked.
    """

    members: tuple[str, ...]
    correct: Bits
    wrong: Bits
    rows: int
    questions: int

    @classmethod
    def from_record(
        cls, record: Record, *, k: int | None = None, threshold: float | None = None, seed: int = 0
    ) -> Outcomes:
        """Compute outcomes from recorded draws; if more than k, over several random choices."""
        record, right_from = graded(record, threshold)
        k = record.votes.shape[2] if k is None else k
        correct, wrong = [], []
        for tally, scores in chosen_draws(record, k, seed):
            is_right = tally.plurality_correct(scores, right_from)
            correct.append(is_right)
            wrong.append((tally.plurality_count == k) & ~is_right)
        return cls(
            record.members,
            _pack(np.vstack(correct)),
            _pack(np.vstack(wrong)),
            len(correct) * len(record.questions),
            len(record.questions),
        )

    def terms(self, subset: Sequence[int]) -> tuple[float, float]:
        """Return UnionAcc and Contradiction of one subset, given by positions."""
        union = np.bitwise_or.reduce(self.correct[list(subset)])
        both = union & np.bitwise_or.reduce(self.wrong[list(subset)])
        right, against = (int(np.bitwise_count(bits).sum()) for bits in (union, both))
        return right / self.rows, against / self.rows


def search(  # noqa: PLR0913  (public: independent keyword arguments)
    record: Record,
    sizes: int | Sequence[int],
    *,
    k: int | None = None,
    penalty: float = 1.0,
    top: int = 10,
    threshold: float | None = None,
    by: Literal["objective", "accuracy"] = "objective",
    rule: str | None = None,
    seed: int = 0,
    time_limit: float | None = None,
) -> Found:
    """Find the best subsets of a record's members, by O(S) or by the accuracy of the paper's rule.

    See the paper, "Model Selection Search". All figures are in-sample: they come from the questions
    that chose the subsets.

        >>> import numpy as np
        >>> from dspy_mux import Record, search
        >>> right = np.zeros((4, 3, 2), bool)  # 4 questions, 3 members, 2 draws
        >>> right[:3, 0] = right[3, 1] = right[:2, 2] = True
        >>> record = Record(
        ...     members=("a", "b", "c"),
        ...     questions=("q1", "q2", "q3", "q4"),
        ...     votes=np.where(right, 0, [[[1, 2]]]),  # classes of answers within a question
        ...     scores=right.astype(float),
        ...     fields={},
        ... )
        >>> best = search(record, [2]).results[0]
        >>> best.members, best.objective
        (('a', 'b'), 1.0)

    Args:
        record: scored draws of every member on every question.
        sizes: of the subsets: one, such as 2, or several, such as range(2, 6).
        k: draws per member; None for all that are recorded. Fewer than recorded are averaged over
            random choices.
        penalty: λ, from 0 to 1,000,000.
        top: how many subsets to return.
        threshold: the score from which an answer counts as correct; None for 1, which refuses
            scores outside 0 to 1 (`grading.py`).
        by: "objective" for O(S); "accuracy" for the replayed accuracy of `consistency`, with the
            members' accuracies on the same questions to break ties.
        rule: a rule without fitting whose replayed accuracy is computed for the subsets found;
            with `by="accuracy"` only "consistency" or None.
        seed: of the random choices of draws.
        time_limit: seconds for branch and bound, which then returns the best so far and the gap;
            not with `by="accuracy"`, which tries all subsets.

    Raises:
        ConfigurationError: a size that no subset can have, a penalty out of range, k above the
            recorded draws, a rule that needs evidence the draws lack, scores outside 0 to 1 without
            a threshold; by accuracy also too many subsets, another rule, or a time limit.
    """
    check_record(record)
    wanted = _checked_sizes(sizes, len(record.members))
    _check_search(penalty, top, by, rule, time_limit)
    if rule is not None:
        check_evidence(rule, record)
    record, correct = graded(record, threshold)
    outcomes = Outcomes.from_record(record, k=k, threshold=correct, seed=seed)
    began = time.perf_counter()
    evaluated, gap, best = 0, 0.0, Best(top)
    if by == "accuracy":
        evaluated = _most_accurate_subsets(record, wanted, k, correct, seed, best)
        results = _ranked_by_accuracy(outcomes, best, penalty)
        return Found(results, evaluated, True, time.perf_counter() - began)
    for size in wanted:
        if math.comb(len(record.members), size) <= ENUMERABLE:
            evaluated += enumerate_subsets(
                outcomes.correct, outcomes.wrong, outcomes.rows, size, penalty, best
            )
        else:
            left = None if time_limit is None else time_limit - (time.perf_counter() - began)
            visited, open_gap = _branch_and_bound(outcomes, size, penalty, best, left)
            evaluated, gap = evaluated + visited, max(gap, open_gap)
    results = [_subset(outcomes, positions, penalty) for positions in best.subsets()]
    if rule is not None:
        results = [_with_accuracy(record, each, rule, k, seed) for each in results]
    return Found(results, evaluated, gap == 0.0, time.perf_counter() - began, gap)


def _checked_sizes(sizes: int | Sequence[int], count: int) -> list[int]:
    sizes = [sizes] if isinstance(sizes, (int, np.integer)) else sizes
    wanted = sorted(set(sizes))
    if not wanted or wanted[0] < 1 or wanted[-1] > count:
        raise ConfigurationError(
            f"Subsets of {count} members have from 1 to {count} members, not {list(sizes)}."
            if count > 1
            else "There is one member, and nothing to choose: record draws of others too."
        )
    return wanted


def _check_search(
    penalty: float, top: int, by: str, rule: str | None, time_limit: float | None
) -> None:
    check_number("The penalty λ", penalty, 1)
    if not 0 <= penalty <= MOST_PENALTY:
        raise ConfigurationError(
            f"The penalty λ must be 0 or more, and {MOST_PENALTY:,.0f} at most, not {penalty:g}: "
            "above the number of questions, a larger one changes no ranking."
        )
    if top < 1:
        raise ConfigurationError(f"The number of subsets to show must be 1 or more, not {top}.")
    if by == "accuracy" and rule not in (None, "consistency"):
        raise ConfigurationError(
            "by='accuracy' ranks subsets by the accuracy of consistency: use by='objective' to get "
            f"the accuracy of {rule}."
        )
    if by == "accuracy" and time_limit is not None:
        raise ConfigurationError(
            "by='accuracy' tries all subsets: a time limit is only for by='objective'."
        )


def most_accurate(
    record: Record, size: int, *, k: int | None = None, seed: int = 0
) -> tuple[str, ...]:
    """Return the members of highest accuracy: the selection that the paper compares with."""
    accuracies = [
        tally.plurality_scores(scores).mean(axis=0)
        for tally, scores in chosen_draws(record, k or record.votes.shape[2], seed)
    ]
    order = np.argsort(-np.mean(accuracies, axis=0), kind="stable")[:size]
    return tuple(record.members[at] for at in sorted(order.tolist()))


def _most_accurate_subsets(
    record: Record, sizes: Sequence[int], k: int | None, threshold: float, seed: int, best: Best
) -> int:
    """Rank every subset by the accuracy of the paper's rule, and return how many there were."""
    subsets = sum(math.comb(len(record.members), size) for size in sizes)
    if subsets > ENUMERABLE:
        raise ConfigurationError(
            f"{subsets:,} subsets are too many to be ranked by accuracy (up to {ENUMERABLE:,}): "
            "rank them by the objective, or choose fewer members or sizes."
        )
    tables = []
    for tally, scores in chosen_draws(record, k or record.votes.shape[2], seed):
        order = by_accuracy(tally.plurality_scores(scores).mean(axis=0))
        tables.append(rank_codes(tally, scores, order, threshold))
    table = cast(Codes, np.hstack(tables))
    for size in sizes:
        for prefix, tails, right in count_right(table, size):
            best.add_best(right / table.shape[1], prefix, tails)
    return subsets


def _branch_and_bound(
    outcomes: Outcomes, size: int, penalty: float, best: Best, time_limit: float | None
) -> tuple[int, float]:
    """Add the best subsets of one size; return how many were evaluated, and the gap left open."""
    rows = outcomes.rows
    tree = BranchAndBound(
        outcomes.correct,
        outcomes.wrong,
        size,
        penalty,
        # Equals reach it, whatever the rounding.
        bar=lambda: best.bar * rows - 1e-6 * max(1.0, penalty),
        keep=lambda value, subset: best.add(value / rows, subset),
    )
    open_bound = tree.run(math.inf if time_limit is None else max(time_limit, 0.0)) / rows
    # No subset is worth more than 1. While none is found, the best counts as the empty subset's 0.
    highest = best.highest if math.isfinite(best.highest) else 0.0
    return tree.evaluated, max(0.0, min(open_bound, 1.0) - highest)


def _ranked_by_accuracy(outcomes: Outcomes, best: Best, penalty: float) -> list[Subset]:
    accuracies, results = best.values(), []
    for positions in best.subsets():
        subset, accuracy = _subset(outcomes, positions, penalty), accuracies[positions]
        key = (-accuracy, *subset.sort_key[1:])
        results.append(replace(subset, accuracy=accuracy, sort_key=key))
    return results


def _subset(outcomes: Outcomes, subset: tuple[int, ...], penalty: float) -> Subset:
    union, contradiction = outcomes.terms(subset)
    rows = outcomes.rows
    right, against = (np.array([round(share * rows)]) for share in (union, contradiction))
    value = float(objective_values(right, against, penalty, rows)[0])
    # Each question adds 1, 1 − λ or 0.
    variance = union - contradiction + contradiction * (1 - penalty) ** 2 - value**2
    return Subset(
        sort_key=(-value, len(subset), subset),
        members=tuple(outcomes.members[at] for at in subset),
        objective=value,
        union_accuracy=union,
        contradiction=contradiction,
        stderr=math.sqrt(max(variance, 0.0) / outcomes.questions),
    )


def _with_accuracy(record: Record, found: Subset, rule: str, k: int | None, seed: int) -> Subset:
    member = rule.partition(":")[2]
    if member and member not in found.members:
        return found  # the member that the rule names is not in the subset
    part, _ = record.of(found.members, k)
    values = []
    for tally, scores in chosen_draws(part, k or part.votes.shape[2], seed):
        values.append(
            picks_of(rule, tally, tally.plurality_scores(scores).mean(axis=0), part.members)
            .scores(scores)
            .mean()
        )
    return replace(found, accuracy=float(np.mean(values)))


def _pack(values: NDArray[np.bool_]) -> Bits:
    """Pack booleans [rows, M] into words [M, W]."""
    padded = np.zeros((values.shape[1], -(-len(values) // 64) * 64), np.bool_)
    padded[:, : len(values)] = values.T
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
