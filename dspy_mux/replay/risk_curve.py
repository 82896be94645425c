"""The risk–coverage curve: the share of wrong answers among the surest, at each share answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..voting.tally import Floats, Ints
from .intervals import wilson
from .ranking import Ranking
from .threshold import Judged

#: Shares of the questions that the curve has points at.
COVERAGES = np.arange(1, 51) / 50


@dataclass(frozen=True)
class RiskPoint:
    """The risk where this share of the questions is answered, the surest ones; fractions.

    Attributes:
        low, high: Wilson's 95 % interval, at this coverage alone.
    """

    coverage: float
    risk: float
    low: float
    high: float


def risk_curve(judged: Sequence[Judged], tested: Sequence[Ints]) -> list[RiskPoint]:
    """Return the mean curve of several test parts, up to the coverage that all of them reach.

    Args:
        judged: the answers of each part.
        tested: positions of each part's questions in the record.
    """
    most = min((float(each.answered.mean()) for each in judged), default=0.0)
    coverages = COVERAGES[most + 1e-9 >= COVERAGES]
    if not len(coverages):
        return []
    means = np.mean([_risks(each, coverages) for each in judged], axis=0)
    n = _effective(tested)
    return [
        RiskPoint(float(coverage), float(mean), *wilson(float(mean), coverage * n))
        for coverage, mean in zip(coverages, means, strict=True)
    ]


def _risks(judged: Judged, coverages: Floats) -> Floats:
    """Return the risk at each coverage [C]."""
    wanted = coverages * len(judged)
    order = Ranking.of(np.where(judged.answered, -judged.confidence, np.inf))
    return order.sums(judged.wrong.astype(float), wanted) / wanted


def _effective(tested: Sequence[Ints]) -> float:
    """Return how many questions the parts are worth: those tested more often weigh more (Kish)."""
    times = np.bincount(np.concatenate(tested)).astype(float)
    return float(times.sum() ** 2 / (times**2).sum())
