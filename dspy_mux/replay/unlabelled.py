"""Estimate members' accuracies from draws without scores: by how far their answers agree.

The model is Dawid and Skene's (1979) with one number a member, for answers of any kind: a member is
right with its accuracy, else it gives one of `WRONG_ANSWERS` wrong ones. A member has one vote a
question, spread over its draws' answers, so that many draws do not outvote the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..voting.candidates import Candidates
from ..voting.tally import Floats, Tally
from .resample import check_record

#: Wrong answers that a member is taken to choose among.
WRONG_ANSWERS = 20
#: Questions that the average member's accuracy counts for in each member's.
_PRIOR_QUESTIONS = 10
#: The least that a vote speaks for its answer, in log-odds: no member's vote speaks against it.
_LEAST = 0.1
#: Accuracies are kept this far from 0 and 1 while they are fitted.
_EDGE = 0.02
_STEPS = 100
_ENOUGH = 1e-6
#: Votes weigh by their probability where each member has it for this share of its answers.
_COVERED = 0.9


def estimate_accuracies(record: Record) -> dict[str, float]:
    """Return each member's estimated accuracy, without reading a score.

    It takes the place of measured accuracies: it breaks ties, chooses the member of
    `self_consistency`, and orders the draws of `frugal`. Where each member has the log-probability
    of nine answers in ten (`answer_logprob`), a vote weighs by its probability beside the
    member's others: a member that is surer of all its answers gains nothing by it. Two members at
    least are needed, and three to say which of two that differ is right.

    The estimate is of agreement, not of truth. Where most members share an error, or one base
    model, it is too high, and it may prefer the wrong member; its order is worth more than its
    value (docs/evidence.md).

    Args:
        record: draws by the members, from `bank.record()` or `read_jsonl`. Questions that not every
            member answered as often are left out.

    Raises:
        ConfigurationError: not a record, or a single member.
        DataError: no question is left.

    >>> import numpy as np
    >>> from dspy_mux import Record, estimate_accuracies
    >>> votes = np.array([[[0], [0], [1]], [[0], [0], [1]], [[0], [1], [0]]] * 10)
    >>> unknown = np.full(votes.shape, np.nan)
    >>> questions = tuple(f"q{at}" for at in range(30))
    >>> record = Record(("a", "b", "c"), questions, votes, unknown, {})
    >>> found = estimate_accuracies(record)
    >>> found["a"] > found["b"] > found["c"]
    True
    """
    check_record(record)
    if len(record.members) < 2:
        raise ConfigurationError(
            f"{record.source} has draws of {', '.join(record.members)} alone: accuracies are "
            "estimated from agreement, which needs at least two members, better three."
        )
    part, _ = record.of(None, None, scored=False)
    accuracies = accuracies_by_agreement(Tally(part.votes, evidence=part.evidence))
    return {name: float(value) for name, value in zip(part.members, accuracies, strict=True)}


def accuracies_by_agreement(tally: Tally) -> Floats:
    """Return the estimated accuracies [M] of the members' plurality answers."""
    answers = _Answers.of(tally)
    questions = tally.shape[0]
    if not questions:
        return np.zeros(tally.shape[1])
    found = answers.agreement()
    for _ in range(_STEPS):
        before, found = found, answers.accuracies(found)
        if np.abs(found - before).max() < _ENOUGH:
            break
    return answers.expected_right(found) / questions


@dataclass(frozen=True)
class _Answers:
    """The distinct answers, and each member's votes for them [R, M], at most one a question."""

    candidates: Candidates
    votes: Floats

    @classmethod
    def of(cls, tally: Tally) -> _Answers:
        candidates = Candidates(tally)
        weights = _probabilities(tally)
        if weights is None:
            return cls(candidates, candidates.shares)
        return cls(candidates, _weighed(candidates, tally, weights))

    def agreement(self) -> Floats:
        """[M], share of the questions where a member's plurality answer is the pool's.

        Equals share the question.
        """
        at = self.candidates
        total = at.shares.sum(axis=1)
        most = np.zeros(at.questions)
        np.maximum.at(most, at.question, total)
        top = (total >= most[at.question] - 1e-9).astype(float)
        equals = np.bincount(at.question, weights=top, minlength=at.questions)
        right = at.plural.T @ (top / equals[at.question]) if len(top) else self._none()
        return self._shrunk(right)

    def accuracies(self, before: Floats) -> Floats:
        """[M], by the answers that accuracies so far make likely to be right."""
        return self._shrunk(self.expected_right(before))

    def expected_right(self, accuracies: Floats) -> Floats:
        """[M], expected number of questions that a member's plurality answer is right on."""
        at = self.candidates
        if not len(at.question):
            return self._none()
        weights = np.maximum(np.log(accuracies * WRONG_ANSWERS / (1 - accuracies)), _LEAST)
        scores = self.votes @ weights
        # The right answer may be none of those given, which no vote speaks for.
        most = np.zeros(at.questions)
        np.maximum.at(most, at.question, scores)
        powers = np.exp(scores - most[at.question])
        total = np.exp(-most) + np.bincount(at.question, powers, minlength=at.questions)
        likely: Floats = at.plural.T @ (powers / total[at.question])
        return likely

    def _shrunk(self, right: Floats) -> Floats:
        """Return accuracies for counts [M] of right answers, shrunk towards their mean."""
        questions = self.candidates.questions
        prior = _PRIOR_QUESTIONS * right.mean() / questions
        return np.clip((right + prior) / (questions + _PRIOR_QUESTIONS), _EDGE, 1 - _EDGE)

    def _none(self) -> Floats:
        return np.zeros(self.votes.shape[1])


def _probabilities(tally: Tally) -> Floats | None:
    """Return the answers' probabilities [Q, M, K], of equal mean for all members.

    They are at most 1, and an unknown one is the mean. None where too few are known.
    """
    logprobs = tally.evidence.get("answer_logprob")
    if logprobs is None:
        return None
    given = tally.votes >= 0
    known = given & ~np.isnan(logprobs)
    counts = known.sum(axis=(0, 2))
    if (counts < np.maximum(_COVERED * given.sum(axis=(0, 2)), 1)).any():
        return None
    probabilities = np.exp(np.minimum(np.where(known, logprobs, 0.0), 0.0))
    means = np.where(known, probabilities, 0.0).sum(axis=(0, 2)) / counts
    # Members' scales differ: what a member is sure of is judged by its other answers.
    scaled = probabilities * (means.mean() / np.maximum(means, 1e-12))[None, :, None]
    weights: Floats = np.minimum(np.where(known, scaled, means.mean()), 1.0)
    return weights


def _weighed(candidates: Candidates, tally: Tally, weights: Floats) -> Floats:
    """Return the votes [R, M] for each answer, each draw counting its weight [Q, M, K]."""
    question, member, draw = np.nonzero(tally.votes >= 0)
    span = int(tally.votes.max(initial=0)) + 1
    rows = np.searchsorted(
        candidates.question * span + candidates.answer,
        question * span + tally.votes[question, member, draw],
    )
    votes = np.zeros(candidates.votes.shape)
    np.add.at(votes, (rows, member), weights[question, member, draw])
    return votes / tally.k
