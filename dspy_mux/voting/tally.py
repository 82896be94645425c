"""Many questions' votes as arrays, and the rules of `voting.py` over all of them at once.

Shapes: Q questions, M members in pool order, K draws in the order drawn. A vote is a small integer, the answer's equivalence class
within its question; ABSTAINED where the draw gave no usable answer. A member that draws less than K times is padded with ABSTAINED
and has its own k, so its confidence is counted over its own draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import rules
from .ballot import Ballot

ABSTAINED = -1

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Picks:
    """What a rule picked for each question; all of shape [Q].

    Attributes:
        member: whose answer it is; -1 where the rule finds none.
        draw: the winning draw: the member's first draw of that answer.
        confidence: the rule's, in [0, 1].
    """

    member: Ints
    draw: Ints
    confidence: Floats

    def scores(self, scores: Floats) -> Floats:
        """The winning draws' scores out of `scores` [Q, M, K]; 0 where there is no winner."""
        found = scores[
            np.arange(len(self.member)), np.maximum(self.member, 0), np.maximum(self.draw, 0)
        ]
        return np.where(self.member >= 0, found, 0.0).astype(np.float64)


class Tally:
    """Votes, counted member by member.

    Args:
        votes: classes [Q, M, K].
        k: draws of each member [M]; None for K of each.
    """

    def __init__(self, votes: Ints, k: Sequence[int] | Ints | None = None):
        self.votes = votes
        self.k = np.full(votes.shape[1], votes.shape[2]) if k is None else np.asarray(k)

    @classmethod
    def of(cls, ballots: Sequence[Ballot]) -> Tally:
        """One question's ballots: Q = 1."""
        longest = max((ballot.k for ballot in ballots), default=0)
        votes = np.full((1, len(ballots), longest), ABSTAINED)
        for index, ballot in enumerate(ballots):
            votes[0, index, : len(ballot.votes)] = [
                ABSTAINED if vote is None else vote for vote in ballot.votes
            ]
        return cls(votes, [ballot.k for ballot in ballots])

    @property
    def shape(self) -> tuple[int, int, int]:
        questions, members, draws = self.votes.shape
        return questions, members, draws

    @cached_property
    def counts(self) -> Ints:
        """[Q, M, K]: how many of the member's draws gave the answer of this draw; 0 for an abstention."""
        return _same(self.votes)

    @cached_property
    def plurality_draw(self) -> Ints:
        """[Q, M]: the first draw of the member's most frequent answer, of the one drawn first among equals."""
        return (
            self.counts.argmax(axis=2)
            if self.votes.shape[2]
            else np.zeros(self.votes.shape[:2], int)
        )

    @cached_property
    def plurality_count(self) -> Ints:
        """[Q, M]: draws that gave the plurality answer; 0 where the member only abstained."""
        return self.counts.max(axis=2, initial=0)

    @cached_property
    def plurality(self) -> Ints:
        """[Q, M]: the plurality answer's class; ABSTAINED where there is none."""
        return np.take_along_axis(self.votes, self.plurality_draw[..., None], axis=2)[..., 0]

    @cached_property
    def confidence(self) -> Floats:
        """[Q, M]: share of the member's k draws that gave its plurality answer."""
        return self.plurality_count / np.maximum(self.k, 1)

    def plurality_scores(self, scores: Floats) -> Floats:
        """[Q, M]: the score of each member's plurality answer out of `scores` [Q, M, K]; 0 where it has none."""
        found = np.take_along_axis(scores, self.plurality_draw[..., None], axis=2)[..., 0]
        return np.where(self.plurality_count > 0, found, 0.0).astype(np.float64)


def by_accuracy(accuracies: Sequence[float | None] | Floats) -> Ints:
    """Member positions from the most accurate down; equals, and the never measured at the end, in pool order."""
    return np.array(rules.by_accuracy(list(accuracies)))


def consistency(tally: Tally, order: Ints) -> Picks:
    """The paper's rule; `order` (from `by_accuracy`) breaks ties."""
    winner = order[tally.confidence[:, order].argmax(axis=1)]
    return _of_members(tally, winner)


def single(tally: Tally, member: int) -> Picks:
    """Self-consistency of one member."""
    return _of_members(tally, np.full(tally.shape[0], member))


def pooled(tally: Tally) -> Picks:
    """Agent Forest: the plurality over all draws, the answer seen first among equals, members in pool order."""
    questions, members, draws = tally.shape
    flat = tally.votes.reshape(questions, members * draws)
    counts = _same(flat)
    first = counts.argmax(axis=1)
    count = counts.max(axis=1, initial=0)
    winner = np.where(count > 0, first // max(draws, 1), -1)
    return Picks(winner, first % max(draws, 1), count / max(int(tally.k.sum()), 1))


def _of_members(tally: Tally, winner: Ints) -> Picks:
    rows = np.arange(len(winner))
    voted = tally.plurality_count[rows, winner] > 0
    return Picks(
        np.where(voted, winner, -1),
        tally.plurality_draw[rows, winner],
        tally.confidence[rows, winner],
    )


def _same(votes: Ints) -> Ints:
    """How many entries along the last axis equal this one; 0 for an abstention."""
    counts = np.zeros(votes.shape, np.int32)
    for draw in range(
        votes.shape[-1]
    ):  # K passes over [.., K], where a comparison of all pairs would need K times the memory
        counts += votes == votes[..., draw, None]
    return np.where(votes >= 0, counts, 0)
