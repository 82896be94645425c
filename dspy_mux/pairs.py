"""What members add to a prefix, and take away from it, together: bounds of the branch and bound that look at all pairs at once.

Adding up what each of several members does alone counts a question as often as members do it. How often is bounded by what every
two of them share; from that each member's own part of what they do together is bounded, and the parts add up.
"""

from __future__ import annotations

import numpy as np

from .enumeration import Bits, counted, together, ways
from .tally import Floats, Ints


class Pairs:
    """All pairs of members.

    Args:
        correct, wrong: [M, W] bits, one a question.
    """

    def __init__(self, correct: Bits, wrong: Bits):
        self.members = ways(len(correct), 2)  # [T, 2]
        one, other = self.members.T
        # Pairs of the members from one on are a slice at the end.
        self._follows = np.searchsorted(one, np.arange(len(correct) + 1))
        self._place = np.zeros((len(correct), len(correct)), np.intp)  # [M, M]: where two members' pair stands
        self._place[one, other] = self._place[other, one] = np.arange(len(one))
        np.fill_diagonal(self._place, len(one) - 1)  # no pair: any place that every slice has
        # Words first, [W, T], so that the counts of many pairs are added up in whole rows.
        self._correct, self._wrong = (together(bits, self.members) for bits in (correct, wrong))
        self._both_correct, self._both_wrong = (np.ascontiguousarray((bits[one] & bits[other]).T) for bits in (correct, wrong))
        self._own_correct, self._own_wrong = correct, wrong

    def completed(self, start: int, union: Bits, wrongs: Bits) -> tuple[Ints, Ints, Ints]:
        """A prefix with each pair of members from `start` on: (pairs [t, 2], right [t], of them wrong too [t])."""
        first = int(self._follows[start])
        unions = self._correct[:, first:] | union[:, None]
        both = unions & (self._wrong[:, first:] | wrongs[:, None])
        return self.members[first:], counted(unions), counted(both)

    def added(self, start: int, new: Bits, left: int) -> Floats:
        """[m]: each member's part of the questions within `new` that `left` members turn right together, at most.

        Where n of them are right the part is 1/n, which is at most 1 − (n − 1) / left; n − 1 adds up over the others to what each
        shares with the member, so to the least that left − 1 of them can share.
        """
        shared, own = self._shared(self._both_correct, start, new), counted(self._own_correct[start:].T & new[:, None])
        np.fill_diagonal(shared, np.iinfo(shared.dtype).max)
        least: Floats = np.partition(shared, left - 2, axis=1)[:, : left - 1].sum(axis=1)
        return own - least / left

    def taken(self, start: int, right: Bits, left: int) -> Floats:
        """[m]: each member's part of the questions within `right` that `left` members turn wrong together, at least.

        Where n of them are wrong the part is 1/n, whose mean is at least 1 over the mean of n (D. de Caen, "A lower bound on the
        probability of a union", Discrete Mathematics 169, 1997); n adds up to at most what the left − 1 that share most share.
        """
        shared, own = self._shared(self._both_wrong, start, right), counted(self._own_wrong[start:].T & right[:, None])
        np.fill_diagonal(shared, 0)
        at = len(shared) - left + 1
        most = np.partition(shared, at, axis=1)[:, at:].sum(axis=1)
        return own.astype(float) ** 2 / np.maximum(own + most, 1)

    def _shared(self, both: Bits, start: int, questions: Bits) -> Ints:
        """[m, m]: how many of the questions two members share; the diagonal says nothing."""
        first = int(self._follows[start])
        return counted(both[:, first:] & questions[:, None])[self._place[start:, start:] - first]
