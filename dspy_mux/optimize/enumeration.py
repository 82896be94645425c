"""Exhaustive search: score every subset of one size by O(S), and keep the best.

Subsets are walked prefix by prefix: the members of a prefix are united once, and all ways to
complete it are counted at once.
"""

from __future__ import annotations

import heapq
import itertools
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..voting.tally import Floats, Ints

Bits = NDArray[np.uint64]
_CACHED_WORDS = 1 << 17


class Best:
    """The `top` subsets so far. Ties go to the smaller subset, then to pool order."""

    def __init__(self, top: int):
        self.top = top
        # (value, −size, negated positions): the least entry is the worst subset.
        self._heap: list[tuple[float, int, tuple[int, ...]]] = []
        self._kept: set[tuple[int, ...]] = set()

    @property
    def bar(self) -> float:
        """The value that a subset must reach to be kept."""
        return self._heap[0][0] if len(self._heap) == self.top else -math.inf

    @property
    def highest(self) -> float:
        """The value of the best subset; −inf while there is none."""
        return max((value for value, _, _ in self._heap), default=-math.inf)

    def add(self, value: float, subset: tuple[int, ...]) -> None:
        """Keep a subset if it is among the best; adding it again has no effect."""
        entry = (value, -len(subset), tuple(-at for at in subset))
        if subset in self._kept:
            return
        if len(self._heap) < self.top:
            heapq.heappush(self._heap, entry)
            self._kept.add(subset)
        elif entry > self._heap[0]:
            out = heapq.heapreplace(self._heap, entry)
            self._kept.remove(tuple(-at for at in out[2]))
            self._kept.add(subset)

    def add_best(self, values: Floats, prefix: tuple[int, ...], tails: Ints) -> None:
        """Add a prefix joined with each of the tails [T, members], of the given values [T]."""
        keep = np.flatnonzero(values >= self.bar)
        if len(keep) > self.top:  # only the best, with all that tie for the last place
            least = np.partition(values[keep], len(keep) - self.top)[len(keep) - self.top]
            keep = keep[values[keep] >= least]
        for at in keep.tolist():
            self.add(float(values[at]), (*prefix, *tails[at].tolist()))

    def values(self) -> dict[tuple[int, ...], float]:
        """The subsets kept, as positions, with their values."""
        return {tuple(-at for at in negated): value for value, _, negated in self._heap}

    def subsets(self) -> list[tuple[int, ...]]:
        """The subsets kept, best first."""
        return [tuple(-at for at in negated) for _, _, negated in sorted(self._heap, reverse=True)]


def enumerate_subsets(
    correct: Bits, wrong: Bits, rows: int, size: int, penalty: float, best: Best
) -> int:
    """Score every subset of one size by O(S), and return how many there were.

    Args:
        correct, wrong: [M, W] bits, one per question, `rows` of them in use.
        best: receives the best subsets.
    """
    count, words = correct.shape
    tail = _tail(count, size, words)
    tails = all_subsets(count, tail)
    # Words first, [W, T], so that the counts of many tails are added up in whole rows.
    tails_correct, tails_wrong = unite(correct, tails), unite(wrong, tails)
    # Tails are ordered by their first member: those that may follow a prefix are a final slice.
    follows = np.searchsorted(tails[:, 0], np.arange(count + 1))
    evaluated = 0
    for prefix in itertools.combinations(range(count), size - tail):
        start = int(follows[prefix[-1] + 1]) if prefix else 0
        if start == len(tails):
            continue
        union, wrongs = tails_correct[:, start:], tails_wrong[:, start:]
        if prefix:
            union = union | np.bitwise_or.reduce(correct[list(prefix)])[:, None]
            wrongs = wrongs | np.bitwise_or.reduce(wrong[list(prefix)])[:, None]
        values = objective_values(count_bits(union), count_bits(union & wrongs), penalty, rows)
        evaluated += len(values)
        best.add_best(values, prefix, tails[start:])
    return evaluated


def objective_values(right: Ints, against: Ints, penalty: float, rows: int) -> Floats:
    """O(S) from counts of correct and of contradicted questions.

    Every ranking uses this one expression, so that equal counts give equal floats.
    """
    return (right - penalty * against) / rows


def _tail(count: int, size: int, words: int) -> int:
    """How many last members to complete at once: as many as fit the cache with their bits."""
    fits = [tail for tail in range(2, size + 1) if math.comb(count, tail) * words <= _CACHED_WORDS]
    return max(fits, default=min(size, 2))


@lru_cache(maxsize=8)  # a study searches the same pool again and again
def all_subsets(count: int, size: int) -> Ints:
    """Return all subsets of one size, [T, size], in lexicographic order."""
    return np.fromiter(
        itertools.chain.from_iterable(itertools.combinations(range(count), size)), np.intp
    ).reshape(-1, size)


def unite(bits: Bits, subsets: Ints) -> Bits:
    """Unite the bits [M, W] of each of the subsets [T, members]: [W, T]."""
    words = np.ascontiguousarray(bits.T)
    united: Bits = words.take(subsets[:, 0], axis=1)
    for member in subsets.T[1:]:
        united |= words.take(member, axis=1)
    return united


def count_bits(bits: Bits) -> Ints:
    """Count the questions set in each column of [W, T]: [T]."""
    counts: Ints = np.bitwise_count(bits).sum(axis=0, dtype=np.int32)
    return counts
