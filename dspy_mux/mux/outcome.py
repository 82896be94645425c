"""Turn settled draws into a verdict: ballots with their answers, what was spent, or the error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..redact import shows_no_key
from ..sampling.draw import Draw
from ..voting.ballot import Ballot, TieBreak
from ..voting.verdict import AllMembersFailed
from ..voting.verdict_parts import MemberBallot, Spent, Turn, most_frequent_first

Value = TypeVar("Value")


@dataclass(frozen=True)
class Grounds:
    """On what an answer was chosen; `Verdict` says what each is."""

    rule: str
    confidence: float
    tie_break: TieBreak = "nothing"
    calibrated: bool = False
    decided_by: str | None = None


def by_member(draws: Sequence[Draw], values: Sequence[Value]) -> dict[str, list[Value]]:
    """Group one value per draw by the draw's member."""
    grouped: dict[str, list[Value]] = {draw.member.label: [] for draw in draws}
    for draw, value in zip(draws, values, strict=True):
        grouped[draw.member.label].append(value)
    return grouped


def member_ballots(
    ballots: Sequence[Ballot],
    cast: Sequence[tuple[Draw, int | None]],
    answer: Callable[[Draw], Any],
) -> list[MemberBallot]:
    """Return the ballots with their answers and abstentions.

    Args:
        cast: the draws that the ballots count, with their classes.
        answer: returns a draw's answer.
    """
    draws = [draw for draw, _ in cast]
    # Reversed, so that the first draw of a class gives its answer.
    drawn = {(draw.member.label, group): answer(draw) for draw, group in reversed(cast)}
    causes = by_member(draws, [draw.cause for draw in draws])
    return [
        MemberBallot.of(
            ballot,
            {group: drawn[ballot.member, group] for group in ballot.counts},
            causes.get(ballot.member, ()),
        )
        for ballot in ballots
    ]


def total_spent(draws: Sequence[Draw]) -> Spent:
    """Add up what the draws spent; the cost is None where no price is known."""
    return sum_of_spent([draw.spent for draw in draws])


def sum_of_spent(spent: Sequence[Spent]) -> Spent:
    """Add up what was spent; the cost is None where no price is known."""
    costs = [draw.cost for draw in spent if draw.cost is not None]
    return Spent(
        calls=sum(draw.calls for draw in spent),
        cached_calls=sum(draw.cached_calls for draw in spent),
        shared_calls=sum(draw.shared_calls for draw in spent),
        prompt_tokens=sum(draw.prompt_tokens for draw in spent),
        completion_tokens=sum(draw.completion_tokens for draw in spent),
        cost=sum(costs) if costs else None,
    )


def all_members_failed(
    names: Sequence[str],
    draws: Sequence[Draw],
    decided_by: str,
    turns: Sequence[Turn] = (),
    ballots: Sequence[MemberBallot] = (),
) -> AllMembersFailed:
    """Return the error for a question without an answer.

    Its cause is the first error of a draw whose traceback shows no key.
    """
    causes = by_member(draws, [draw.cause for draw in draws])
    not_chosen = [f"answered, but {decided_by} chose none of its answers"]
    error = AllMembersFailed(
        {
            name: most_frequent_first(causes[name]) + not_chosen * (None in causes[name])
            for name in names
            if name in causes
        },
        turns,
        ballots,
    )
    errors = ((draw.error, draw.member.lm) for draw in draws if draw.error is not None)
    error.__cause__ = next((raised for raised, lm in errors if shows_no_key(raised, lm)), None)
    return error
