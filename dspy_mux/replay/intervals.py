"""95 % intervals of means and paired differences over questions, and McNemar's test.

There is one method for each, by formula: the same figures always have the same interval.

- A share, or a mean of scores from 0 to 1: Wilson's score interval. Where scores lie between 0 and
  1, or are means over repeats, they vary less than right and wrong answers do, and the interval is
  as much narrower.
- A mean paired difference: Bonett and Price's interval (2012), which adds one question won and one
  lost, then extended to 0 wherever McNemar's exact test does not reject at 5 %. So an interval
  without 0 and a p below 0.05 always come together.

Over true shares of 0 to 1, 10 to 100 questions, they hold the truth in 95 % of samples on average.
The worst cases are a share within 0.2 / n of 0 or 1, where Wilson's holds it in 84 %, and
differences of 20 questions of which one side alone wins some, with 92 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..text import number
from ..voting.tally import Floats
from .grading import check_shares

Z95 = 1.959963984540054
#: Questions that Wilson's interval adds, half of them right.
_ADDED = Z95**2
#: From this p on McNemar's test does not reject.
_LEVEL = 0.05


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` questions, its 95 % interval and its standard error, as fractions.

    >>> gain = paired_difference([1, 1, 1, 0], [1, 0, 0, 0])
    >>> print(gain.percent(), "from", gain.interval())
    50.0 from −26.3 – 93.0
    """

    mean: float
    low: float
    high: float
    n: int
    stderr: float = math.nan

    def percent(self) -> str:
        return f"{100 * self.mean:.1f}"

    def interval(self) -> str:
        return f"{number(100 * self.low, '.1f')} – {number(100 * self.high, '.1f')}"


def accuracy(scores: Sequence[float] | Floats) -> Estimate:
    """Estimate the mean of questions' scores from 0 to 1.

    Raises:
        ConfigurationError: other scores.
    """
    values = np.asarray(scores, float)
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan, 0)
    check_shares(values, "The run")
    mean = math.fsum(values) / len(values)
    return Estimate(mean, *mean_interval(values), len(values), standard_error(values))


def mean_interval(values: Floats) -> tuple[float, float]:
    """Return Wilson's 95 % interval of the mean of scores from 0 to 1; NaN without any.

    Of right and wrong answers it is `wilson`. Scores in between count as more questions than there
    are, by how much less they vary; Wilson's added questions count in that, so that equal scores
    are not taken for certain.
    """
    n = len(values)
    if not n:
        return math.nan, math.nan
    total = n + _ADDED
    mean = (float(values.sum()) + _ADDED / 2) / total
    squares = (float((values**2).sum()) + _ADDED / 2) / total
    varies = (squares - mean**2) / (mean * (1 - mean))
    return wilson(float(values.mean()), n / varies)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of n independent cases, n at least 1."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    # Rounding must not leave the share itself outside.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def paired_difference(
    scores: Sequence[float] | Floats, others: Sequence[float] | Floats
) -> Estimate:
    """Estimate the mean of scores − others on the same questions, both from 0 to 1.

    A single question has no interval: its ends are NaN.
    """
    differences = np.array([a - b for a, b in zip(scores, others, strict=True)])
    n = len(differences)
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(differences) / n
    return Estimate(mean, *difference_interval(differences), n, standard_error(differences))


def difference_interval(differences: Floats) -> tuple[float, float]:
    """Return the 95 % interval of a mean paired difference of scores from 0 to 1.

    NaN for fewer than two questions.
    """
    n = len(differences)
    if n < 2:
        return math.nan, math.nan
    # One more question won by 1, and one lost by 1.
    mean = float(differences.sum()) / (n + 2)
    spread = (float((differences**2).sum()) + 2) / (n + 2) - mean**2
    half = Z95 * math.sqrt(spread / (n + 2))
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    observed = float(differences.mean())
    # Where one side wins every question, what was seen lies outside.
    low, high = min(low, observed), max(high, observed)
    won, lost = int((differences == 1).sum()), int((differences == -1).sum())
    if won + lost + (differences == 0).sum() == n and _exact_p(won, lost) >= _LEVEL:
        low, high = min(low, 0.0), max(high, 0.0)
    return low, high


def standard_error(values: Floats) -> float:
    """Return the standard error of the mean; NaN for fewer than two values."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else math.nan


def mcnemar(scores: Sequence[float], others: Sequence[float]) -> float | None:
    """Return the exact two-sided McNemar p of right and wrong answers to the same questions.

    Only questions that one side alone gets right count; under the null hypothesis each of them is a
    fair coin. None where a score is neither 0 nor 1.
    """
    if not {*scores, *others} <= {0.0, 1.0}:
        return None
    pairs = list(zip(scores, others, strict=True))
    return _exact_p(sum(a > b for a, b in pairs), sum(a < b for a, b in pairs))


def _exact_p(won: int, lost: int) -> float:
    from scipy.stats import binomtest

    return 1.0 if won + lost == 0 else float(binomtest(won, won + lost).pvalue)
