"""What a rule's confidence means: the chance that the answer is right, fitted on labels.

A share of votes ranks answers, but it is no probability: a member that is often wrong agrees with
itself too. A `Scale` brings raw confidences to one, from answers that are known to be right or
wrong and that the rule was not fitted on.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import DataError
from .ballot import Ballot, Choice, Rule, choice_of, rule_for
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


@dataclass(frozen=True)
class RuleScale:
    """The scale of a rule that fits none of its own, over certain members and draws.

    Attributes:
        rule: its name.
        members, k: names in pool order, and each one's draws.
        every: the scale after all draws.
        stopped: where draws were spared, over the confidence as a share of the draws made; None
            where so few questions spared any that nothing could be fitted.
        stays: whether spared draws leave the rule's confidence as it is, so that `every` serves.
    """

    rule: str
    members: tuple[str, ...]
    k: tuple[int, ...]
    every: Scale
    stopped: Scale | None = None
    stays: bool = False

    def __post_init__(self) -> None:
        if len(self.members) != len(self.k) or any(k < 1 for k in self.k):
            raise DataError("The scale of the confidence does not fit its members: fit it again.")

    def of(self, choice: Choice, rule: str, ballots: Sequence[Ballot]) -> Choice:
        """Return a rule's choice with its calibrated confidence.

        It is returned as it is where the scale is another rule's, other members' or other draws'.
        """
        drawn = [(ballot.member, ballot.k) for ballot in ballots]
        if rule != self.rule or drawn != list(zip(self.members, self.k, strict=True)):
            return choice
        raw, scale = choice.confidence, self.every
        made = sum(len(ballot.votes) for ballot in ballots)
        if made < sum(self.k) and not self.stays:
            if self.stopped is None:
                return choice
            raw, scale = float(of_draws_made(np.array([raw]), made / sum(self.k))[0]), self.stopped
        chance = float(scale.of(np.array([raw]))[0])
        return replace(choice, confidence=chance, calibrated=True)


def decide(
    rule: Rule, scale: RuleScale | None, ballots: Sequence[Ballot], inputs: Mapping[str, Any]
) -> Choice | None:
    """Return what a rule chooses for a question, with the confidence that a verdict has.

    Raises:
        ConfigurationError: the rule's choice is none that its ballots hold.
    """
    choice = choice_of(rule_for(rule, inputs), ballots)
    if choice is None or choice.calibrated or scale is None:
        return choice
    return scale.of(choice, rule.name, ballots)


def of_draws_made(raw: Floats, made: Floats | float) -> Floats:
    """Return confidences [N] as shares of the draws made, which are `made` of all draws."""
    shares: Floats = np.minimum(raw / made, 1.0)
    return shares


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
