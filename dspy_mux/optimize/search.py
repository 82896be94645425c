"""Which members complement each other: O(S) = UnionAcc(S) − λ · Contradiction(S) for every subset, exactly (SLM-MUX, "Model
Selection Search"; DESIGN section 3).

Correct and consistently wrong answers are kept as bits, one a question, 64 to a word, so a subset costs a few operations a word.
All subsets are tried (`enumeration.py`); pools too large for that are searched by branch and bound (`branching.py`) with bounds
that hold, so the best found is proven best or its gap is told.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..bank.record import Record
from ..errors import ConfigurationError
from ..replay.replay import picks_of
from ..replay.resample import chosen_draws
from ..voting.tally import Tally, by_accuracy
from .branch_and_bound import Branching
from .by_accuracy import codes, right_answers
from .enumeration import Best, Bits, enumerate_subsets, objective

#: Enumerated up to this many subsets; beyond, branch and bound.
ENUMERABLE = 5_000_000


@dataclass(frozen=True, order=True)
class Subset:
    """A subset with its terms, as fractions of all questions; ordered best first, ties by size, then by position in the pool.

    Attributes:
        ceiling, floor: O(S) at λ = 0 and at λ = 1, between which the paper's rule scores where its draws decide (paper, "bounds")
            and scores are 0 or 1.
        accuracy: of the rule asked for, replayed; None where none was.
    """

    sort_key: tuple[Any, ...] = field(repr=False)
    members: tuple[str, ...] = field(compare=False)
    objective: float = field(compare=False)
    union_accuracy: float = field(compare=False)
    contradiction: float = field(compare=False)
    accuracy: float | None = field(compare=False, default=None)
    stderr: float = field(compare=False, default=0.0)

    @property
    def ceiling(self) -> float:
        return self.union_accuracy

    @property
    def floor(self) -> float:
        return self.union_accuracy - self.contradiction

    def as_dict(self) -> dict[str, Any]:
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
    """The best subsets, best first.

    Attributes:
        evaluated: subsets whose objective was computed.
        exact: whether the best is proven to be the best of all; else `gap` bounds how much better another could be.
    """

    results: list[Subset]
    evaluated: int
    exact: bool
    seconds: float
    gap: float = 0.0


@dataclass(frozen=True)
class Outcomes:
    """What the objective is made of: for each question (or question and choice of draws) and member, packed along questions.

    Attributes:
        correct, wrong: [M, W] bits: the plurality answer is correct; it is consistently wrong (s = 1 and not correct).
        rows: bits in use; questions: how many questions they are of, which is fewer where several choices of draws are stacked.
    """

    members: tuple[str, ...]
    correct: Bits
    wrong: Bits
    rows: int
    questions: int

    @classmethod
    def of(
        cls, record: Record, *, k: int | None = None, threshold: float = 1.0, seed: int = 0
    ) -> Outcomes:
        """From recorded draws; with more recorded than k, over several random choices of k."""
        k = record.votes.shape[2] if k is None else k
        correct, wrong = [], []
        for votes, scores in chosen_draws(record, k, seed):
            tally = Tally(votes)
            is_right = tally.plurality_scores(scores) >= threshold
            correct.append(is_right)
            wrong.append((tally.plurality_count == k) & ~is_right)
        return cls(
            record.members,
            _packed(np.vstack(correct)),
            _packed(np.vstack(wrong)),
            len(correct) * len(record.questions),
            len(record.questions),
        )

    def terms(self, subset: Sequence[int]) -> tuple[float, float]:
        """UnionAcc and Contradiction of one subset, given by positions."""
        union = np.bitwise_or.reduce(self.correct[list(subset)])
        both = union & np.bitwise_or.reduce(self.wrong[list(subset)])
        return int(np.bitwise_count(union).sum()) / self.rows, int(
            np.bitwise_count(both).sum()
        ) / self.rows


def search(
    record: Record,
    sizes: Sequence[int],
    *,
    k: int | None = None,
    penalty: float = 1.0,
    top: int = 10,
    threshold: float = 1.0,
    by: Literal["objective", "accuracy"] = "objective",
    rule: str | None = None,
    seed: int = 0,
    time_limit: float | None = None,
) -> Found:
    """The best subsets of the record's members, by O(S) or by what the paper's rule scores with them.

    Args:
        sizes: of the subsets, such as range(2, 6).
        penalty: λ.
        top: how many to give.
        by: "objective" for O(S); "accuracy" for the replayed accuracy of `consistency`, with members' accuracies of the same
            questions to break ties. Each subset is then told with that accuracy, which was chosen on the questions it is of.
        rule: a rule that needs no fitting, by whose replayed accuracy the found subsets are told as well; members' accuracies
            are then of the same questions, so that figure describes, and does not promise. Ranked by accuracy, "consistency" or
            None.
        time_limit: seconds after which branch and bound gives the best it has, with the gap. Ranked by accuracy, all subsets are
            tried, and there is none.

    Raises:
        ConfigurationError: a size that no subset can have, a negative penalty, k above what is recorded; or, where they are ranked
            by accuracy, more subsets than can be tried, another rule than "consistency", or a time limit.
    """
    count = len(record.members)
    wanted = sorted(set(sizes))
    if not wanted or wanted[0] < 1 or wanted[-1] > count:
        raise ConfigurationError(
            f"Subsets of {count} members have from 1 to {count} members, not {list(sizes)}."
        )
    if penalty < 0 or not math.isfinite(penalty):
        raise ConfigurationError(f"The penalty λ must be 0 or more, not {penalty}.")
    if top < 1:
        raise ConfigurationError(f"The number of subsets to show must be 1 or more, not {top}.")
    if by == "accuracy" and rule not in (None, "consistency"):
        raise ConfigurationError(
            f"Subsets are ranked by the accuracy of consistency: rank them by the objective to be told {rule}'s."
        )
    if by == "accuracy" and time_limit is not None:
        raise ConfigurationError(
            "Ranked by accuracy, all subsets are tried: a time limit is only for the objective."
        )
    outcomes = Outcomes.of(record, k=k, threshold=threshold, seed=seed)
    began = time.perf_counter()
    evaluated, gap, best = 0, 0.0, Best(top)
    if by == "accuracy":
        evaluated = _most_accurate_subsets(record, wanted, k, threshold, seed, best)
        accuracies = best.values()
        told = [
            replace(_told(outcomes, subset, penalty), accuracy=accuracies[subset])
            for subset in best.subsets()
        ]
        results = [
            replace(each, sort_key=(-(each.accuracy or 0.0), *each.sort_key[1:])) for each in told
        ]
        return Found(results, evaluated, True, time.perf_counter() - began)
    for size in wanted:
        if math.comb(count, size) <= ENUMERABLE:
            evaluated += enumerate_subsets(
                outcomes.correct, outcomes.wrong, outcomes.rows, size, penalty, best
            )
        else:
            left = None if time_limit is None else time_limit - (time.perf_counter() - began)
            visited, open_ = _branch_and_bound(outcomes, size, penalty, best, left)
            evaluated, gap = evaluated + visited, max(gap, open_)
    results = [_told(outcomes, subset, penalty) for subset in best.subsets()]
    if rule is not None:
        results = [_with_accuracy(record, each, rule, k, seed) for each in results]
    return Found(results, evaluated, gap == 0.0, time.perf_counter() - began, gap)


def most_accurate(
    record: Record, size: int, *, k: int | None = None, seed: int = 0
) -> tuple[str, ...]:
    """The selection the paper compares with: the members of highest accuracy alone."""
    tallies = [
        Tally(votes).plurality_scores(scores).mean(axis=0)
        for votes, scores in chosen_draws(record, k or record.votes.shape[2], seed)
    ]
    order = np.argsort(-np.mean(tallies, axis=0), kind="stable")[:size]
    return tuple(record.members[at] for at in sorted(order.tolist()))


def _most_accurate_subsets(
    record: Record, sizes: Sequence[int], k: int | None, threshold: float, seed: int, best: Best
) -> int:
    """Every subset of these sizes by the accuracy of the paper's rule; how many there were."""
    subsets = sum(math.comb(len(record.members), size) for size in sizes)
    if subsets > ENUMERABLE:
        raise ConfigurationError(
            f"{subsets:,} subsets are too many to be ranked by accuracy (up to {ENUMERABLE:,}): rank them by the objective, or "
            "choose fewer members or sizes."
        )
    tables = []
    for votes, scores in chosen_draws(record, k or record.votes.shape[2], seed):
        tally = Tally(votes)
        tables.append(
            codes(
                tally, scores, by_accuracy(tally.plurality_scores(scores).mean(axis=0)), threshold
            )
        )
    table = np.hstack(tables)
    for size in sizes:
        for prefix, tails, right in right_answers(table, size):
            best.add_best(right / table.shape[1], prefix, tails)
    return subsets


def _branch_and_bound(
    outcomes: Outcomes, size: int, penalty: float, best: Best, time_limit: float | None
) -> tuple[int, float]:
    """The best subsets of one size; (subsets evaluated, gap that is left open: 0 where all is proven)."""
    rows = outcomes.rows
    branching = Branching(
        outcomes.correct,
        outcomes.wrong,
        size,
        penalty,
        bar=lambda: best.bar * rows - 1e-6,  # equals reach it, whatever the rounding
        keep=lambda value, subset: best.add(value / rows, subset),
    )
    open_bound = branching.run(math.inf if time_limit is None else max(time_limit, 0.0)) / rows
    # No subset is worth more than 1, whatever was not looked at; none found yet counts as worth what nothing at all is, 0.
    highest = best.highest if math.isfinite(best.highest) else 0.0
    return branching.evaluated, max(0.0, min(open_bound, 1.0) - highest)


def _told(outcomes: Outcomes, subset: tuple[int, ...], penalty: float) -> Subset:
    union, contradiction = outcomes.terms(subset)
    rows = outcomes.rows
    value = float(
        objective(
            np.array([round(union * rows)]), np.array([round(contradiction * rows)]), penalty, rows
        )[0]
    )
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
        return found  # whom the rule names is not there to decide
    part, _ = record.of(found.members, k)
    values = []
    for votes, scores in chosen_draws(part, k or part.votes.shape[2], seed):
        tally = Tally(votes)
        values.append(
            picks_of(rule, tally, tally.plurality_scores(scores).mean(axis=0), part.members)
            .scores(scores)
            .mean()
        )
    return Subset(
        found.sort_key,
        found.members,
        found.objective,
        found.union_accuracy,
        found.contradiction,
        float(np.mean(values)),
        found.stderr,
    )


def _packed(values: NDArray[np.bool_]) -> Bits:
    """[rows, M] booleans as [M, W] words."""
    padded = np.zeros((values.shape[1], -(-len(values) // 64) * 64), np.bool_)
    padded[:, : len(values)] = values.T
    return np.packbits(padded, axis=1, bitorder="little").view(np.uint64)
