"""Fit the rule `probability` on a training split: members' scales, and what its confidence means.

Members' log-probabilities are on scales of their own: a base model's and an instruct model's, a
small one's and a large one's. One number a member, a shift of the log-odds, brings them together;
slopes and isotonic maps were tried, and lost to it with up to 200 questions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .calibration import LEAST_QUESTIONS, Training
from .candidates import Candidates
from .confidence import Scale as ConfidenceScale, fit_scale, of_draws_made
from .logit import log_odds, logistic
from .probability import Probability
from .probability_sums import (
    UNKNOWN,
    Bools,
    Scale,
    first_draws,
    is_direct,
    is_reasoned,
    measured_probabilities,
)
from .tally import Floats, Ints

#: Ridge penalties of a shift, and of the slope and intercept over a text's log-probability.
_SHIFT, _TEXT_SLOPE, _TEXT_INTERCEPT = 5.0, 5.0, 1.0
#: Ridge penalties of what makes the mean a probability: its slope's distance from 1, its intercept.
_CONFIDENCE = (1.0, 0.1)
#: Draws of chance `UNKNOWN` that are added to a member's own without evidence.
_PRIOR_DRAWS = 5.0


def fit_probability(training: Training) -> Probability:
    """Fit the rule; the same training split gives the same rule.

    With few questions, or draws without evidence, it stays as it is unfitted.
    """
    tally = training.tally
    direct, reasoned = is_direct(tally), is_reasoned(tally)
    if tally.shape[0] < LEAST_QUESTIONS or not (direct | reasoned).any():
        return Probability()
    shifts = _shifts(training, direct)
    measured = [at for at in range(tally.shape[1]) if direct[:, at].any()]
    # The member whose probabilities are furthest below its accuracy keeps its own: raising all
    # would leave less between an answer that is sure and one that is likely.
    common = float(max((shifts[at] for at in measured), default=0.0))
    scales = tuple(
        _scale(training, at, float(shifts[at]), reasoned[:, at], direct[:, at], common)
        for at in range(tally.shape[1])
    )
    rule = Probability(
        members=tuple(training.members),
        k=tuple(int(k) for k in tally.k),
        scales=scales,
        trained_on=tally.shape[0],
    )
    picks = rule.pick(tally, rule.order_of(training.members, training.accuracies.tolist()))
    answered = picks.member >= 0
    odds = log_odds(np.log(np.maximum(picks.confidence[answered], 1e-300)))
    x = np.stack([odds, np.ones(len(odds))], axis=1)
    right, once = picks.scores(training.correct)[answered], np.ones(len(odds))
    steeper, intercept = logistic(x, right, np.array(_CONFIDENCE), once, odds)
    return replace(
        rule,
        slope=max(1.0 + float(steeper), 0.0),
        intercept=float(intercept),
        stopped=_stopped_scale(rule, training),
    )


def _stopped_scale(rule: Probability, training: Training) -> ConfidenceScale | None:
    """Fit the scale for questions that the frugal schedule stops early on the recorded draws.

    Args:
        rule: without its own logistic, so that its confidence is the mean.
    """
    tally = training.tally
    order = rule.order_of(training.members, training.accuracies.tolist())
    drawn = rule.frugal_draws(tally, order)
    picks = rule.pick(first_draws(tally, drawn), order)
    made = drawn.sum(axis=1) / tally.k.sum()
    early = (made < 1) & (picks.member >= 0)
    means = of_draws_made(picks.confidence, np.maximum(made, 1e-9))
    return fit_scale(means[early], picks.scores(training.correct)[early])


def _shifts(training: Training, direct: Bools) -> Floats:
    """Fit each member's shift on its most probable answers: [M]."""
    tally = training.tally
    answers = Candidates(tally)
    by_member = measured_probabilities(answers, tally)
    is_right = training.correct[answers.question, answers.member, answers.draw]
    shifts = np.zeros(tally.shape[1])
    for at in range(tally.shape[1]):
        if direct[:, at].any():
            best: Ints = answers.best(by_member[:, at])
            rows = best[direct[:, at].any(axis=1)]
            odds = log_odds(np.log(np.maximum(by_member[rows, at], 1e-300)))
            ones = np.ones((len(rows), 1))
            [shifts[at]] = logistic(ones, is_right[rows], np.array([_SHIFT]), ones[:, 0], odds)
    return shifts


def _scale(
    training: Training, at: int, shift: float, reasoned: Bools, direct: Bools, common: float
) -> Scale:
    """Return a member's scale, all of it lowered by `common`."""
    right, given = training.correct[:, at], training.tally.votes[:, at] >= 0
    slope = intercept = 0.0
    if reasoned.any():
        text = training.tally.evidence["text_logprob"][:, at][reasoned]
        mean, spread = float(text.mean()), float(text.std()) or 1.0
        ones = np.ones(len(text))
        x = np.stack([(text - mean) / spread, ones], axis=1)
        penalty = np.array([_TEXT_SLOPE, _TEXT_INTERCEPT])
        slope, intercept = map(float, logistic(x, right[reasoned], penalty, ones))
        slope = max(slope, 0.0) / spread
        intercept -= slope * mean
    bare = right[given & ~reasoned & ~direct]
    unknown = (bare.sum() + _PRIOR_DRAWS * UNKNOWN) / (len(bare) + _PRIOR_DRAWS)
    lowered = 1.0 / (1.0 + (1.0 / unknown - 1.0) * np.exp(common))
    return Scale(
        shift=shift - common if direct.any() else 0.0,
        slope=slope,
        intercept=intercept - common,
        unknown=float(lowered),
    )
