"""The parts of a verdict: members' ballots, turns of a discussion, what a question cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, PlainSerializer
from pydantic_core import to_jsonable_python

from .ballot import Ballot


def jsonable(value: Any) -> Any:
    """Return a value as JSON has it; what JSON cannot hold by its repr."""
    # An answer may have any type that a signature can declare.
    return to_jsonable_python(value, serialize_unknown=True, inf_nan_mode="strings")


JsonAnswer = Annotated[Any, PlainSerializer(jsonable, when_used="json")]


class AnswerCount(BaseModel):
    """One answer of a member, as its first draw worded it, and how many of its draws gave it.

    Attributes:
        group: number of the answer; equivalent answers of all members have the same.
    """

    answer: JsonAnswer
    count: int
    group: int


class MemberBallot(BaseModel):
    """A member's ballot, as a verdict shows it.

    Attributes:
        votes: the group of each draw's answer in the order drawn; None for an abstention.
        confidence: share of all k draws that gave the plurality answer, spared ones included.
        answers: most frequent first, drawn first among equals.
        abstentions: cause → number of draws.
        spared: draws that were not made or not waited for, because no answer of theirs could have
            changed the verdict.
        probabilities: of each vote's answer, as the model gave it in that draw, in [0, 1]; None
            where it is unknown. Empty where all are.
    """

    member: str
    votes: list[int | None]
    confidence: float
    accuracy: float | None = None
    answers: list[AnswerCount] = []
    abstentions: dict[str, int] = {}
    spared: int = 0
    probabilities: list[float | None] = []

    @classmethod
    def of(
        cls, ballot: Ballot, answers: Mapping[int, Any], causes: Iterable[str | None]
    ) -> MemberBallot:
        """Describe a ballot.

        Args:
            answers: group → the answer, as its first draw worded it.
            causes: why each draw abstained; None for a draw with an answer.
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
            probabilities=_probabilities(ballot),
        )


def _probabilities(ballot: Ballot) -> list[float | None]:
    found = [
        None if vote is None or one is None else one.probability
        for vote, one in zip(ballot.votes, ballot.evidence, strict=False)
    ]
    return found if any(probability is not None for probability in found) else []


def most_frequent_first(causes: Iterable[str | None]) -> list[str]:
    """Return the distinct causes of abstentions; None stands for a draw with an answer.

    >>> most_frequent_first(["late", None, "cut off", "cut off"])
    ['cut off', 'late']
    """
    counted = Counter(cause for cause in causes if cause is not None)
    return [cause for cause, _ in counted.most_common()]


class Turn(BaseModel):
    """What one agent said in a discussion.

    Attributes:
        round: from 1; a layer of Mixture-of-Agents.
        agent: from 1, within the round.
        text: the whole reply, as the other agents saw it; "" if there was none.
        answer: the answer in the text; None for an abstention.
        group: number of the answer; equivalent answers of all turns have the same.
        cause: why the turn abstains.
        approvals: verifier → whether it approved, for a candidate of Multi-Agent Verification.
        unjudged: verifier → why it gave no judgement, which counts as a disapproval.
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
        # An answer may have a type that cannot be pickled, and an error must cross processes.
        return type(self).model_validate, (self.model_dump(mode="json"),)


class Spent(BaseModel):
    """What a question cost.

    Attributes:
        calls: LM calls sent to a model, failed ones included.
        cached_calls: LM calls that DSPy's cache answered.
        shared_calls: of the calls sent, those that took a further choice of another one's request,
            whose prompt is billed once, or failed with it.
        prompt_tokens, completion_tokens: as the providers report them.
        cost: in US dollars; None if no price is known.
    """

    calls: int = 0
    cached_calls: int = 0
    shared_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
