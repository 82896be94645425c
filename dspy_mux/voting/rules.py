"""Ballots and rules: how a mux decides among the answers that its members drew.

Pure functions over equivalence classes of answers (small integers, None for an abstention); no DSPy, no I/O. The method is
SLM-MUX's (ICLR 2026, "Confidence Estimation" and "Confidence Selection").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from ..errors import ConfigurationError
from .ballot import Ballot, Choice, Rule, TieBreak, by_accuracy


@dataclass(frozen=True)
class Consistency:
    """The paper's rule: the most self-consistent member's plurality answer.

    Several members at the highest confidence: the one with the highest validation accuracy (one that was never measured counts
    as lowest); still equal, or none measured: the first in pool order.
    """

    name: str = field(default="consistency", init=False)

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        standing = [index for index, ballot in enumerate(ballots) if ballot.plurality is not None]
        if not standing:
            return None
        confidence = max(ballots[index].confidence for index in standing)
        tied = [index for index in standing if ballots[index].confidence == confidence]
        winner, tie_break = _most_accurate(ballots, tied)
        answer = ballots[winner].plurality
        assert answer is not None  # members in `standing` have one
        return Choice(answer, winner, confidence, tie_break)

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Members draw from the most accurate down, each until even unanimous further draws would not lift it above the best
        confidence so far: equals go to the earlier member. Answer, member and confidence are those of all draws."""
        bar = Fraction(0)
        for index in by_accuracy([ballot.accuracy for ballot in ballots]):
            ballot = ballots[index]
            if ballot.left and Fraction(ballot.most + ballot.left, ballot.k) > bar:
                # At the soonest it gives up after as many draws as leave it short of the bar.
                spare = ballot.most + ballot.left - math.floor(bar * ballot.k)
                return [(index, min(spare, ballot.left))]
            if not ballot.left and ballot.k:
                bar = max(bar, Fraction(ballot.most, ballot.k))
        return []


@dataclass(frozen=True)
class Pooled:
    """Agent Forest: the plurality over all draws of all members; among equals the one seen first, members in pool order.

    Its confidence is the share of all draws, abstentions included. The credit goes to the first member that drew the answer.
    """

    name: str = field(default="pooled", init=False)

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        everyone = _everyone(ballots)
        answer = everyone.plurality
        if answer is None:
            return None
        rivals = sum(count == everyone.counts[answer] for count in everyone.counts.values())
        first = next(index for index, ballot in enumerate(ballots) if answer in ballot.counts)
        return Choice(answer, first, everyone.confidence, "pool order" if rivals > 1 else "nothing")

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Members draw in pool order until no other answer can catch up with the leading one. The answer is that of all draws; the
        confidence, a share of all draws, can only be higher had they been made."""
        counts = sorted(_everyone(ballots).counts.values(), reverse=True)
        lead, second = [*counts, 0, 0][:2]
        left = sum(ballot.left for ballot in ballots)
        if lead - second > left or not left:
            return []
        index = next(index for index, ballot in enumerate(ballots) if ballot.left)
        # At the soonest it is decided when every further draw goes to the leading answer.
        return [(index, min((left - lead + second) // 2 + 1, ballots[index].left))]


@dataclass(frozen=True)
class SelfConsistency:
    """One member's plurality answer: the named member's, or the most accurate one's.

    Args:
        member: a member's name; None for the member of highest validation accuracy (the first in pool order where none is known).
    """

    member: str | None = None
    name: str = field(default="self_consistency", init=False)

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        index = self._index(ballots)
        answer = ballots[index].plurality
        return None if answer is None else Choice(answer, index, ballots[index].confidence)

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Its member's draws and no others. The choice is that of all draws."""
        index = self._index(ballots)
        return [(index, ballots[index].left)] if ballots[index].left else []

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        names = [name for name, _ in drawn]
        if self.member is not None and self.member not in names:
            raise ConfigurationError(
                f"The rule self_consistency names the member {self.member!r}, which is not in the pool ({', '.join(names)})."
            )

    def _index(self, ballots: Sequence[Ballot]) -> int:
        if self.member is None:
            index, _ = _most_accurate(ballots, range(len(ballots)))
            return index
        self.check_members([(ballot.member, ballot.k) for ballot in ballots])
        return [ballot.member for ballot in ballots].index(self.member)


def _everyone(ballots: Sequence[Ballot]) -> Ballot:
    """All draws as one ballot, members in pool order."""
    votes = tuple(vote for ballot in ballots for vote in ballot.votes)
    return Ballot("pool", votes, asked=sum(ballot.k for ballot in ballots))


def _most_accurate(ballots: Sequence[Ballot], tied: Sequence[int]) -> tuple[int, TieBreak]:
    if len(tied) == 1:
        return tied[0], "nothing"
    known = [
        (accuracy, index) for index in tied if (accuracy := ballots[index].accuracy) is not None
    ]
    best = max((accuracy for accuracy, _ in known), default=None)
    leaders = [index for accuracy, index in known if accuracy == best] or list(tied)
    return leaders[0], "accuracy" if len(leaders) == 1 else "pool order"


RULES: dict[str, type[Consistency] | type[Pooled] | type[SelfConsistency]] = {
    "consistency": Consistency,
    "pooled": Pooled,
    "self_consistency": SelfConsistency,
}


def rule_of(rule: str | Rule) -> Rule:
    """The rule object for a name or an object of the user's own.

    Raises:
        ConfigurationError: an unknown name, or an object without `name` and `choose(ballots)`.
    """
    if rule == "calibrated":
        raise ConfigurationError(
            "The calibrated rule is fitted on labelled draws: compile the mux with MuxOptimizer, or pass a fitted rule object."
        )
    if isinstance(rule, str):
        if rule not in RULES:
            raise ConfigurationError(
                f"There is no rule {rule!r}: choose one of {', '.join(RULES)}, or pass a rule object."
            )
        return RULES[rule]()
    if isinstance(rule, type) or not isinstance(rule, Rule) or not isinstance(rule.name, str):
        raise ConfigurationError(
            f"A rule must be a name ({', '.join(RULES)}) or an object with a name and a method choose(ballots), not {rule!r}."
        )
    return rule
