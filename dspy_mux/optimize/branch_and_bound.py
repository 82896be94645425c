"""Branch and bound over subsets too many to enumerate: the best, proven, or a bound on the gap.

A prefix of members with union U of correct and V of wrong questions is worth |U| − λ |U ∩ V|. What
adding r members can make of it is bounded from above, first cheaply: each adds at most the
questions that it alone turns right (those within V count 1 − λ) and takes away what it turns wrong.
What several take away together is at least what the worst of them takes, so at least the mean.
Prefixes that pass are bounded pair by pair (`Pairs`). A swap search finds good subsets first, so
that most prefixes are never opened; the last two members are tried all at once.

Integer programming (`scipy.optimize.milp`, HiGHS) was measured against this with 100 members and 20
seconds. At 1,000 questions this search proves size 5 on every pool (0.1 to 9 s) where HiGHS proves
one of four, and leaves the smaller gap at size 8. At 200 questions HiGHS is the better one at size
8: 0.1 to 4 s to a proof that this search misses on three of four pools (gaps of 0.05 to 0.1). HiGHS
gives one subset, neither the `top` best nor the tie by pool order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from ..voting.tally import Floats, Ints
from .enumeration import Bits, all_subsets, count_bits, unite

#: Starts of the swap search.
_STARTS = 8
#: Members squared × words: larger pools are searched without pairs, which take 16 bytes each.
_PAIRED = 1 << 22


class BranchAndBound:
    """Search the subsets of one size.

    Args:
        correct, wrong: [M, W] bits, one per question.
        penalty: λ.
        bar: returns the value that a subset must reach to be kept, as a count of questions; it may
            rise during the search.
        keep: receives (value, positions in ascending order) of each subset that reaches the bar,
            perhaps more than once.
    """

    def __init__(
        self,
        correct: Bits,
        wrong: Bits,
        size: int,
        penalty: float,
        bar: Callable[[], float],
        keep: Callable[[float, tuple[int, ...]], None],
    ):
        self.size, self.penalty, self.bar, self._keep = size, penalty, bar, keep
        # The strongest members first: prefixes of weak ones are cut off early.
        self.order = np.argsort(
            -(_count(correct) - penalty * _count(correct & wrong)), kind="stable"
        )
        self.correct, self.wrong = correct[self.order], wrong[self.order]
        # Correct answers of each member and all after it.
        self.ahead = np.bitwise_or.accumulate(self.correct[::-1], axis=0)[::-1]
        self.in_wrong = max(0.0, 1.0 - penalty)
        self.pairs = (
            Pairs(self.correct, self.wrong)
            if size > 1 and len(correct) * correct.size <= _PAIRED
            else None
        )
        self.evaluated = 0

    def run(self, seconds: float) -> float:
        """Search for at most this long.

        Return the highest value that an unexplored subset could have; −inf if none is left.
        """
        deadline = time.perf_counter() + seconds
        self._swap(np.random.default_rng(0))
        nothing = np.zeros_like(self.correct[0])
        # Depth first, the most promising child on top: (bound, prefix, next position, U, V).
        stack: list[tuple[float, tuple[int, ...], int, Bits, Bits]] = [
            (math.inf, (), 0, nothing, nothing)
        ]
        while stack:
            bound, prefix, start, union, wrongs = stack.pop()
            if bound < self.bar():
                continue
            if time.perf_counter() > deadline:
                return max(bound, *(entry[0] for entry in stack), -math.inf)
            if self.pairs is not None and self.size - len(prefix) == 2:
                self._complete(self.pairs, prefix, start, union, wrongs)
                continue
            unions, all_wrong = union | self.correct[start:], wrongs | self.wrong[start:]
            values = self._values(unions, all_wrong)
            self.evaluated += len(values)
            if self.size - len(prefix) == 1:
                for at in np.flatnonzero(values >= self.bar()).tolist():
                    self._found(float(values[at]), (*prefix, start + at))
                continue
            children = [
                (above, (*prefix, start + at), start + at + 1, unions[at], all_wrong[at])
                for at, above in self._bounds(
                    len(prefix), start, union, wrongs, unions, all_wrong, values
                )
            ]
            stack.extend(sorted(children, key=lambda child: child[0]))
        return -math.inf

    def _bounds(
        self,
        chosen: int,
        start: int,
        union: Bits,
        wrongs: Bits,
        unions: Bits,
        all_wrong: Bits,
        values: Floats,
    ) -> list[tuple[int, float]]:
        """(child, upper bound) of the children that could reach the bar."""
        left = self.size - chosen - 1
        # First by what child and members add to the prefix, for all children at once; then by what
        # members add to the child.
        adds = self._adds(self.correct[start:], self.wrong[start:], union, wrongs, left + 1)
        roughly = float(self._values(union, wrongs)) + adds + np.sort(adds)[::-1][:left].sum()
        found = []
        for at in np.flatnonzero(roughly >= self.bar()).tolist():
            following = start + at + 1
            if following + left > len(self.correct):
                continue
            adds = self._adds(
                self.correct[following:], self.wrong[following:], unions[at], all_wrong[at], left
            )
            most = np.partition(adds, len(adds) - left)[len(adds) - left :].sum()
            value, reachable = float(values[at]), unions[at] | self.ahead[following]
            above = min(value + float(most), self._ceiling(reachable, all_wrong[at]))
            if self.pairs is not None and left > 2 and above >= self.bar():
                above = min(
                    above,
                    self._by_pairs(
                        self.pairs, following, left, value, unions[at], reachable, all_wrong[at]
                    ),
                )
            if above >= self.bar():
                found.append((at, above))
        return found

    def _by_pairs(
        self,
        pairs: Pairs,
        following: int,
        left: int,
        value: float,
        union: Bits,
        reachable: Bits,
        wrongs: Bits,
    ) -> float:
        """The lesser of two closer bounds.

        They are the ceiling less the least that members take from it, and the value plus the most
        that they add to it.
        """
        taken = pairs.taken(following, reachable & ~wrongs, left)
        ceiling = self._ceiling(reachable, wrongs) - (1.0 - self.in_wrong) * float(
            np.sort(taken)[:left].sum()
        )
        if ceiling < self.bar():
            return ceiling
        adds = pairs.added(following, ~union & ~wrongs, left)
        adds = adds - self.penalty * pairs.taken(following, union & ~wrongs, left)
        if self.in_wrong:
            adds = adds + self.in_wrong * _count(self.correct[following:] & ~union & wrongs)
        return min(ceiling, value + float(np.sort(adds)[-left:].sum()))

    def _complete(
        self, pairs: Pairs, prefix: tuple[int, ...], start: int, union: Bits, wrongs: Bits
    ) -> None:
        """Try all ways to add the last two members."""
        last, right, against = pairs.completed(start, union, wrongs)
        values = right - self.penalty * against
        self.evaluated += len(values)
        for at in np.flatnonzero(values >= self.bar()).tolist():
            self._found(float(values[at]), (*prefix, *last[at].tolist()))

    def _adds(self, correct: Bits, wrong: Bits, union: Bits, wrongs: Bits, left: int) -> Floats:
        """What each member adds at most, [m], when `left` members are added together."""
        new = correct & ~union
        gains = _count(new & ~wrongs) + (
            self.in_wrong * _count(new & wrongs) if self.in_wrong else 0
        )
        return gains - self.penalty * _count(wrong & union & ~wrongs) / left

    def _ceiling(self, reachable: Bits, wrongs: Bits) -> float:
        """The value if all reachable questions were right and no further one wrong."""
        return float(_count(reachable & ~wrongs) + self.in_wrong * _count(reachable & wrongs))

    def _values(self, unions: Bits, wrongs: Bits) -> Floats:
        values: Floats = _count(unions) - self.penalty * _count(unions & wrongs)
        return values

    def _swap(self, random: np.random.Generator) -> None:
        """Improve greedy subsets from several starts by exchanging one member at a time."""
        for start in range(_STARTS):
            members = (
                []
                if start == 0
                else random.choice(len(self.correct), min(2, self.size), replace=False).tolist()
            )
            while len(members) < self.size:
                members.append(self._best_beside(members)[0])
            better = True
            while better:
                better = False
                for place in range(self.size):
                    others = members[:place] + members[place + 1 :]
                    candidate, values = self._best_beside(others)
                    if values[candidate] > values[members[place]]:
                        members[place], better = candidate, True
            union, wrongs = self._united(members)
            value = float(self._values(union[None], wrongs[None])[0])
            if value >= self.bar():
                self._found(value, tuple(members))

    def _best_beside(self, members: list[int]) -> tuple[int, Floats]:
        """The member that improves a subset most, and the subset's value with each member."""
        union, wrongs = self._united(members)
        values = self._values(union | self.correct, wrongs | self.wrong)
        values[members] = -math.inf
        self.evaluated += len(values)
        return int(values.argmax()), values

    def _united(self, members: list[int]) -> tuple[Bits, Bits]:
        return np.bitwise_or.reduce(self.correct[members]), np.bitwise_or.reduce(
            self.wrong[members]
        )

    def _found(self, value: float, subset: tuple[int, ...]) -> None:
        self._keep(value, tuple(sorted(self.order[list(subset)].tolist())))


def _count(bits: Bits) -> Ints:
    """Count the questions set in each row."""
    counts: Ints = np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)
    return counts


class Pairs:
    """Bounds from all pairs of members.

    Args:
        correct, wrong: [M, W] bits, one per question.
    """

    def __init__(self, correct: Bits, wrong: Bits):
        self.members = all_subsets(len(correct), 2)  # [T, 2]
        one, other = self.members.T
        # Pairs of the members from a position on are a slice at the end.
        self._follows = np.searchsorted(one, np.arange(len(correct) + 1))
        # [M, M]: the index of two members' pair. The diagonal has none: any index in every slice.
        self._place = np.zeros((len(correct), len(correct)), np.intp)
        self._place[one, other] = self._place[other, one] = np.arange(len(one))
        np.fill_diagonal(self._place, len(one) - 1)
        # Words first, [W, T], so that the counts of many pairs are added up in whole rows.
        self._correct, self._wrong = (unite(bits, self.members) for bits in (correct, wrong))
        self._both_correct, self._both_wrong = (
            np.ascontiguousarray((bits[one] & bits[other]).T) for bits in (correct, wrong)
        )
        self._own_correct, self._own_wrong = correct, wrong

    def completed(self, start: int, union: Bits, wrongs: Bits) -> tuple[Ints, Ints, Ints]:
        """Join a prefix with each pair of members from `start` on.

        Return the pairs [t, 2] and their counts of correct and of contradicted questions, [t] each.
        """
        first = int(self._follows[start])
        unions = self._correct[:, first:] | union[:, None]
        both = unions & (self._wrong[:, first:] | wrongs[:, None])
        return self.members[first:], count_bits(unions), count_bits(both)

    def added(self, start: int, new: Bits, left: int) -> Floats:
        """Each member's share, at most, of the questions in `new` that `left` turn right: [m].

        Where n of them are right the share is 1/n, which is at most 1 − (n − 1) / left. Summed over
        questions, n − 1 is what the others share with the member, so at least what the left − 1
        that share least have in common with it.
        """
        shared, own = (
            self._shared(self._both_correct, start, new),
            count_bits(self._own_correct[start:].T & new[:, None]),
        )
        np.fill_diagonal(shared, np.iinfo(shared.dtype).max)
        least: Floats = np.partition(shared, left - 2, axis=1)[:, : left - 1].sum(axis=1)
        return own - least / left

    def taken(self, start: int, right: Bits, left: int) -> Floats:
        """Each member's share, at least, of the questions in `right` that `left` turn wrong: [m].

        Where n of them are wrong the share is 1/n, whose mean is at least 1 over the mean of n (D.
        de Caen, "A lower bound on the probability of a union", Discrete Mathematics 169, 1997). The
        sum of n is at most what the left − 1 that share most have in common with the member.
        """
        shared, own = (
            self._shared(self._both_wrong, start, right),
            count_bits(self._own_wrong[start:].T & right[:, None]),
        )
        np.fill_diagonal(shared, 0)
        at = len(shared) - left + 1
        most = np.partition(shared, at, axis=1)[:, at:].sum(axis=1)
        return own.astype(float) ** 2 / np.maximum(own + most, 1)

    def _shared(self, both: Bits, start: int, questions: Bits) -> Ints:
        """How many of the questions two members share, [m, m]; the diagonal is meaningless."""
        first = int(self._follows[start])
        return count_bits(both[:, first:] & questions[:, None])[self._place[start:, start:] - first]
