"""TODO"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..voting.tally import Floats

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
        return Estimate(
            mean,
            mean - share * max(0.0, mean + 1),
            mean + share * max(0.0, 1 - mean),
            len(differences),
        )
    half = Z95 * _standard_error(differences)
    return Estimate(
        mean, max(mean - half, min(mean, -1.0)), min(mean + half, max(mean, 1.0)), len(differences)
    )


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


BOOTSTRAPS = 1000


#: z² of a 95 % interval.
_Z2 = 1.959963984540054**2


@dataclass(frozen=True)
class Difference:
    """Mean of one result minus another on the same questions, its standard error and interval (`bootstrap`)."""

    mean: float
    stderr: float
    ci95: tuple[float, float]
    questions: int


def bootstrap(values: Floats, *, seed: int = 0, least: float = 0.0) -> tuple[float, float]:
    """95 % percentile interval of the mean over questions, from 1,000 resamples.

    Where all questions score alike, resampling would tell no doubt at all. Then as many others may score otherwise, from `least`
    (−1 for differences) to 1, as Wilson's interval leaves open: of 20 of 20 right, 83.9 to 100 %.
    """
    if len(values) == 0:
        return float("nan"), float("nan")
    lowest, highest = float(values.min()), float(values.max())
    if highest - lowest < 1e-12:
        others = _Z2 / (len(values) + _Z2)
        return lowest - others * max(0.0, lowest - least), highest + others * max(
            0.0, 1.0 - highest
        )
    random, n = np.random.default_rng(seed), len(values)
    at_once = max(
        1, 2_000_000 // n
    )  # resamples at a time, so that memory stays small however many questions there are
    sizes = [min(at_once, BOOTSTRAPS - done) for done in range(0, BOOTSTRAPS, at_once)]
    means = np.concatenate(
        [values[random.integers(0, n, (size, n))].mean(axis=1) for size in sizes]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _stderr(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
