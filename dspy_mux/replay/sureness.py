"""How far confidences can be trusted: calibration error, Brier score, risk against coverage."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..voting.tally import Floats, Ints
from .ranking import Ranking

#: Bins of equal width from 0 to 1.
BINS = 10


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Return the expected calibration error over ten bins of equal width; NaN of no answers.

    It is the mean distance of the share of right answers in a bin from their mean confidence,
    weighted by the answers in it. It is above 0 by chance alone, the more so the fewer answers.
    """
    if not len(confidence):
        return math.nan
    gaps = np.bincount(bins_of(confidence), weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def bins_of(confidence: Floats) -> Ints:
    """Return the bin of each confidence, from 0 on; a confidence of 1 is in the last."""
    bins: Ints = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return bins


def brier_score(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Return the mean squared distance of confidences from 1 or 0; NaN of no answers."""
    return float(((confidence - right) ** 2).mean()) if len(confidence) else math.nan


def risk_area(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Return the area under the risk–coverage curve (AURC); NaN of no answers.

    It is the mean, over all numbers of answers, of the share of wrong ones among so many of the
    surest. Answers of equal confidence come in random order.

    >>> risk_area(np.array([0.9, 0.8, 0.1]), np.array([True, True, False])).__round__(4)
    0.1111
    """
    if not len(confidence):
        return math.nan
    counts = np.arange(1.0, len(confidence) + 1)
    return float((Ranking.of(-confidence).sums(1.0 - right, counts) / counts).mean())
