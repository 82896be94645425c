"""95 % intervals of means and paired differences over questions, and McNemar's test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..voting.tally import Floats

Z95 = 1.959963984540054
BOOTSTRAPS = 1000
#: Bootstrapped values held in memory at a time.
_AT_ONCE = 2_000_000
#: Values that differ by less than this are the same.
_ALIKE = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` questions, its 95 % interval and its standard error, as fractions.

    >>> gain = paired_difference([1, 1, 1, 0], [1, 0, 0, 0])
    >>> print(gain.percent(), "from", gain.interval())
    50.0 from 0.0 – 100.0
    """

    mean: float
    low: float
    high: float
    n: int
    stderr: float = math.nan

    def percent(self) -> str:
        return f"{100 * self.mean:.1f}"

    def interval(self) -> str:
        return f"{100 * self.low:.1f} – {100 * self.high:.1f}"


def accuracy(scores: Sequence[float]) -> Estimate:
    """Estimate the mean score of one run's questions.

    The interval is Wilson's where each question is right or wrong, else a bootstrap.
    """
    if not len(scores):
        return Estimate(math.nan, math.nan, math.nan, 0)
    n, mean = len(scores), math.fsum(scores) / len(scores)
    binary = set(scores) <= {0.0, 1.0}
    low, high = wilson(mean, n) if binary else bootstrap(np.asarray(scores, float))
    return Estimate(mean, low, high, n, standard_error(np.asarray(scores, float)))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of n independent cases, n at least 1."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(scores: Sequence[float], others: Sequence[float]) -> Estimate:
    """Estimate the mean of scores − others on the same questions.

    A single question has no interval: its ends are NaN.
    """
    differences = np.array([a - b for a, b in zip(scores, others, strict=True)])
    n = len(differences)
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(differences) / n
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    return Estimate(mean, *bootstrap_difference(differences), n, standard_error(differences))


def bootstrap_difference(differences: Floats, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a mean paired difference of scores from 0 to 1."""
    return bootstrap(differences, seed=seed, least=-1.0)


def bootstrap(values: Floats, *, seed: int = 0, least: float = 0.0) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean over questions, from 1,000 resamples.

    Where all questions score alike, resampling shows no doubt at all. Then the interval allows for
    as many other questions as Wilson's does, scoring from `least` (−1 for differences) to 1: for
    20 of 20 right it is 83.9 to 100 %.
    """
    n = len(values)
    if n == 0:
        return math.nan, math.nan
    lowest, highest = float(values.min()), float(values.max())
    if highest - lowest < _ALIKE:
        others = Z95**2 / (n + Z95**2)
        low = lowest - others * max(0.0, lowest - least)
        return low, highest + others * max(0.0, 1.0 - highest)
    random = np.random.default_rng(seed)
    at_once = max(1, _AT_ONCE // n)
    sizes = [min(at_once, BOOTSTRAPS - done) for done in range(0, BOOTSTRAPS, at_once)]
    means = np.concatenate(
        [values[random.integers(0, n, (size, n))].mean(axis=1) for size in sizes]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def standard_error(values: Floats) -> float:
    """Return the standard error of the mean; NaN for fewer than two values."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else math.nan


def mcnemar(scores: Sequence[float], others: Sequence[float]) -> float | None:
    """Return the exact two-sided McNemar p of right and wrong answers to the same questions.

    Only questions that one side alone gets right count; under the null hypothesis each of them is a
    fair coin. None where a score is neither 0 nor 1.
    """
    from scipy.stats import binomtest

    if not {*scores, *others} <= {0.0, 1.0}:
        return None
    pairs = list(zip(scores, others, strict=True))
    ours, theirs = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    return 1.0 if ours + theirs == 0 else float(binomtest(ours, ours + theirs).pvalue)
