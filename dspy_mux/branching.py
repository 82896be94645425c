"""Branch and bound over subsets too many to be tried one by one: the best of them, proven, or the gap that is left.

A prefix of members with union U of correct and V of wrong questions is worth |U| − λ |U ∩ V|. What adding r members can make of it
is bounded from above: each adds at most the questions that it alone turns right (those within V count 1 − λ), and each takes away
what it turns wrong; what several take away together is at least what the one takes that takes most, so at least the mean. A swap
search gives good subsets to begin with, so that most prefixes never have to be opened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .tally import Floats, Ints

Bits = NDArray[np.uint64]
#: Starts of the swap search.
_STARTS = 8


class Branching:
    """One search over subsets of one size.

    Args:
        correct, wrong: [M, W] bits, one a question.
        penalty: λ.
        bar: what a subset must reach to be kept, as a count of questions; asked again and again.
        keep: takes (value, positions in ascending order) of a subset that reaches it, perhaps more than once.
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
        self.order = np.argsort(-(_count(correct) - penalty * _count(correct & wrong)), kind="stable")
        self.correct, self.wrong = correct[self.order], wrong[self.order]
        # Correct answers of this member and all after it.
        self.ahead = np.bitwise_or.accumulate(self.correct[::-1], axis=0)[::-1]
        self.in_wrong = max(0.0, 1.0 - penalty)
        self.evaluated = 0

    def run(self, seconds: float) -> float:
        """Search for at most so long; the highest value that a subset not looked at could have, −inf where all was."""
        deadline = time.perf_counter() + seconds
        self._swap(np.random.default_rng(0))
        nothing = np.zeros_like(self.correct[0])
        # Depth first, the most promising child on top: (bound, prefix, next position, U, V).
        stack: list[tuple[float, tuple[int, ...], int, Bits, Bits]] = [(math.inf, (), 0, nothing, nothing)]
        while stack:
            bound, prefix, start, union, wrongs = stack.pop()
            if bound < self.bar():
                continue
            if time.perf_counter() > deadline:
                return max(bound, *(entry[0] for entry in stack), -math.inf)
            unions, all_wrong = union | self.correct[start:], wrongs | self.wrong[start:]
            values = self._values(unions, all_wrong)
            self.evaluated += len(values)
            if self.size - len(prefix) == 1:
                for at in np.flatnonzero(values >= self.bar()).tolist():
                    self._found(float(values[at]), (*prefix, start + at))
                continue
            children = [
                (above, (*prefix, start + at), start + at + 1, unions[at], all_wrong[at])
                for at, above in self._bounds(len(prefix), start, union, wrongs, unions, all_wrong, values)
            ]
            stack.extend(sorted(children, key=lambda child: child[0]))
        return -math.inf

    def _bounds(
        self, chosen: int, start: int, union: Bits, wrongs: Bits, unions: Bits, all_wrong: Bits, values: Floats
    ) -> list[tuple[int, float]]:
        """(child, what it could still become) of the children that could reach the bar."""
        left = self.size - chosen - 1
        # First by what child and members add to the prefix, for all children at once; then by what members add to the child.
        adds = self._adds(self.correct[start:], self.wrong[start:], union, wrongs, left + 1)
        roughly = float(self._values(union, wrongs)) + adds + np.sort(adds)[::-1][:left].sum()
        found = []
        for at in np.flatnonzero(roughly >= self.bar()).tolist():
            following = start + at + 1
            if following + left > len(self.correct):
                continue
            adds = self._adds(self.correct[following:], self.wrong[following:], unions[at], all_wrong[at], left)
            most = np.partition(adds, len(adds) - left)[len(adds) - left :].sum()
            above = min(float(values[at] + most), self._ceiling(unions[at] | self.ahead[following], all_wrong[at]))
            if above >= self.bar():
                found.append((at, above))
        return found

    def _adds(self, correct: Bits, wrong: Bits, union: Bits, wrongs: Bits, left: int) -> Floats:
        """[m]: what each member adds at most, where `left` are added together."""
        new = correct & ~union
        gains = _count(new & ~wrongs) + (self.in_wrong * _count(new & wrongs) if self.in_wrong else 0)
        return gains - self.penalty * _count(wrong & union & ~wrongs) / left

    def _ceiling(self, reachable: Bits, wrongs: Bits) -> float:
        """What it would be worth if every question that somebody ahead gets right were right, and no further one wrong."""
        return float(_count(reachable & ~wrongs) + self.in_wrong * _count(reachable & wrongs))

    def _values(self, unions: Bits, wrongs: Bits) -> Floats:
        values: Floats = _count(unions) - self.penalty * _count(unions & wrongs)
        return values

    def _swap(self, random: np.random.Generator) -> None:
        """Greedy subsets, from several starts, bettered by exchanging one member at a time while that helps."""
        for start in range(_STARTS):
            members = [] if start == 0 else random.choice(len(self.correct), min(2, self.size), replace=False).tolist()
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
        """The member that makes most of a subset, and the value with each of them."""
        union, wrongs = self._united(members)
        values = self._values(union | self.correct, wrongs | self.wrong)
        values[members] = -math.inf
        self.evaluated += len(values)
        return int(values.argmax()), values

    def _united(self, members: list[int]) -> tuple[Bits, Bits]:
        return np.bitwise_or.reduce(self.correct[members]), np.bitwise_or.reduce(self.wrong[members])

    def _found(self, value: float, subset: tuple[int, ...]) -> None:
        self._keep(value, tuple(sorted(self.order[list(subset)].tolist())))


def _count(bits: Bits) -> Ints:
    """Questions set in each row."""
    counts: Ints = np.bitwise_count(bits).sum(axis=-1, dtype=np.int64)
    return counts
