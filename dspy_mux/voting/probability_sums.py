"""Members' probabilities of the distinct answers, and how far draws to come can lift them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidates
from .logit import log_odds, sigmoid
from .tally import ABSTAINED, Floats, Ints, Tally

Bools = NDArray[np.bool_]

#: What a vote without evidence counts, as a part of its share of the member's draws.
UNKNOWN = 0.5
#: Two draws of one answer are the same wording where their log-probabilities differ by less: a
#: server that batches requests computes in another order each time.
_SAME_WORDING = 0.02
#: An answer is reasoned where the rest of the completion was less probable than this (log of 5 %):
#: other draws reach it by other words. Its tokens then say how it follows from those words, which
#: a weak model is as sure of as a strong one.
_REASONED = -3.0
#: Totals that differ by less are equal; sums of the same numbers may differ in their last bits.
EQUAL = 1e-9


@dataclass(frozen=True)
class Scale:
    """How far one member's log-probabilities can be trusted; `fit_probability` fits it.

    Attributes:
        shift: added to the log-odds of its answers' probabilities.
        slope, intercept: of P(a reasoned draw is right) over the log-probability of its text.
        unknown: P(a draw without evidence is right).
    """

    shift: float = 0.0
    slope: float = 0.0
    intercept: float = 0.0
    unknown: float = UNKNOWN


class Sums(NamedTuple):
    """Probabilities of the distinct answers.

    Attributes:
        answers: R rows, questions one after the other.
        by_member: [R, M], each member's probability of the answer, in [0, 1].
        total: [R], their sum.
        known: [Q], whether any answer has evidence.
    """

    answers: Candidates
    by_member: Floats
    total: Floats
    known: Bools


def probability_sums(tally: Tally, scales: Sequence[Scale]) -> Sums:
    """Add up the draws' probabilities, on the members' scales if there are any."""
    answers = Candidates(tally)
    by_member = measured_probabilities(answers, tally)
    if scales:
        shift = np.array([scale.shift for scale in scales])
        scaled = sigmoid(log_odds(np.log(np.maximum(by_member, 1e-300))) + shift)
        by_member = np.where(by_member > 0, scaled, 0.0)
    votes = _added(answers, tally, _vote_weights(tally, scales))
    by_member = np.minimum(by_member + votes, 1.0)
    total = np.zeros(len(by_member))
    for at in range(tally.shape[1]):
        total = total + by_member[:, at]
    weighed = is_direct(tally) | is_reasoned(tally) if scales else is_direct(tally)
    return Sums(answers, by_member, total, np.asarray(weighed.any(axis=(1, 2))))


def measured_probabilities(answers: Candidates, tally: Tally) -> Floats:
    """Return each member's probability of each answer, from the wordings it drew: [R, M]."""
    measured = is_direct(tally)
    if not measured.any():
        return np.zeros((len(answers.question), tally.shape[1]))
    logprob = tally.evidence["answer_logprob"]
    p = np.exp(np.minimum(np.where(measured, logprob, 0.0), 0.0))
    new = measured & ~_drawn_before(tally, logprob)
    return np.minimum(_added(answers, tally, np.where(new, p, 0.0)), 1.0)


def _added(answers: Candidates, tally: Tally, values: Floats) -> Floats:
    """Add up values of the draws [Q, M, K] by answer and member: [R, M]."""
    given = tally.votes >= 0
    by_member = np.zeros((len(answers.question), tally.shape[1]))
    # One after the other, so that one question and many give the same last bit.
    np.add.at(by_member, (answers.row[given], np.nonzero(given)[1]), values[given])
    return by_member


def _vote_weights(tally: Tally, scales: Sequence[Scale]) -> Floats:
    """Return what the draws add whose answers' probability is not measured: [Q, M, K]."""
    weight = np.full(tally.votes.shape, UNKNOWN)
    if scales:
        columns = np.array([astuple(scale) for scale in scales])[:, :, None]
        _, slope, intercept, unknown = np.moveaxis(columns, 1, 0)
        reasoned = is_reasoned(tally)
        text = np.where(reasoned, tally.evidence.get("text_logprob", 0.0), 0.0)
        weight = np.where(reasoned, sigmoid(intercept + slope * text), unknown)
    return np.where(is_direct(tally), 0.0, weight / np.maximum(tally.k, 1)[:, None])


def is_direct(tally: Tally) -> Bools:
    """Return whether the answer's own probability is measured: [Q, M, K]."""
    return _known(tally, "answer_logprob") & ~is_reasoned(tally)


def is_reasoned(tally: Tally) -> Bools:
    """Return whether a draw reasoned before it answered: [Q, M, K].

    Text whose answer's part is unknown counts as reasoned.
    """
    text = _known(tally, "text_logprob")
    if not text.any():
        return text
    answer = tally.evidence.get("answer_logprob", np.full(text.shape, np.nan))
    rest = tally.evidence["text_logprob"] - np.where(np.isnan(answer), 0.0, answer)
    return text & (np.isnan(answer) | (np.where(text, rest, 0.0) < _REASONED))


def _known(tally: Tally, name: str) -> Bools:
    """Return which answers have this figure: [Q, M, K]."""
    values = tally.evidence.get(name)
    if values is None:
        return np.zeros(tally.votes.shape, bool)
    return ~np.isnan(values) & (tally.votes >= 0)


def first_draws(tally: Tally, made: Ints) -> Tally:
    """Return the tally of the draws made [Q, M], the others abstaining without evidence."""
    hidden = np.arange(tally.shape[2]) >= made[..., None]
    figures = {name: np.where(hidden, np.nan, values) for name, values in tally.evidence.items()}
    return Tally(np.where(hidden, ABSTAINED, tally.votes), tally.k, figures)


def _drawn_before(tally: Tally, logprob: Floats) -> Bools:
    """Return whether the member drew this wording of this answer before: [Q, M, K]."""
    before = np.zeros(logprob.shape, bool)
    for draw in range(1, logprob.shape[2]):
        this = logprob[..., draw, None]
        with np.errstate(invalid="ignore"):
            alike = np.abs(logprob[..., :draw] - this) < _SAME_WORDING
        same = tally.votes[..., :draw] == tally.votes[..., draw, None]
        before[..., draw] = (alike & same).any(axis=2)
    return before


def answer_stands(sums: Sums, waiting: Bools) -> Bools:
    """Return whether no answer can catch up with the leading one [Q].

    Args:
        waiting: whether a member has draws left [Q, M].
    """
    lead = sums.answers.best(sums.total)
    rival = _reach_of_others(sums, waiting)
    stands = np.zeros(len(lead), bool)
    led = lead >= 0
    stands[led] = sums.total[lead[led]] > rival[lead[led]] + 2 * EQUAL
    return stands


def may_stand(sums: Sums, later: Bools, member: Ints) -> Bools:
    """Return whether the draws of `member` [Q] can make an answer stand, at their best [Q].

    Args:
        later: whether a member has draws left after those [Q, M].
    """
    answers = sums.answers
    rows = np.arange(len(answers.question))
    own = sums.by_member[rows, member[answers.question]]
    may = np.zeros(answers.questions, bool)
    ahead = sums.total + 1.0 - own > _reach_of_others(sums, later)
    may[answers.question[ahead]] = True
    # An answer that nobody gave yet.
    known = np.full(answers.questions, 0.0)
    np.maximum.at(known, answers.question, _reach(sums, later))
    return may | (np.maximum(known, later.sum(axis=1)) < 1.0)


def _reach(sums: Sums, waiting: Bools) -> Floats:
    """Return the total [R] of each answer if every member that has draws left lifts it to 1."""
    could: Floats = (waiting[sums.answers.question] * (1.0 - sums.by_member)).sum(axis=1)
    return sums.total + could


def _reach_of_others(sums: Sums, waiting: Bools) -> Floats:
    """Return the highest total [R] that another answer than this one, or a new one, can have."""
    answers = sums.answers
    reach = _reach(sums, waiting)
    farthest = answers.best(reach)
    # A new answer has nothing yet, and all members that wait may give it.
    first = waiting.sum(axis=1).astype(float)
    second = first.copy()
    np.maximum.at(first, answers.question, reach)
    is_first = farthest[answers.question] == np.arange(len(reach))
    np.maximum.at(second, answers.question[~is_first], reach[~is_first])
    return np.where(is_first, second[answers.question], first[answers.question])
