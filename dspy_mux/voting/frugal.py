"""Play the frugal schedule out on recorded draws (`rules.py` decides), and list open outcomes.

A rule decides by its `next_draws` what is still to be drawn. Here that is played out over recorded
draws, exactly as a live mux does it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from .ballot import Ballot
from .probability import Probability
from .rules import VotingRule
from .tally import ABSTAINED, Ints, Tally


class DrawsSoFar:
    """Many questions' counts after some of their draws; the array side of a `LiveTally`.

    Args:
        running: counts after each number of draws.
        made: draws made of each member [M, Q].
    """

    def __init__(self, running: RunningCounts, made: Ints):
        self._running, self._made = running, made

    @property
    def members(self) -> int:
        return len(self._made)

    @property
    def pooled(self) -> DrawsSoFar:
        """All draws as those of one member, made in pool order."""
        return DrawsSoFar(self._running.pooled, self._made.sum(axis=0, keepdims=True))

    def k(self, member: int) -> int:
        return int(self._running.k[member])

    def left(self, member: int) -> Ints:
        return self.k(member) - self._made[member]

    def most(self, member: int) -> Ints:
        return self._after_draws(self._running.most, member)

    def second(self, member: int) -> Ints:
        return self._after_draws(self._running.second, member)

    @staticmethod
    def where(condition: Ints, then: Ints, otherwise: Ints) -> Ints:
        return np.where(condition, then, otherwise)

    @staticmethod
    def all(condition: Ints) -> bool:
        return bool(np.all(condition))

    def _after_draws(self, running: Ints, member: int) -> Ints:
        rows = np.arange(self._made.shape[1])
        counts: Ints = running[member, rows, self._made[member]]
        return counts


class RunningCounts:
    """Votes counted after every draw.

    Args:
        votes: classes [M, Q, K].
        k: draws of each member [M].
    """

    def __init__(self, votes: Ints, k: Ints):
        self._votes, self.k = votes, k

    @cached_property
    def pooled(self) -> RunningCounts:
        """The same with all members' draws as those of one, in pool order."""
        drawn = [votes[:, :k] for votes, k in zip(self._votes, self.k, strict=True)]
        pool = np.concatenate(drawn, axis=1)[None]
        return RunningCounts(pool, np.array([pool.shape[2]]))

    @cached_property
    def most(self) -> Ints:
        """[M, Q, K + 1]: votes for the most frequent answer after 0 to K draws."""
        most = np.zeros((*self._votes.shape[:2], self._votes.shape[2] + 1), np.int64)
        for draw, (_, votes) in enumerate(self._counted()):
            most[..., draw + 1] = np.maximum(most[..., draw], votes)
        return most

    @cached_property
    def second(self) -> Ints:
        """[M, Q, K + 1]: votes for the most frequent other answer after 0 to K draws."""
        second = np.zeros((*self._votes.shape[:2], self._votes.shape[2] + 1), np.int64)
        for draw, (counts, _) in enumerate(self._counted()):
            second[..., draw + 1] = np.partition(counts, -2, axis=2)[..., -2]
        return second

    def _counted(self) -> Iterator[tuple[Ints, Ints]]:
        """Yield, after each draw, votes per class [M, Q, C], and for the answer drawn [M, Q]."""
        classes = max(int(self._votes.max(initial=0)) + 1, 2)
        counts = np.zeros((*self._votes.shape[:2], classes), np.int64)
        for draw in range(self._votes.shape[2]):
            vote = self._votes[..., draw, None]
            answer = np.maximum(vote, 0)
            votes = np.take_along_axis(counts, answer, axis=2) + (vote >= 0)
            np.put_along_axis(counts, answer, votes, axis=2)
            yield counts, np.where(vote >= 0, votes, 0)[..., 0]


def frugal_draws(rule: VotingRule | Probability, tally: Tally, order: Sequence[int]) -> Ints:
    """[Q, M]: draws that the rule makes of each member under the frugal schedule.

    Args:
        order: from the rule's `order_of`.
    """
    if isinstance(rule, Probability):
        return rule.frugal_draws(tally, order)
    running = RunningCounts(np.moveaxis(tally.votes, 1, 0), tally.k)
    made = np.zeros((tally.shape[1], tally.shape[0]), np.int64)
    rows = np.arange(tally.shape[0])
    while True:
        member, count = rule.next_draws(DrawsSoFar(running, made), order)
        if not (np.asarray(member) >= 0).any():
            return made.T
        made[member, rows] += count


#: With more ways than this, none are returned.
MOST = 400


def completions(ballots: Sequence[Ballot], most: int = MOST) -> Ints | None:
    """Return the votes [W, M, K] of all ways to complete `ballots`; None if more than `most`.

    Each draw left gives an answer seen already, a new one, or none. New answers differ in their
    order alone, because no rule knows more about them.

    >>> completions([Ballot("a", (0, 0), asked=3)]).tolist()
    [[[0, 0, -1]], [[0, 0, 0]], [[0, 0, 1]]]
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
