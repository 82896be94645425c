"""Compare the mean of a figure between two independent samples of questions: test, interval, power.

A figure is a number in [0, 1] for each question, such as the share of its draws that abstained. It
has few distinct values and many ties, so that the test permutes rather than ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..voting.tally import Floats
from .intervals import Z95

#: The least number of permutations.
PERMUTATIONS = 9_999
#: Values that agree to so many digits are the same.
_DIGITS = 9
#: Sums of values that differ by less are the same.
_ALIKE = 1e-9
#: Numbers held in memory at a time.
_AT_ONCE = 2_000_000
#: Up to so many distinct values the number of each is drawn at once.
_FEW_LEVELS = 64
#: The most questions that `questions_needed` answers with.
_MOST = 10_000_000


def permutation_p(one: Floats, other: Floats, *, permutations: int, seed: int) -> float:
    """Return the two-sided p of the difference in means, where both samples are exchangeable.

    For two distinct values it is Fisher's exact test. Else it is a permutation test of the
    difference, which is exact for any ties: at most a share p of questions dealt anew into two such
    samples differ as much, with this one among them. One value alone gives 1.
    """
    levels, every = np.unique(np.round(np.r_[one, other], _DIGITS), return_inverse=True)
    if len(levels) == 1:
        return 1.0
    counts = np.bincount(every)
    first = np.bincount(every[: len(one)], minlength=len(levels))
    if len(levels) == 2:
        from scipy.stats import fisher_exact

        return float(fisher_exact([first, counts - first]).pvalue)
    random = np.random.default_rng(seed)
    method: Literal["marginals", "count"] = "marginals" if len(levels) <= _FEW_LEVELS else "count"
    expected = len(one) * (counts @ levels) / counts.sum()
    seen = abs(first @ levels - expected) - _ALIKE
    as_far, at_once = 0, max(1, _AT_ONCE // len(levels))
    for done in range(0, permutations, at_once):
        size = min(at_once, permutations - done)
        dealt = random.multivariate_hypergeometric(counts, len(one), size=size, method=method)
        as_far += int((np.abs(dealt @ levels - expected) >= seen).sum())
    return (1 + as_far) / (1 + permutations)


def holm(p: Sequence[float]) -> list[float]:
    """Return p values corrected for their number by Holm's method, which holds for dependent ones.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[at]))
        corrected[at] = largest
    return corrected


def interval_of_difference(one: Floats, other: Floats) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `one` minus that of `other`.

    Each sample is given one question of value 0 and one of value 1 more (Agresti and Caffo), so
    that there is doubt left where all questions are alike; then it is a normal interval.
    """
    means, variances = [], []
    for sample in (one, other):
        fuller = np.r_[sample, 0.0, 1.0]
        means.append(fuller.mean())
        variances.append(fuller.var() / len(fuller))
    middle, half = means[0] - means[1], Z95 * math.sqrt(sum(variances))
    return max(-1.0, float(middle - half)), min(1.0, float(middle + half))


class Power:
    """How likely the test is to see a change of a figure's mean, by its mean and spread before.

    It is the normal approximation with a correction for the steps between values. After the change
    the variance is taken to fill the same part of mean × (1 − mean), the most that it can be.

    Args:
        before: the values of one sample.
        size: of the sample that was measured before; None for `before` itself.
        level: of the test, in (0, 1), corrected for the number of tests.
    """

    def __init__(self, before: Floats, *, level: float, size: int | None = None):
        from scipy.special import ndtri

        self.mean, self.size = float(before.mean()), len(before) if size is None else size
        most = self.mean * (1 - self.mean)
        self._filled = min(1.0, float(before.var()) / most) if most > 0 else 1.0
        self._critical = float(-ndtri(level / 2))
        steps = np.diff(np.unique(np.round(before, _DIGITS)))
        self._step = float(steps.min()) if len(steps) else 1.0

    def of(self, change: float, questions: int) -> float:
        """Return the chance to see the mean move by `change` in a second sample of `questions`.

        It is NaN where no figure can move so far.
        """
        from scipy.special import ndtr

        after = self.mean + change
        if not 0 <= after <= 1:
            return math.nan
        each = 1 / self.size + 1 / questions
        pooled = (self.size * self.mean + questions * after) / (self.size + questions)
        none = math.sqrt(self._filled * pooled * (1 - pooled) * each)
        spread = self.mean * (1 - self.mean) / self.size + after * (1 - after) / questions
        distance = abs(change) - self._step * each / 2 - self._critical * none
        if spread == 0:
            return float(distance >= 0)
        return float(ndtr(distance / math.sqrt(self._filled * spread)))

    def questions_needed(self, change: float, power: float = 0.8) -> int | None:
        """Return how many questions a second sample needs to see the change so often.

        None where no number is enough: the first sample is too small, or no figure moves so far.
        """
        if not self.of(change, _MOST) >= power:
            return None
        low, high = 0, _MOST
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.of(change, middle) >= power else (middle, high)
        return high

    def smallest_change(self, questions: int, *, up: bool, power: float = 0.8) -> float | None:
        """Return the smallest change that `questions` show so often, up or down; None for none."""
        most = 1 - self.mean if up else -self.mean
        if not self.of(most, questions) >= power:
            return None
        low, high = 0.0, most
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self.of(middle, questions) >= power else (middle, high)
        return high
