"""How far a confidence can be trusted: the area under the ROC curve."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dspy_mux.replay.intervals import Estimate
from dspy_mux.voting.tally import Floats, Ints

RESAMPLES = 200
_AT_ONCE = 2_000_000


def roc_area(confidence: Floats, right: NDArray[np.bool_], questions: Ints) -> Estimate:
    """Estimate the chance that a right answer is given with more confidence than a wrong one.

    Equal confidences count half. NaN where all answers are right, or all are wrong.

    Args:
        confidence, right: of each answer.
        questions: which question each answer is to, as a small number. A question has several
            where several splits test it; the interval is a bootstrap over questions.
    """
    n = len(np.unique(questions))
    if right.all() or not right.any():
        return Estimate(math.nan, math.nan, math.nan, n)
    order = np.argsort(confidence, kind="stable")
    starts = np.flatnonzero(np.diff(confidence[order], prepend=-np.inf))
    is_right, asked = right[order].astype(float), questions[order]

    def areas(weights: Floats) -> Floats:
        """Return the areas [B] where the answers have the weights [B, N]."""
        positive = np.add.reduceat(weights * is_right, starts, axis=1)
        negative = np.add.reduceat(weights * (1 - is_right), starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        with np.errstate(invalid="ignore"):  # a resample may have right answers alone
            return np.asarray((positive * below).sum(axis=1) / np.where(pairs, pairs, np.nan))

    found = float(areas(np.ones((1, len(order))))[0])
    random = np.random.default_rng(0)
    known, place = np.unique(asked, return_inverse=True)
    at_once = max(1, _AT_ONCE // len(order))
    resampled = []
    for done in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - done)
        times = random.multinomial(len(known), np.full(len(known), 1 / len(known)), size)
        resampled.append(areas(times[:, place].astype(float)))
    low, high = np.nanpercentile(np.concatenate(resampled), [2.5, 97.5])
    return Estimate(found, float(low), float(high), n)
