"""The rules that need no fitting: what each picks, and which draws it still needs (frugal).

Each rule is written once and decides live questions, replays and what is still to be drawn. The
method is SLM-MUX's (ICLR 2026, "Confidence Estimation" and "Confidence Selection").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import ConfigurationError
from .ballot import Ballot, Choice, Rule, TieBreak, by_accuracy
from .probability import Probability
from .tally import Ints, LiveTally, P, Pick, Progress, Votes


class VotingRule(ABC):
    """A rule over counted votes.

    `pick` and `next_draws` are the rule. They take one live question or the arrays of many, and
    return numbers or arrays [Q] accordingly.
    """

    name: str

    @abstractmethod
    def pick(self, votes: Votes[P], order: Sequence[int]) -> P:
        """Return the winning draw.

        Args:
            order: members, from `order_of`.
        """

    @abstractmethod
    def next_draws(self, so_far: Progress, order: Sequence[int]) -> tuple[int | Ints, int | Ints]:
        """Return a member and how many draws of it to make next; -1 and 0 if the pick stands.

        All of these draws are needed whatever they give, so that they can be made at once.
        """

    @abstractmethod
    def tie_break(self, tally: LiveTally, pick: Pick) -> TieBreak:
        """Return what decided among equals."""

    def order_of(self, members: Sequence[str], accuracies: Sequence[float | None]) -> list[int]:
        """Return the members' positions as the rule prefers them among equals."""
        return by_accuracy(accuracies)

    def choose(self, ballots: Sequence[Ballot]) -> Choice | None:
        """Return the choice among `ballots`, in pool order; None if every draw abstained."""
        tally = LiveTally(ballots)
        pick = self.pick(tally, self._order(ballots))
        if pick.member < 0:
            return None
        answer = ballots[pick.member].votes[pick.draw]
        assert answer is not None  # a winning draw has one
        return Choice(answer, pick.member, pick.confidence, self.tie_break(tally, pick))

    def wants(self, ballots: Sequence[Ballot]) -> list[tuple[int, int]]:
        """Return the next draws to make, as (position, count); empty if the choice stands."""
        tally = LiveTally(ballots)
        member, count = self.next_draws(tally, self._order(ballots))
        return [(int(member), int(count))] if member >= 0 else []

    def _order(self, ballots: Sequence[Ballot]) -> list[int]:
        return self.order_of(
            [ballot.member for ballot in ballots], [ballot.accuracy for ballot in ballots]
        )


@dataclass(frozen=True)
class Consistency(VotingRule):
    """The paper's rule: the plurality answer of the most self-consistent member.

    Ties go to the member with the highest validation accuracy (an unmeasured member counts as
    lowest), then to the first in pool order.
    """

    name: str = field(default="consistency", init=False)

    def pick(self, votes: Votes[P], order: Sequence[int]) -> P:
        return votes.plurality_of(votes.surest(order))

    def next_draws(self, so_far: Progress, order: Sequence[int]) -> tuple[int | Ints, int | Ints]:
        """Draw from the most accurate member down.

        Each member draws until even unanimous further draws would not lift it above the best
        confidence so far: equals go to the earlier member. Answer, member and confidence are those
        of all draws.
        """
        where = so_far.where
        member, count, best, best_k = -1, 0, 0, 1
        for at in order:
            k, most, left = so_far.k(at), so_far.most(at), so_far.left(at)
            reach = most + left
            needed = (left > 0) & (reach * best_k > best * k) & (member < 0)
            # At the soonest it gives up after as many draws as leave it short of the best.
            spare = reach - best * k // best_k
            count = where(needed, where(spare < left, spare, left), count)
            member = where(needed, at, member)
            if so_far.all(member >= 0):
                break
            higher = (left == 0) & (most * best_k > best * k)
            best, best_k = where(higher, most, best), where(higher, k, best_k)
        return member, count

    def tie_break(self, tally: LiveTally, pick: Pick) -> TieBreak:
        tied = [ballot for ballot in tally.ballots if ballot.confidence == pick.confidence]
        if len(tied) == 1:
            return "nothing"
        accuracy = tally.ballots[pick.member].accuracy
        alike = sum(ballot.accuracy == accuracy for ballot in tied)
        return "accuracy" if alike == 1 else "pool order"


@dataclass(frozen=True)
class Pooled(VotingRule):
    """Agent Forest: the plurality over all draws of all members.

    Ties go to the answer seen first, members in pool order. The confidence is the share of all
    draws, abstentions included. The first member that drew the answer gets the credit; where draws
    arrive in any order, and end once the answer stands (the hedged schedule), it is the first of
    those that have drawn it by then.
    """

    name: str = field(default="pooled", init=False)

    def pick(self, votes: Votes[P], order: Sequence[int]) -> P:
        return votes.pooled.plurality_of(0)

    def next_draws(self, so_far: Progress, order: Sequence[int]) -> tuple[int | Ints, int | Ints]:
        """Draw in pool order until no other answer can catch up with the leading one.

        The answer is that of all draws; the confidence, a share of all draws, could only be higher
        with the others.
        """
        where, pool = so_far.where, so_far.pooled
        lead, second, left = pool.most(0), pool.second(0), pool.left(0)
        member, count = -1, 0
        for at in reversed(range(so_far.members)):
            waiting = so_far.left(at)
            member, count = where(waiting > 0, at, member), where(waiting > 0, waiting, count)
        # At the soonest it is decided when every further draw goes to the leading answer.
        needed = (left - lead + second) // 2 + 1
        undecided = (left > 0) & (lead - second <= left)
        count = where(needed < count, needed, count)
        return where(undecided, member, -1), where(undecided, count, 0)

    def tie_break(self, tally: LiveTally, pick: Pick) -> TieBreak:
        (pool,) = tally.pooled.ballots
        rivals = list(pool.counts.values()).count(pool.most)
        return "pool order" if rivals > 1 else "nothing"

    def order_of(self, members: Sequence[str], accuracies: Sequence[float | None]) -> list[int]:
        return list(range(len(members)))


@dataclass(frozen=True)
class SelfConsistencyRule(VotingRule):
    """One member's plurality answer: the named member's, or the most accurate one's.

    Args:
        member: a member's name; None for the member with the highest validation accuracy (the
            first in pool order if none is known).
    """

    member: str | None = None
    name: str = field(default="self_consistency", init=False)

    def pick(self, votes: Votes[P], order: Sequence[int]) -> P:
        return votes.plurality_of(order[0])

    def next_draws(self, so_far: Progress, order: Sequence[int]) -> tuple[int | Ints, int | Ints]:
        """Draw from its member alone. The choice is that of all draws."""
        left = so_far.left(order[0])
        return so_far.where(left > 0, order[0], -1), left

    def tie_break(self, tally: LiveTally, pick: Pick) -> TieBreak:
        return "nothing"

    def order_of(self, members: Sequence[str], accuracies: Sequence[float | None]) -> list[int]:
        order = by_accuracy(accuracies)
        if self.member is None:
            return order
        self.check_members([(name, 0) for name in members])
        named = list(members).index(self.member)
        return [named, *(at for at in order if at != named)]

    def check_members(self, drawn: Sequence[tuple[str, int]]) -> None:
        """Raise ConfigurationError unless the named member is among these."""
        names = [name for name, _ in drawn]
        if self.member is not None and self.member not in names:
            raise ConfigurationError(
                f"The rule self_consistency names the member {self.member!r}, which is not in the "
                f"pool ({', '.join(names)})."
            )


@dataclass(frozen=True)
class FirstToAnswer(VotingRule):
    """The plurality answer of the most accurate member that has one.

    It decides in the place of a rule over all members. So it answers where `self_consistency`, a
    single member measured alone, abstains.
    """

    name: str = field(default="self_consistency", init=False)

    def pick(self, votes: Votes[P], order: Sequence[int]) -> P:
        return votes.plurality_of(votes.first_to_answer(order))

    def next_draws(self, so_far: Progress, order: Sequence[int]) -> tuple[int | Ints, int | Ints]:
        """Draw from the most accurate member, and from the next one if all its draws abstain."""
        where = so_far.where
        member, count, silent = -1, 0, True
        for at in order:
            left = so_far.left(at)
            needed = (left > 0) & (member < 0) & silent
            member, count = where(needed, at, member), where(needed, left, count)
            silent = silent & (so_far.most(at) == 0)
        return member, count

    def tie_break(self, tally: LiveTally, pick: Pick) -> TieBreak:
        return "nothing"


RULES: dict[
    str, type[Consistency] | type[Pooled] | type[SelfConsistencyRule] | type[Probability]
] = {
    "consistency": Consistency,
    "pooled": Pooled,
    "self_consistency": SelfConsistencyRule,
    "probability": Probability,
}


def deciding_rule(name: str) -> VotingRule | Probability:
    """Return the rule of this name as it decides in a fitted rule's place."""
    return FirstToAnswer() if name == "self_consistency" else RULES[name]()


def rule_of(rule: str | Rule) -> Rule:
    """Return the rule object for a name, or the user's own object.

    Raises:
        ConfigurationError: an unknown name, or an object without `name` and `choose(ballots)`.
    """
    if rule == "calibrated":
        raise ConfigurationError(
            "The calibrated rule is fitted on labelled draws: compile the mux with MuxOptimizer, "
            "or pass a fitted rule object."
        )
    if isinstance(rule, str):
        if rule not in RULES:
            raise ConfigurationError(
                f"There is no rule {rule!r}: choose one of {', '.join(RULES)}, or pass a rule "
                "object."
            )
        return RULES[rule]()
    if isinstance(rule, type) or not isinstance(rule, Rule) or not isinstance(rule.name, str):
        raise ConfigurationError(
            f"A rule must be a name ({', '.join(RULES)}) or an object with a name and a method "
            f"choose(ballots), not {rule!r}."
        )
    return rule
