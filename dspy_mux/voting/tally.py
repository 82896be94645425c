"""Count votes: many questions as arrays (`Tally`), one live question as numbers (`LiveTally`).

Shapes: Q questions, M members in pool order, K draws in the order drawn. The rules in `rules.py`
are written once, over what the two classes have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .ballot import Ballot
from .evidence import FIGURES

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
        """Return the winning draws' scores out of `scores` [Q, M, K]; 0 without a winner."""
        found = scores[
            np.arange(len(self.member)), np.maximum(self.member, 0), np.maximum(self.draw, 0)
        ]
        return np.where(self.member >= 0, found, 0.0).astype(np.float64)


class Pick(NamedTuple):
    """What a rule picked for one question; the fields are those of `Picks`."""

    member: int
    draw: int
    confidence: float


P = TypeVar("P", bound="Pick | Picks", covariant=True)


class Votes(Protocol[P]):
    """What a rule asks of counted votes to decide: a `Tally`, or a `LiveTally`."""

    @property
    def pooled(self) -> Votes[P]: ...

    def surest(self, order: Sequence[int]) -> int | Ints: ...

    def first_to_answer(self, order: Sequence[int]) -> int | Ints: ...

    def plurality_of(self, member: Any) -> P: ...  # as `surest` returned, or a position


class Progress(Protocol):
    """What a rule asks of unfinished draws: a `LiveTally`, or a `frugal.DrawsSoFar`.

    Figures are numbers for one question, arrays [Q] for many.
    """

    @property
    def members(self) -> int: ...

    @property
    def pooled(self) -> Progress: ...

    def k(self, member: int) -> int:
        """Return the draws of the member at most."""

    def left(self, member: int) -> Any:
        """Return the draws of the member that have not been made."""

    def most(self, member: int) -> Any:
        """Return the votes for the member's most frequent answer."""

    def second(self, member: int) -> Any:
        """Return the votes for its most frequent other answer."""

    def where(self, condition: Any, then: Any, otherwise: Any, /) -> Any:
        """Return `then` where the condition holds, else `otherwise`."""

    def all(self, condition: Any, /) -> bool:
        """Return whether the condition holds for every question."""


class Tally:
    """Votes on many questions, counted member by member.

    A vote is a small integer, the answer's equivalence class within its question; ABSTAINED if the
    draw gave no usable answer. A member that draws less than K times is padded with ABSTAINED and
    has its own k, so its confidence is a share of its own draws.

    Args:
        votes: classes [Q, M, K].
        k: draws of each member [M]; None for K of each.
        evidence: figures of the draws by name (`evidence.FIGURES`), each [Q, M, K], NaN where a
            draw has none; a figure that no draw has is left out.
    """

    def __init__(
        self,
        votes: Ints,
        k: Sequence[int] | Ints | None = None,
        evidence: Mapping[str, Floats] | None = None,
    ):
        self.votes = votes
        self.k = np.full(votes.shape[1], votes.shape[2]) if k is None else np.asarray(k)
        self.evidence = {} if evidence is None else dict(evidence)

    @classmethod
    def of(cls, ballots: Sequence[Ballot]) -> Tally:
        """Return the ballots of one question as arrays: Q = 1."""
        longest = max((ballot.k for ballot in ballots), default=0)
        votes = np.full((1, len(ballots), longest), ABSTAINED)
        for index, ballot in enumerate(ballots):
            votes[0, index, : len(ballot.votes)] = [
                ABSTAINED if vote is None else vote for vote in ballot.votes
            ]
        return cls(votes, [ballot.k for ballot in ballots], _figures(ballots, votes.shape))

    def rows(self, at: Ints) -> Tally:
        """Return the tally of the questions at these positions."""
        evidence = {name: values[at] for name, values in self.evidence.items()}
        return Tally(self.votes[at], self.k, evidence)

    @property
    def shape(self) -> tuple[int, int, int]:
        questions, members, draws = self.votes.shape
        return questions, members, draws

    @cached_property
    def counts(self) -> Ints:
        """[Q, M, K]: the member's draws that gave this draw's answer; 0 for an abstention."""
        counts = np.zeros(self.votes.shape, np.int32)
        # K passes over [Q, M, K]; a comparison of all pairs would need K times the memory.
        for draw in range(self.votes.shape[2]):
            counts += self.votes == self.votes[..., draw, None]
        return np.where(self.votes >= 0, counts, 0)

    @cached_property
    def plurality_draw(self) -> Ints:
        """[Q, M]: the first draw of the most frequent answer, the one drawn first among equals."""
        if not self.votes.shape[2]:
            return np.zeros(self.votes.shape[:2], int)
        return self.counts.argmax(axis=2)

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

    @cached_property
    def pooled(self) -> PooledTally:
        """All draws as those of one member, members in pool order."""
        return PooledTally(self)

    def plurality_scores(self, scores: Floats) -> Floats:
        """[Q, M]: the score of each plurality answer out of `scores` [Q, M, K]; 0 without one."""
        found = np.take_along_axis(scores, self.plurality_draw[..., None], axis=2)[..., 0]
        return np.where(self.plurality_count > 0, found, 0.0).astype(np.float64)

    def correct(self, scores: Floats, threshold: float) -> NDArray[np.bool_]:
        """[Q, M, K]: which draws are correct, out of `scores` [Q, M, K].

        An abstention never is, whatever the threshold.
        """
        right: NDArray[np.bool_] = (self.votes >= 0) & (scores >= threshold)
        return right

    def plurality_correct(self, scores: Floats, threshold: float) -> NDArray[np.bool_]:
        """[Q, M]: which plurality answers are; a member that only abstains is never correct."""
        right: NDArray[np.bool_] = (self.plurality_count > 0) & (
            self.plurality_scores(scores) >= threshold
        )
        return right

    def answers(self, picks: Picks) -> Ints:
        """[Q]: the class of the answer picked; ABSTAINED where there is none."""
        rows = np.arange(len(picks.member))
        found = self.votes[rows, np.maximum(picks.member, 0), np.maximum(picks.draw, 0)]
        return np.where(picks.member >= 0, found, ABSTAINED)

    def surest(self, order: Sequence[int]) -> Ints:
        """[Q]: the member of the highest confidence, the first in `order` among equals."""
        winner: Ints = np.asarray(order)[self.confidence[:, order].argmax(axis=1)]
        return winner

    def first_to_answer(self, order: Sequence[int]) -> Ints:
        """[Q]: the first member in `order` with an answer; the first of all where none has one."""
        first: Ints = np.asarray(order)[(self.plurality_count[:, order] > 0).argmax(axis=1)]
        return first

    def plurality_of(self, member: int | Ints) -> Picks:
        """Return the first draw of that member's plurality answer, for each question."""
        rows = np.arange(len(self.votes))
        voted = self.plurality_count[rows, member] > 0
        return Picks(
            np.where(voted, member, -1),
            self.plurality_draw[rows, member],
            self.confidence[rows, member],
        )


def _figures(ballots: Sequence[Ballot], shape: tuple[int, ...]) -> dict[str, Floats]:
    """Return the figures of one question's evidence, those that no draw has left out."""
    figures = {}
    for name in FIGURES:
        values = np.full(shape, np.nan)
        for index, ballot in enumerate(ballots):
            for draw, evidence in enumerate(ballot.evidence):
                value = None if evidence is None else getattr(evidence, name)
                values[0, index, draw] = np.nan if value is None else value
        if not np.isnan(values).all():
            figures[name] = values
    return figures


class PooledTally(Tally):
    """A tally's draws as those of one member; its picks name the members and draws of the tally."""

    def __init__(self, tally: Tally):
        questions, members, draws = tally.shape
        self._draws = max(draws, 1)
        shape = (questions, 1, members * draws)
        evidence = {name: values.reshape(shape) for name, values in tally.evidence.items()}
        super().__init__(tally.votes.reshape(shape), [int(tally.k.sum())], evidence)

    def plurality_of(self, member: int | Ints) -> Picks:
        pick = super().plurality_of(member)
        return Picks(
            np.where(pick.member >= 0, pick.draw // self._draws, -1),
            pick.draw % self._draws,
            pick.confidence,
        )


class LiveTally:
    """The ballots of one question, as far as they are drawn.

    Args:
        ballots: in pool order.
    """

    def __init__(self, ballots: Sequence[Ballot]):
        self.ballots = ballots

    @property
    def members(self) -> int:
        return len(self.ballots)

    def k(self, member: int) -> int:
        return self.ballots[member].k

    def left(self, member: int) -> int:
        return self.ballots[member].left

    def most(self, member: int) -> int:
        return self.ballots[member].most

    def second(self, member: int) -> int:
        return sorted((0, 0, *self.ballots[member].counts.values()))[-2]

    @cached_property
    def pooled(self) -> PooledLiveTally:
        """All draws as those of one member, members in pool order."""
        return PooledLiveTally(self.ballots)

    def surest(self, order: Sequence[int]) -> int:
        """Return the member of the highest confidence, the first in `order` among equals."""
        return max(order, key=[ballot.confidence for ballot in self.ballots].__getitem__)

    def first_to_answer(self, order: Sequence[int]) -> int:
        """Return the first member in `order` with an answer; the first of all if none has one."""
        return next((at for at in order if self.ballots[at].most), order[0])

    def plurality_of(self, member: int) -> Pick:
        """Return the first draw of that member's plurality answer."""
        ballot = self.ballots[member]
        answer = ballot.plurality
        if answer is None:
            return Pick(-1, 0, 0.0)
        return Pick(member, ballot.votes.index(answer), ballot.confidence)

    @staticmethod
    def where(condition: bool, then: int, otherwise: int) -> int:
        return then if condition else otherwise

    all = bool


class PooledLiveTally(LiveTally):
    """The ballots' draws as those of one member; its picks name the members and draws of them."""

    def __init__(self, ballots: Sequence[Ballot]):
        votes = tuple(vote for ballot in ballots for vote in ballot.votes)
        super().__init__([Ballot("pool", votes, asked=sum(ballot.k for ballot in ballots))])
        self._parts = ballots

    def plurality_of(self, member: int) -> Pick:
        pick = super().plurality_of(member)
        if pick.member < 0:
            return pick
        draw = pick.draw
        for at, ballot in enumerate(self._parts):
            if draw < len(ballot.votes):
                return Pick(at, draw, pick.confidence)
            draw -= len(ballot.votes)
        raise AssertionError("the winning draw is one of the ballots'")
