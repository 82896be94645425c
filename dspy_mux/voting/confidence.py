"""What a rule's confidence means: the chance that the answer is right, fitted on labels.

A share of votes ranks answers, but it is no probability: a member that is often wrong agrees with
itself too. A `Scale` brings raw confidences to one, from answers that are known to be right or
wrong and that the rule was not fitted on.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .logit import platt, sigmoid
from .tally import Floats

#: With fewer answers than this nothing is fitted, and confidences stay raw.
LEAST_ANSWERS = 10
#: From so many answers on, the scale may bend as they do (isotonic); below, it is a logistic.
MANY_ANSWERS = 300
#: Added to both sides of the odds of a share of votes: all votes are no certainty.
SOFTENING = 0.1
#: Answers at the logistic's chance that are added at each level.
_PRIOR_ANSWERS = 5.0
#: Confidences that agree to so many digits are one level.
_DIGITS = 6


@dataclass(frozen=True)
class Scale:
    """The chance that an answer is right, by its raw confidence; `fit_scale` makes it.

    Attributes:
        slope, intercept: of a logistic over log((raw + softening) / (1 − raw + softening)).
        softening: above 0.
        levels: raw confidences, ascending; empty where the logistic alone is used.
        chances: at the levels, ascending; in between they are interpolated.
        answers: that it was fitted on.

    Raises:
        DataError: at construction, the numbers are no scale.

    >>> import numpy as np
    >>> right = np.array([1.0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0])
    >>> scale = fit_scale(np.repeat([1.0, 1 / 3], 6), right)
    >>> scale.of(np.array([1 / 3, 1.0])).round(2).tolist()
    [0.24, 0.85]
    """

    slope: float = 1.0
    intercept: float = 0.0
    softening: float = SOFTENING
    levels: tuple[float, ...] = ()
    chances: tuple[float, ...] = ()
    answers: int = 0

    def __post_init__(self) -> None:
        numbers = [self.slope, self.intercept, self.softening, *self.levels, *self.chances]
        steps = [*itertools.pairwise(self.levels), *itertools.pairwise(self.chances)]
        if (
            not all(math.isfinite(number) for number in numbers)
            or len(self.levels) != len(self.chances)
            or self.slope < 0
            or self.softening <= 0
            or any(later < earlier for earlier, later in steps)
            or any(not 0 <= chance <= 1 for chance in self.chances)
        ):
            raise DataError("The scale of the confidence is damaged: fit it again.")

    def of(self, raw: Floats) -> Floats:
        """Return the chances [N] of raw confidences [N], each in [0, 1]."""
        if self.levels:
            return np.interp(raw, self.levels, self.chances)
        return sigmoid(self.intercept + self.slope * _odds(raw, self.softening))


def fit_scale(raw: Floats, right: Floats, *, softening: float = SOFTENING) -> Scale | None:
    """Fit a scale; None for fewer than `LEAST_ANSWERS`: they can calibrate nothing.

    The logistic is shrunk towards the raw confidence itself. From `MANY_ANSWERS` on, an isotonic
    regression of the confidence's levels, shrunk towards the logistic, takes its place.

    Args:
        raw: confidences [N] of answers; of a rule that learns, out of fold.
        right: [N], 1 for a right answer and 0 for a wrong one.
        softening: how far the highest confidence is from certainty.
    """
    if len(raw) < LEAST_ANSWERS:
        return None
    slope, intercept = platt(_odds(raw, softening), right)
    logistic = Scale(slope, intercept, softening, answers=len(raw))
    levels, at = np.unique(np.round(raw, _DIGITS), return_inverse=True)
    # An isotonic regression of levels that few answers share only follows their noise.
    if len(raw) < MANY_ANSWERS or len(levels) * _PRIOR_ANSWERS * 2 > len(raw):
        return logistic
    from scipy.optimize import isotonic_regression

    seen = np.bincount(at) + _PRIOR_ANSWERS
    shares = (np.bincount(at, right) + _PRIOR_ANSWERS * logistic.of(levels)) / seen
    chances = isotonic_regression(shares, weights=seen).x
    return Scale(
        slope,
        intercept,
        softening,
        tuple(levels.tolist()),
        tuple(chances.tolist()),
        answers=len(raw),
    )


def _odds(raw: Floats, softening: float) -> Floats:
    return np.log((raw + softening) / (1.0 - raw + softening))
