"""Ballots, choices, and the protocols that a rule follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

from ..errors import ConfigurationError
from .evidence import Evidence

TieBreak = Literal["nothing", "accuracy", "pool order", "order drawn"]


@dataclass(frozen=True)
class Ballot:
    """One member's draws for one question, counted.

    Args:
        member: the member's name.
        votes: one equivalence class a draw, in the order drawn; None is an abstention.
        accuracy: the member's validation accuracy a_i in [0, 1]; None if it was never measured.
        asked: the member's k; None for the number of votes. With fewer votes than k, the other
            draws are still to be made, or were not needed.
        evidence: of each vote, None where there is none; empty where there is none of any.

    >>> ballot = Ballot("a", (2, 1, 1, None))
    >>> ballot.plurality, ballot.confidence, ballot.counts
    (1, 0.5, {2: 1, 1: 2})
    """

    member: str
    votes: tuple[int | None, ...]
    accuracy: float | None = None
    asked: int | None = None
    evidence: tuple[Evidence | None, ...] = ()

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
        """The most frequent class, the first drawn among equals; None if every draw abstained."""
        return max(self.counts, key=self.counts.__getitem__) if self.counts else None

    @property
    def confidence(self) -> float:
        """Share of all k draws, abstentions included, that gave the plurality answer."""
        return self.most / self.k if self.k else 0.0


@dataclass(frozen=True)
class Choice:
    """What a rule picked.

    Attributes:
        answer: the class of the winning answer.
        ballot: position of the ballot that gets the credit. The winning draw is its first draw of
            the answer.
        confidence: in [0, 1].
        tie_break: what decided among equals.
        calibrated: whether the confidence was fitted on labels to be the chance that the answer is
            right.
        decided_by: the rule that decided in this one's place; None for this one.
    """

    answer: int
    ballot: int
    confidence: float
    tie_break: TieBreak = "nothing"
    calibrated: bool = False
    decided_by: str | None = None


@runtime_checkable
class Rule(Protocol):
    """How a mux picks among ballots: any object with a `name` and this one method.

    >>> class FirstMember:
    ...     name = "first member"
    ...
    ...     def choose(self, ballots):
    ...         first = ballots[0]
    ...         if first.plurality is None:
    ...             return None
    ...         return Choice(first.plurality, ballot=0, confidence=first.confidence)
    >>> isinstance(FirstMember(), Rule)
    True
    >>> FirstMember().choose([Ballot("a", (0, 0, 1)), Ballot("b", (1, 1, 1))]).answer
    0
    """

    @property
    def name(self) -> str:
        """The rule's name in verdicts, saved muxes and reports."""
        ...

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """Choose among `ballots`, in pool order; None if the rule finds no answer in them.

        Must be deterministic, and must choose a class that the named ballot holds.
        """
        ...


@runtime_checkable
class Frugal(Protocol):
    """A rule that knows when further draws cannot change its choice, whatever they give."""

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Return the next draws to make, as (position of the ballot, count); empty to stop.

        All of them must be needed whatever they give, so that they can be made at once.
        """
        ...


@runtime_checkable
class ReadsEvidence(Protocol):
    """A rule that says whether it reads `Ballot.evidence`; `logprobs="auto"` asks for it then."""

    @property
    def reads_evidence(self) -> bool:
        """Whether evidence can change its choice."""
        ...


def reads_evidence(rule: object) -> bool:
    """Return whether a rule reads the evidence of draws; one that does not say so does not."""
    return isinstance(rule, ReadsEvidence) and rule.reads_evidence


@runtime_checkable
class GivenInputs(Protocol):
    """A rule that weighs by the question's inputs."""

    def given(self, inputs: Mapping[str, Any]) -> Rule:
        """Return the rule for a question with these inputs."""
        ...


def rule_for(rule: Rule, inputs: Mapping[str, Any]) -> Rule:
    """Return a rule as it decides a question with these inputs."""
    return rule.given(inputs) if isinstance(rule, GivenInputs) else rule


def choice_of(rule: Rule, ballots: Sequence[Ballot]) -> Choice | None:
    """Return what a rule chooses.

    Raises:
        ConfigurationError: it returned anything but None or a `Choice` that its ballot holds.
    """
    choice = rule.choose(ballots)
    if choice is not None and not isinstance(choice, Choice):
        raise ConfigurationError(
            f"The rule {rule.name!r} must return a dspy_mux.Choice, or None for no answer, "
            f"not {choice!r}."
        )
    if choice is not None and choice.ballot not in range(len(ballots)):
        raise ConfigurationError(
            f"The rule {rule.name!r} chose ballot {choice.ballot!r}, where the ballots are "
            f"numbered from 0 to {len(ballots) - 1}."
        )
    if choice is not None and choice.answer not in ballots[choice.ballot].votes:
        raise ConfigurationError(
            f"The rule {rule.name!r} chose an answer that member "
            f"{ballots[choice.ballot].member!r} never drew."
        )
    return choice


@runtime_checkable
class ChecksMembers(Protocol):
    """A rule for certain members, or certain draws of them; a mux asks it before any LM call."""

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raise ConfigurationError unless the rule can decide among these members.

        Args:
            drawn: each member with its k, in pool order.
        """
        ...


def check_fitted_for(
    rule: str, members: Sequence[str], k: Sequence[int], drawn: Sequence[tuple[str, int]]
) -> None:
    """Raise ConfigurationError unless a rule was fitted for the members and draws in `drawn`."""
    fitted = list(zip(members, k, strict=True))
    if list(drawn) != fitted:
        raise ConfigurationError(
            f"The {rule} rule was fitted for {draws_text(fitted)}: fit it again for this mux's "
            "members and k."
        )


def draws_text(drawn: Iterable[tuple[str, int]]) -> str:
    """Return members and their draws for a message.

    >>> draws_text([("a", 3), ("b", 1)])
    'a (k=3), b (k=1)'
    """
    return ", ".join(f"{name} (k={k})" for name, k in drawn)


def by_accuracy(accuracies: Sequence[float | None]) -> list[int]:
    """Return positions from the most accurate down; equals in pool order, unmeasured ones last.

    >>> by_accuracy([0.5, None, 0.75, 0.75])
    [2, 3, 0, 1]
    """
    return sorted(
        range(len(accuracies)),
        key=lambda at: -1.0 if (a := accuracies[at]) is None else a,
        reverse=True,
    )
