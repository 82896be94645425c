"""The verdict: what a mux decided for a question, and from what, as users read it and as JSON tells it. No DSPy, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, PlainSerializer
from pydantic_core import to_jsonable_python

from .voting import Ballot, TieBreak


def _jsonable(value: Any) -> Any:
    # Answers may be of any type a signature can declare; what JSON has no form for is told by its repr.
    return to_jsonable_python(value, serialize_unknown=True, inf_nan_mode="strings")


JsonAnswer = Annotated[Any, PlainSerializer(_jsonable, when_used="json")]


class AnswerCount(BaseModel):
    """One answer of a member, as its first draw worded it, and how many of its draws gave it.

    `group` numbers equivalent answers across all members of the verdict.
    """

    answer: JsonAnswer
    count: int
    group: int


class MemberBallot(BaseModel):
    """A member's ballot as a verdict tells it.

    `votes` has the group of each draw's answer in the order drawn, None for an abstention. `answers` is most frequent first, drawn
    first among equals. `abstentions` is cause → number of draws. `spared` draws were not made, or not waited for, as nothing they
    could have given would have changed the answer; the confidence is a share of all k, these included.
    """

    member: str
    votes: list[int | None]
    confidence: float
    accuracy: float | None = None
    answers: list[AnswerCount] = []
    abstentions: dict[str, int] = {}
    spared: int = 0

    @classmethod
    def of(cls, ballot: Ballot, answers: Mapping[int, Any], causes: Iterable[str | None]) -> MemberBallot:
        """A ballot as a verdict tells it.

        Args:
            answers: group → the answer, as its first draw worded it.
            causes: of the draws that abstained; None for the others.
        """
        return cls(
            member=ballot.member,
            votes=list(ballot.votes),
            confidence=ballot.confidence,
            accuracy=ballot.accuracy,
            answers=[
                AnswerCount(answer=answers[group], count=count, group=group)
                for group, count in sorted(ballot.counts.items(), key=lambda item: -item[1])
            ],
            abstentions=dict(Counter(cause for cause in causes if cause is not None)),
            spared=ballot.left,
        )


def most_frequent_first(causes: Iterable[str | None]) -> list[str]:
    """The distinct causes of abstentions, as `AllMembersFailed` tells them."""
    return [cause for cause, _ in Counter(cause for cause in causes if cause is not None).most_common()]


class Turn(BaseModel):
    """What one agent said in a discussion.

    Attributes:
        round: from 1; Mixture-of-Agents' layer.
        agent: from 1, within the round.
        text: all of it, as the others were shown it; "" where nothing came.
        answer, group: the answer in it and the number of its equivalents among all turns; None where it abstains, with a `cause`.
        approvals: verifier → whether it said True, for a candidate of Multi-Agent Verification.
        unjudged: verifier → why it judged nothing; among the approvals it counts as False.
    """

    round: int
    agent: int
    member: str
    text: str
    answer: JsonAnswer | None = None
    group: int | None = None
    cause: str | None = None
    approvals: dict[str, bool] | None = None
    unjudged: dict[str, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Answers may be of a type that cannot be pickled: an error with its turns must get out of any process.
        return type(self).model_validate, (self.model_dump(mode="json"),)


class Spent(BaseModel):
    """What a question cost. Tokens are as the providers report them; `cost` is in US dollars, None where no price is known."""

    calls: int = 0
    cached_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


class Verdict(Spent):
    """What a mux decided for one question, and from what. Serialises with `model_dump_json()`.

    Attributes:
        answer: the winning draw's answer.
        member: the member the answer is credited to.
        confidence: the rule's confidence in [0, 1]; for `consistency`, the share of the member's draws that gave the answer.
        tie_break: what decided among equals: "nothing" (there were none), "accuracy", "pool order" or "order drawn".
        rule: the name of the rule, or of the method that decided.
        ballots: every member's ballot, in pool order; in a discussion, of the members whose last answers decide.
        turns: what was said in a discussion, round by round; empty where members do not see each other's text.
        calls: LM calls sent to a model, failed ones included; `cached_calls` were answered by DSPy's cache.
    """

    answer: JsonAnswer
    member: str
    confidence: float
    tie_break: TieBreak
    rule: str
    ballots: list[MemberBallot]
    turns: list[Turn] = []

    def _repr_html_(self) -> str:
        from .showing import verdict_html  # here, as it is for notebooks alone

        return verdict_html(self)
