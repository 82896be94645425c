"""A threshold of confidence with a guarantee: few wrong answers among those at or above it.

The method is Learn then Test (Angelopoulos, Bates, Candès, Jordan and Lei, 2021) with
fixed-sequence testing. Thresholds are declared before the calibration questions are seen. Each is a
hypothesis, "too many of its answers are wrong", with the binomial tail as its p-value, and they are
tested from a first one down in confidence until one is not rejected. However many are tested, the
chance that one of those rejected breaks the promise is at most 1 − confidence, if the calibration
questions and those to come are exchangeable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError, check_number
from ..voting.tally import Floats, Ints, Picks

#: What every promise rests on.
ASSUMPTION = "if the questions to come are like these: exchangeable with the bank's"
#: Thresholds that are declared at most; neighbours differ by about this share of the questions.
MOST_THRESHOLDS = 50
#: Decimals of a threshold: confidences that differ by less, such as by rounding, move together.
_DECIMALS = 6
#: Risks that differ by less are one.
_SAME = 5e-4
#: The first threshold is the highest whose estimated chance to pass is within this of the best.
_NEAR = 0.02


@dataclass(frozen=True)
class Goal:
    """A promise: at most `max_risk` of the answers are wrong, with probability `confidence`.

    Raises:
        ConfigurationError: one of them does not lie between 0 and 1.

    >>> Goal(0.05, 0.9).least_labels
    45
    """

    max_risk: float = 0.05
    confidence: float = 0.9

    def __post_init__(self) -> None:
        for name, value in (("max_risk", self.max_risk), ("confidence", self.confidence)):
            check_number(name, value, 0.05 if name == "max_risk" else 0.9)
            if not 0 < value < 1:
                meant = f": {value / 100:g} is {value:g} %" if 1 <= value < 100 else ""
                raise ConfigurationError(
                    f"{name} (--{name.replace('_', '-')}) must lie between 0 and 1, "
                    f"not {value:g}{meant}."
                )

    @property
    def least_labels(self) -> int:
        """The fewest answers that can keep the promise: with this many, all must be right."""
        return math.ceil(math.log(1 - self.confidence) / math.log1p(-self.max_risk) - 1e-9)

    def __str__(self) -> str:
        return (
            f"at most {100 * self.max_risk:g} % wrong among the answered, "
            f"with {100 * self.confidence:g} % confidence"
        )


@dataclass(frozen=True)
class Judged:
    """A rule's answers to N questions.

    Attributes:
        confidence: [N]; NaN where it has no answer.
        wrong: [N]; False where it has no answer.
    """

    confidence: Floats
    wrong: NDArray[np.bool_]

    @classmethod
    def of(cls, picks: Picks, scores: Floats, threshold: float = 1.0) -> Judged:
        """Judge what a rule picked by the draws' scores [N, M, K].

        Args:
            threshold: the score from which an answer counts as correct.
        """
        none = (picks.member < 0) | np.isnan(picks.confidence)
        wrong = ~none & (picks.scores(scores) < threshold)
        return cls(np.where(none, np.nan, picks.confidence), wrong)

    @classmethod
    def empty(cls, questions: int) -> Judged:
        """Return no answers to so many questions."""
        return cls(np.full(questions, np.nan), np.zeros(questions, bool))

    def __len__(self) -> int:
        return len(self.confidence)

    @property
    def answered(self) -> NDArray[np.bool_]:
        """[N], whether there is an answer."""
        return ~np.isnan(self.confidence)

    @property
    def right(self) -> NDArray[np.bool_]:
        """[N], whether there is an answer that is right."""
        return self.answered & ~self.wrong

    def rows(self, at: Ints) -> Judged:
        """Return the answers to the questions at these positions."""
        return Judged(self.confidence[at], self.wrong[at])

    def at_least(self, thresholds: Floats) -> tuple[Ints, Ints]:
        """Return how many answers are at or above each threshold [T], and how many are wrong."""
        known = self.answered
        order = np.argsort(-self.confidence[known], kind="stable")
        wrong = np.r_[0, np.cumsum(self.wrong[known][order])]
        answered = np.searchsorted(-self.confidence[known][order], -thresholds, side="right")
        return answered, wrong[answered]


@dataclass(frozen=True)
class Step:
    """A threshold that was tested on the calibration questions.

    Attributes:
        answered, wrong: answers at or above it, and the wrong ones among them.
        upper: Clopper and Pearson's upper bound of its risk, at the goal's confidence.
    """

    threshold: float
    answered: int
    wrong: int
    upper: float


@dataclass(frozen=True)
class Certified:
    """The lowest threshold that the promise holds for, if any.

    Attributes:
        threshold: answers of this confidence or more keep the promise; None where no threshold is
            known to.
        risk_upper: at most this share of them is wrong, with the goal's confidence: its `max_risk`,
            or less where all declared thresholds passed. None without a threshold.
        labels: calibration questions.
        of: all labelled questions, those that fit the rule or are reported included; None where
            that is unknown.
        steps: the thresholds tested, in order; all but the last passed, or all.
    """

    goal: Goal
    threshold: float | None
    risk_upper: float | None
    labels: int
    steps: Sequence[Step] = field(default=(), repr=False)
    of: int | None = None

    @property
    def passed(self) -> Sequence[Step]:
        """The tested thresholds that keep the promise, all of them at once, from the highest."""
        if self.threshold is None:
            return ()
        return [step for step in self.steps if step.threshold >= self.threshold]

    @property
    def promise(self) -> str:
        """What is promised and under which assumption, or why nothing is, as a sentence."""
        return self.promise_found("")

    def promise_found(self, how_often: str) -> str:
        """Return the promise, or why there is none, with how often a threshold was found.

        Args:
            how_often: a clause such as "found in 4 of 20 repeats only"; empty to leave it out.
        """
        if self.threshold is None:
            reason = str(self.reason)
            return f"{reason[:-1]} ({how_often})." if how_often else reason
        found = f", {how_often}" if how_often else ""
        better = ""
        if self.risk_upper is not None and self.risk_upper < self.goal.max_risk - _SAME:
            upper = rounded_up(self.risk_upper)
            better = f" (even at most {upper} %, as answers of every confidence keep the limit)"
        return (
            f"At confidence {self.threshold:.6g} or more{found}: {self.goal}{better}, {ASSUMPTION}."
        )

    @property
    def reason(self) -> str | None:
        """Why there is no threshold, as a sentence; None where there is one."""
        if self.threshold is not None:
            return None
        least = self.goal.least_labels
        asked = f"{100 * self.goal.max_risk:g} % at {100 * self.goal.confidence:g} % confidence"
        part = "" if self.of is None else f" of the {self.of}"
        if self.labels < least:
            return (
                f"{self.labels}{part} labelled questions choose the threshold: {asked} needs at "
                f"least {least}, with no wrong answer among them{self._in_all(least)}."
            )
        if not self.steps:
            return "No question of those that fit the rule has an answer: there is no threshold."
        first = self.steps[0]
        if first.answered < least:
            return (
                f"{first.answered} of the {self.labels}{part} labelled questions that choose the "
                f"threshold have an answer of confidence {first.threshold:.6g} or more: {asked} "
                f"needs at least {least}, none of them wrong."
            )
        return (
            f"Of the {first.answered} answers of confidence {first.threshold:.6g} or more "
            f"{first.wrong} are wrong, so that up to {100 * first.upper:.1f} % may be: more than "
            f"{asked} allows."
        )

    def _in_all(self, least: int) -> str:
        """Return how many labelled questions it takes so that `least` choose, as a clause."""
        if self.of is None or not self.labels:
            return ""
        return f": about {math.ceil(least * self.of / self.labels)} labelled questions in all"


def rounded_up(share: float) -> str:
    """Return a share in percent with one decimal, rounded up: a bound may not shrink.

    >>> rounded_up(0.2821), rounded_up(0.05)
    ('28.3', '5.0')
    """
    return f"{math.ceil(1000 * share - 1e-6) / 10:.1f}"


def upper_bound(wrong: Ints, answered: Ints, confidence: float) -> Floats:
    """Return Clopper and Pearson's one-sided upper bound of a share; 1 of no answer.

    >>> upper_bound(np.array([0, 3]), np.array([45, 100]), 0.9).round(4).tolist()
    [0.0499, 0.0656]
    """
    from scipy.special import betaincinv

    all_wrong = wrong >= answered
    above = np.where(all_wrong, 1, answered - wrong)
    return np.where(all_wrong, 1.0, betaincinv(wrong + 1.0, above, confidence))


def declared_thresholds(fitted: Judged) -> Floats:
    """Return thresholds from the highest down, from a fit part's confidences.

    The labels are not read. Equal confidences have one threshold, and the last is that of the
    lowest confidence.
    """
    scale = 10.0**_DECIMALS
    known = fitted.confidence[fitted.answered]
    # Rounded down, so that a confidence that is computed anew does not miss its own threshold.
    values, counts = np.unique(np.floor(known * scale) / scale, return_counts=True)
    values, reached = values[::-1], np.cumsum(counts[::-1])
    if len(values) <= MOST_THRESHOLDS:
        return values
    wanted = np.arange(1, MOST_THRESHOLDS + 1) / MOST_THRESHOLDS * reached[-1]
    return values[np.unique(np.searchsorted(reached, wanted - 1e-9))]


def choose_threshold(goal: Goal, fitted: Judged, calibration: Judged) -> Certified:
    """Find the lowest threshold that keeps the promise, so the one that answers most.

    Args:
        fitted: answers to the questions that fitted the rule. They declare the thresholds, and
            which of them is tested first; nothing is promised from them.
        calibration: answers to questions that fitted nothing.

    >>> sure, unsure = np.full(60, 0.9), np.full(40, 0.4)
    >>> answers = Judged(np.r_[sure, unsure], np.r_[sure < 0, unsure < np.arange(40) % 3])
    >>> choose_threshold(Goal(0.05, 0.9), answers, answers).threshold
    0.9
    """
    declared = declared_thresholds(fitted)
    if not len(declared):
        return Certified(goal, None, None, len(calibration))
    declared = declared[_first(goal, fitted, len(calibration), declared) :]
    answered, wrong = calibration.at_least(declared)
    uppers = upper_bound(wrong, answered, goal.confidence)
    failed = np.flatnonzero(uppers > goal.max_risk)
    passed = int(failed[0]) if len(failed) else len(declared)
    steps = [
        Step(float(declared[at]), int(answered[at]), int(wrong[at]), float(uppers[at]))
        for at in range(min(passed + 1, len(declared)))
    ]
    if not passed:
        return Certified(goal, None, None, len(calibration), steps)
    # A sequence that is through goes on with lower risks at its last threshold; where it stopped
    # inside, the bound of the threshold it chose promises nothing.
    risk_upper = float(uppers[-1]) if passed == len(declared) else goal.max_risk
    return Certified(goal, steps[passed - 1].threshold, risk_upper, len(calibration), steps)


def _first(goal: Goal, fitted: Judged, labels: int, declared: Floats) -> int:
    """Return the position of the threshold to test first, by what the fit part suggests."""
    from scipy.special import bdtr, bdtrik

    answered, wrong = fitted.at_least(declared)
    expected = (answered * labels) // max(len(fitted), 1)
    level, risk = 1 - goal.confidence, (wrong + 0.5) / (answered + 1)
    allowed = np.floor(np.nan_to_num(bdtrik(level, np.maximum(expected, 1), goal.max_risk)))
    passes = bdtr(allowed, expected, goal.max_risk) <= level
    chance = np.where(passes, bdtr(allowed, expected, risk), 0.0)
    if not chance.max() > 0:
        return len(declared) - 1
    return int(np.argmax(chance >= chance.max() - _NEAR))
