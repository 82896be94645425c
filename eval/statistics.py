"""Means with 95 % intervals over questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` questions and its 95 % interval, as fractions."""

    mean: float
    low: float
    high: float
    n: int

    def percent(self) -> str:
        return f"{100 * self.mean:.1f}"

    def interval(self) -> str:
        return f"{100 * self.low:.1f} – {100 * self.high:.1f}"


def accuracy(scores: Sequence[float]) -> Estimate:
    """Mean score in [0, 1]: Wilson's interval where each question is right or wrong, else a normal one, clipped."""
    if not scores:
        return Estimate(math.nan, math.nan, math.nan, 0)
    n, mean = len(scores), math.fsum(scores) / len(scores)
    if not set(scores) <= {0.0, 1.0}:
        half = Z95 * _standard_error(scores)
        return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), n)
    return Estimate(mean, *wilson(mean, n), n)


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of n independent cases, n at least 1."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_difference(scores: Sequence[float], others: Sequence[float]) -> Estimate:
    """Mean of scores − others on the same questions, with a normal interval.

    Where all questions differ alike that would be no interval at all: then as many others may differ otherwise, by −1 to 1, as
    Wilson's interval leaves open, as in `dspy_mux.replay.bootstrap`.
    """
    differences = [a - b for a, b in zip(scores, others, strict=True)]
    if not differences:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = math.fsum(differences) / len(differences)
    if len(differences) == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    if max(differences) - min(differences) < 1e-9:
        _, share = wilson(0.0, len(differences))
        return Estimate(mean, mean - share * max(0.0, mean + 1), mean + share * max(0.0, 1 - mean), len(differences))
    half = Z95 * _standard_error(differences)
    return Estimate(mean, max(mean - half, min(mean, -1.0)), min(mean + half, max(mean, 1.0)), len(differences))


def mcnemar(scores: Sequence[float], others: Sequence[float]) -> float | None:
    """Exact two-sided McNemar p for right and wrong answers on the same questions; None where a score is neither 0 nor 1.

    Only the questions that one side alone gets right count; under the null hypothesis each of them is a fair coin.
    """
    from scipy.stats import binomtest

    if not {*scores, *others} <= {0.0, 1.0}:
        return None
    pairs = list(zip(scores, others, strict=True))
    ours, theirs = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    return 1.0 if ours + theirs == 0 else float(binomtest(ours, ours + theirs).pvalue)


def _standard_error(values: Sequence[float]) -> float:
    n = len(values)
    if n < 2:
        return math.nan
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
