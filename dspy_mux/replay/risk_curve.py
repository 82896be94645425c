"""The risk–coverage curve: the share of wrong answers among the surest, at each share answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..voting.tally import Floats, Ints
from .ranking import Ranking, interval, resampled
from .threshold import Judged

#: Shares of the questions that the curve has points at.
COVERAGES = np.arange(1, 51) / 50


@dataclass(frozen=True)
class RiskPoint:
    """The risk where this share of the questions is answered, the surest ones; fractions.

    Attributes:
        low, high: 95 % bootstrap interval over questions, at this coverage alone.
    """

    coverage: float
    risk: float
    low: float
    high: float


def risk_curve(judged: Sequence[Judged], tested: Sequence[Ints], questions: int) -> list[RiskPoint]:
    """Return the mean curve of several test parts, up to the coverage that all of them reach.

    Args:
        judged: the answers of each part.
        tested: positions of each part's questions, of `questions` in all.
    """
    most = min((float(each.answered.mean()) for each in judged), default=0.0)
    coverages = COVERAGES[most + 1e-9 >= COVERAGES]
    if not len(coverages):
        return []
    times = resampled(questions)
    means = np.mean([_risks(each, coverages)[0] for each in judged], axis=0)
    spread = np.nanmean(
        [_risks(each, coverages, times[:, at]) for each, at in zip(judged, tested, strict=True)],
        axis=0,
    )
    points = []
    for at, (coverage, mean) in enumerate(zip(coverages, means, strict=True)):
        low, high = interval(spread[:, at])
        points.append(RiskPoint(float(coverage), float(mean), low, high))
    return points


def _risks(judged: Judged, coverages: Floats, weights: Floats | None = None) -> Floats:
    """Return the risk at each coverage, [1, C], or [B, C] for questions weighted [B, N]."""
    wanted = coverages * len(judged)
    each = np.ones((1, len(judged))) if weights is None else weights
    # Coverages are of the total weight, which differs from one resample to the next.
    each = each * (len(judged) / np.maximum(each.sum(axis=1, keepdims=True), 1e-12))
    order = Ranking.of(np.where(judged.answered, -judged.confidence, np.inf))
    return order.sums(judged.wrong.astype(float), wanted, each) / wanted
