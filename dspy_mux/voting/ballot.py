"""TODO"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

TieBreak = Literal["nothing", "accuracy", "pool order", "order drawn"]


@dataclass(frozen=True)
class Ballot:
    """One member's draws for one question, counted.

    Args:
        member: the member's name.
        votes: one equivalence class a draw, in the order drawn; None is an abstention.
        accuracy: the member's validation accuracy a_i in [0, 1]; None where it was never measured.
        asked: the member's k; None for as many as there are votes. With fewer votes than k, draws are still to come, or were
            not needed.
    """

    member: str
    votes: tuple[int | None, ...]
    accuracy: float | None = None
    asked: int | None = None

    @property
    def k(self) -> int:
        return len(self.votes) if self.asked is None else self.asked

    @property
    def left(self) -> int:
        """Draws that were not made."""
        return self.k - len(self.votes)

    @cached_property
    def counts(self) -> dict[int, int]:
        """Votes for each class, in the order the classes were first drawn."""
        counts: dict[int, int] = {}
        for vote in self.votes:
            if vote is not None:
                counts[vote] = counts.get(vote, 0) + 1
        return counts

    @cached_property
    def most(self) -> int:
        """Votes for the plurality answer."""
        return max(self.counts.values(), default=0)

    @property
    def plurality(self) -> int | None:
        """The most frequent class, the one drawn first among equals; None where every draw abstained."""
        return max(self.counts, key=self.counts.__getitem__) if self.counts else None

    @property
    def confidence(self) -> float:
        """Share of all k draws that gave the plurality answer. Abstentions stay in the denominator."""
        return self.most / self.k if self.k else 0.0


@dataclass(frozen=True)
class Choice:
    """What a rule picked: an answer class, the member it is credited to, and how sure the rule is.

    The winning draw is the first draw of `answer` by the ballot at position `ballot`.
    """

    answer: int
    ballot: int
    confidence: float
    tie_break: TieBreak = "nothing"


@runtime_checkable
class Rule(Protocol):
    """How a mux picks among ballots. Any object with a `name` and this one method is a rule."""

    @property
    def name(self) -> str:
        """What verdicts, saved muxes and reports call the rule."""
        ...

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """The choice among `ballots`, which stand in pool order; None where the rule finds no answer in them.

        Must be deterministic, and must choose a class that the ballot it names holds.
        """
        ...


@runtime_checkable
class Frugal(Protocol):
    """A rule that knows when further draws cannot change its choice, whatever they give."""

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """The next draws to make: of the ballot at a position, how many; none where nothing to come can change the choice.

        All of them must be needed whatever they give, so that they can be made at once.
        """
        ...


@runtime_checkable
class GivenInputs(Protocol):
    """A rule that weighs by what the question is: `given` gives the rule for a question with these inputs."""

    def given(self, inputs: Mapping[str, Any]) -> Rule: ...


@runtime_checkable
class OfMembers(Protocol):
    """A rule that is only for certain members, or certain draws of them: a mux asks it before it makes a call."""

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raises ConfigurationError unless it can decide among these members, each with its k, in pool order."""
        ...


def by_accuracy(accuracies: Sequence[float | None]) -> list[int]:
    """Positions from the most accurate down; equals, and the never measured at the end, in pool order."""
    return sorted(
        range(len(accuracies)),
        key=lambda at: -1.0 if (a := accuracies[at]) is None else a,
        reverse=True,
    )
