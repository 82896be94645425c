"""The rule `probability`: the answer that the members, added up, find most probable.

A member's probability of an answer is what its model gave the answer's own tokens. For a short
answer it is what the vote share tends to as k grows, so that one call tells what many estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .ballot import Ballot, Choice, TieBreak, by_accuracy
from .candidates import Candidates
from .tally import Floats, Ints, Picks, Tally

Bools = NDArray[np.bool_]

#: What a vote without evidence counts, as a part of its share of the member's draws.
UNKNOWN = 0.5
#: Two draws of one answer are the same wording where their log-probabilities differ by less: a
#: server that batches requests computes in another order each time.
_SAME_WORDING = 0.02
#: An answer is reasoned where the rest of the completion was less probable than this (log of 5 %):
#: other draws reach it by other words, and give its tokens another probability.
_REASONED = -3.0
#: Totals that differ by less are equal; sums of the same numbers may differ in their last bits.
_EQUAL = 1e-9


class _Sums(NamedTuple):
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


@dataclass(frozen=True)
class Probability:
    """The most probable answer, by the members' probabilities of it added up.

    A member's probability of an answer is the sum over the wordings that it drew: two of them add
    up, one that was drawn twice counts once. Behind a chain of thought each draw is a sample of one
    line of thought, and the member's probability is the mean over its draws. A draw without
    evidence counts half its share of the member's draws, so that without any evidence the answer
    with the most votes wins. Ties go to the answer of the most accurate member, then to the first
    in pool order. That member gets the credit.

    Its confidence is the mean over the members of their probabilities of the answer (without any
    evidence, of their vote shares). It is what the models say, not calibrated on labels.

    >>> import math
    >>> from dspy_mux.voting.evidence import Evidence
    >>> sure, unsure = (Evidence(answer_logprob=math.log(p)) for p in (0.9, 0.3))
    >>> ballots = [
    ...     Ballot("a", (0,), evidence=(unsure,)),
    ...     Ballot("b", (0,), evidence=(unsure,)),
    ...     Ballot("c", (1,), evidence=(sure,)),
    ... ]
    >>> Probability().choose(ballots).answer
    1
    """

    name: str = field(default="probability", init=False)

    @property
    def reads_evidence(self) -> bool:
        return True

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """Return the choice among `ballots`, in pool order; None if every draw abstained."""
        tally = Tally.of(ballots)
        order = by_accuracy([ballot.accuracy for ballot in ballots])
        sums = self._sums(tally)
        picks = _picks(sums, tally, order)
        member, draw = int(picks.member[0]), int(picks.draw[0])
        if member < 0:
            return None
        return Choice(
            int(tally.votes[0, member, draw]),
            member,
            float(picks.confidence[0]),
            _tie_break(sums, ballots, member),
        )

    def pick(self, tally: Tally, order: Sequence[int]) -> Picks:
        """Choose for many questions at once.

        Args:
            order: members, from `order_of`.
        """
        return _picks(self._sums(tally), tally, order)

    def order_of(self, members: Sequence[str], accuracies: Sequence[float | None]) -> list[int]:
        """Return the members' positions from the most accurate down."""
        return by_accuracy(accuracies)

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Return the next draws to make, as (position, count); empty if the answer stands."""
        made = np.array([[len(ballot.votes) for ballot in ballots]])
        order = by_accuracy([ballot.accuracy for ballot in ballots])
        member, count = self.next_draws(Tally.of(ballots), made, order)
        return [(int(member[0]), int(count[0]))] if member[0] >= 0 else []

    def next_draws(self, so_far: Tally, made: Ints, order: Sequence[int]) -> tuple[Ints, Ints]:
        """Return a member [Q] and how many draws of it to make next; −1 and 0 if the answer stands.

        A member that has draws left can lift its probability of any answer to 1 at most. So the
        leading answer stands once no other can catch up if all of them do. The answer and whose it
        is are those of all draws; the confidence, a sum of what was drawn, could be higher.

        Args:
            so_far: the draws made, the others as abstentions without evidence.
            made: draws made of each member [Q, M].
        """
        sums = self._sums(so_far)
        left = so_far.k - made
        member, count = np.full(len(made), -1), np.zeros(len(made), np.int64)
        waiting = left > 0
        open_ = waiting.any(axis=1) & ~_stands(sums, waiting)
        for at in reversed(order):
            member = np.where(open_ & waiting[:, at], at, member)
        rows = np.arange(len(made))
        later = waiting.copy()
        later[rows, member] &= ~open_
        # Whatever this member gives, the others could still change the answer: it draws at once.
        whole = ~_may_stand(sums, later, member)
        count = np.where(open_, np.where(whole, left[rows, member], 1), 0)
        return member, count

    def frugal_draws(self, tally: Tally, order: Sequence[int]) -> Ints:
        """[Q, M]: draws made of each member under the frugal schedule."""
        questions, members, draws = tally.shape
        made = np.zeros((questions, members), np.int64)
        rows = np.arange(questions)
        while True:
            hidden = np.arange(draws) >= made[..., None]
            figures = {
                name: np.where(hidden, np.nan, values) for name, values in tally.evidence.items()
            }
            so_far = Tally(np.where(hidden, -1, tally.votes), tally.k, figures)
            member, count = self.next_draws(so_far, made, order)
            if not (member >= 0).any():
                return made
            made[rows, member] += count

    def _sums(self, tally: Tally) -> _Sums:
        answers = Candidates(tally)
        given = tally.votes >= 0
        size = (len(answers.question), tally.shape[1])
        place = answers.row[given], np.nonzero(given)[1]
        by_member = np.zeros(size)
        # One after the other, so that one question and many give the same last bit.
        np.add.at(by_member, place, draw_probabilities(tally)[given])
        by_member = np.minimum(by_member, 1.0)
        total = np.zeros(len(by_member))
        for at in range(tally.shape[1]):
            total = total + by_member[:, at]
        known = np.asarray(_known(tally).any(axis=(1, 2)))
        return _Sums(answers, by_member, total, known)


def draw_probabilities(tally: Tally) -> Floats:
    """Return what each draw adds to its member's probability of its answer: [Q, M, K]."""
    share = np.broadcast_to((1.0 / np.maximum(tally.k, 1))[:, None], tally.votes.shape)
    logprob = tally.evidence.get("answer_logprob")
    if logprob is None:
        return UNKNOWN * share
    known = _known(tally)
    p = np.exp(np.minimum(np.where(known, logprob, 0.0), 0.0))
    adds = np.where(reasoned(tally), p * share, np.where(_drawn_before(tally, logprob), 0.0, p))
    return np.where(known, adds, UNKNOWN * share)


def reasoned(tally: Tally) -> Bools:
    """Return whether the text of each draw reasons before its answer: [Q, M, K]."""
    text, answer = tally.evidence.get("text_logprob"), tally.evidence.get("answer_logprob")
    if text is None or answer is None:
        return np.zeros(tally.shape, bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(text - answer < _REASONED)


def _known(tally: Tally) -> Bools:
    """Return which answers have evidence: [Q, M, K]."""
    logprob = tally.evidence.get("answer_logprob")
    if logprob is None:
        return np.zeros(tally.votes.shape, bool)
    return ~np.isnan(logprob) & (tally.votes >= 0)


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


def _picks(sums: _Sums, tally: Tally, order: Sequence[int]) -> Picks:
    answers, total = sums.answers, sums.total
    best = np.full(answers.questions, -np.inf)
    np.maximum.at(best, answers.question, total)
    # Each answer's first member in the rule's order; among equals, the answer of the earliest.
    votes = answers.votes[:, list(order)] > 0
    rank = votes.argmax(axis=1) if len(votes) else np.zeros(0, int)
    member = np.asarray(order)[rank]
    given = tally.votes[answers.question, member] == answers.answer[:, None]
    draw = given.argmax(axis=1) if tally.shape[2] else np.zeros(0, int)
    tied = total >= best[answers.question] - _EQUAL
    preferred = np.where(tied, -(rank * max(tally.shape[2], 1) + draw).astype(float), -np.inf)
    row = answers.best(preferred)
    none = row < 0
    if not len(total):
        return Picks(row, np.zeros(len(row), int), np.zeros(len(row)))
    row = np.where(none, 0, row)
    mean = total[row] / tally.shape[1]
    confidence = np.where(sums.known, mean, mean / UNKNOWN)
    return Picks(np.where(none, -1, member[row]), draw[row], np.where(none, 0.0, confidence))


def _tie_break(sums: _Sums, ballots: Sequence[Ballot], winner: int) -> TieBreak:
    tied = np.flatnonzero(sums.total >= sums.total.max() - _EQUAL)
    if len(tied) == 1:
        return "nothing"
    givers = np.flatnonzero((sums.answers.votes[tied] > 0).any(axis=0))
    accuracy = ballots[winner].accuracy
    alike = [at for at in givers if ballots[int(at)].accuracy == accuracy]
    return "accuracy" if len(alike) == 1 else "pool order"


def _stands(sums: _Sums, waiting: Bools) -> Bools:
    """Return whether no answer can catch up with the leading one [Q].

    Args:
        waiting: whether a member has draws left [Q, M].
    """
    lead = sums.answers.best(sums.total)
    rival = _reach_of_others(sums, waiting)
    stands = np.zeros(len(lead), bool)
    led = lead >= 0
    stands[led] = sums.total[lead[led]] > rival[lead[led]] + 2 * _EQUAL
    return stands


def _may_stand(sums: _Sums, later: Bools, member: Ints) -> Bools:
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


def _reach(sums: _Sums, waiting: Bools) -> Floats:
    """Return the total [R] of each answer if every member that has draws left lifts it to 1."""
    could: Floats = (waiting[sums.answers.question] * (1.0 - sums.by_member)).sum(axis=1)
    return sums.total + could


def _reach_of_others(sums: _Sums, waiting: Bools) -> Floats:
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
