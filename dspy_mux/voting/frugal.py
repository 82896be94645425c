"""How many draws a rule needs where they are made one after the other and stop once nothing to come can change the answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ballot import Ballot
from .tally import ABSTAINED, Ints, Tally


def frugal_draws(tally: Tally, order: Ints) -> Ints:
    """[Q, M]: draws that the paper's rule spends per member under the frugal schedule (DESIGN section 3).

    Members draw in `order` (from `by_accuracy`). A member stops where even unanimous further draws would not lift its confidence
    above the best one so far: equals go to the earlier member.
    """
    questions, members, _ = tally.shape
    spent = np.zeros((questions, members), np.int64)
    bar = np.zeros(questions)
    for member in order:
        k = int(tally.k[member])
        votes = tally.votes[:, member, :k]
        most = np.zeros(questions, np.int64)
        drawing = np.ones(questions, bool)
        for draw in range(k):
            drawing &= (most + k - draw) / k > bar
            spent[:, member] += drawing
            vote = votes[:, draw]
            same = (votes[:, : draw + 1] == vote[:, None]).sum(axis=1)
            most = np.maximum(most, np.where(vote >= 0, same, 0))
        bar = np.maximum(bar, np.where(drawing, most / k, 0.0))
    return spent


def frugal_draws_pooled(tally: Tally) -> Ints:
    """[Q, M]: draws that pooled voting spends, members in pool order: until no other answer can catch up with the leading one.

    An answer that draws level wins only where it was seen first, so a new one has to get ahead.
    """
    questions, members, draws = tally.shape
    spent = np.zeros((questions, members), np.int64)
    left = int(tally.k.sum())
    lead: Ints = np.zeros(questions, np.int64)
    second: Ints = np.zeros(questions, np.int64)
    flat = tally.votes.reshape(questions, members * draws)
    drawing = np.ones(questions, bool)
    for member in range(members):
        for draw in range(int(tally.k[member])):
            drawing &= lead - second <= left
            spent[:, member] += drawing
            left -= 1
            lead, second = _two_most(flat[:, : member * draws + draw + 1])
    return spent


def _two_most(votes: Ints) -> tuple[Ints, Ints]:
    """[Q]: votes of the most frequent answer, and of the next other one."""
    counts = np.zeros(votes.shape, np.int64)
    for index in range(votes.shape[1]):
        counts += votes == votes[:, index, None]
    counts = np.where(votes >= 0, counts, 0)
    leader = np.take_along_axis(votes, counts.argmax(axis=1)[:, None], axis=1)
    return counts.max(axis=1), np.where(votes == leader, 0, counts).max(axis=1)


#: With more ways than this, none are told.
MOST = 400


def completions(ballots: Sequence[Ballot], most: int = MOST) -> Ints | None:
    """[W, M, K] votes of all ways to complete `ballots`; None where there are more than `most`.

    Each draw to come gives an answer seen already, one not seen before, or none. Answers not seen before differ in their order
    alone: no rule knows more of them.
    """
    votes = np.full((len(ballots), max(ballot.k for ballot in ballots)), ABSTAINED)
    to_come = []
    for at, ballot in enumerate(ballots):
        votes[at, : len(ballot.votes)] = [
            ABSTAINED if vote is None else vote for vote in ballot.votes
        ]
        to_come += [(at, draw) for draw in range(len(ballot.votes), ballot.k)]
    ways: list[tuple[int, ...]] = [()]
    seen = int(votes.max(initial=ABSTAINED)) + 1
    for _ in to_come:
        ways = [
            (*way, answer)
            for way in ways
            for answer in range(ABSTAINED, max((seen, *(one + 1 for one in way))) + 1)
        ]
        if len(ways) > most:
            return None
    completed = np.repeat(votes[None], len(ways), axis=0)
    for column, (at, draw) in enumerate(to_come):
        completed[:, at, draw] = [way[column] for way in ways]
    return completed
