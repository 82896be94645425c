"""The verdict: what a mux decided for a question, and from what, as users read it and as JSON tells it. No DSPy, no I/O."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, PlainSerializer
from pydantic_core import to_jsonable_python

from ..errors import MuxError
from ..notebook import escaped, section, table
from .ballot import Ballot, TieBreak


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
    def of(
        cls, ballot: Ballot, answers: Mapping[int, Any], causes: Iterable[str | None]
    ) -> MemberBallot:
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
    return [
        cause for cause, _ in Counter(cause for cause in causes if cause is not None).most_common()
    ]


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
        pass  # here, as it is for notebooks alone

        return verdict_html(self)


_LONGEST = 300


def answer_text(answer: Any) -> str:
    """An answer as a person reads it: text as it is, structures as JSON, what JSON has no form for by its `str`."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, (dict, list, tuple, bool)):
        return json.dumps(answer, ensure_ascii=False, default=str)
    return str(answer)


def verdict_html(verdict: Verdict) -> str:
    """A verdict: the answer, whose it is and how sure, every member's answers, and what was said where members discussed."""
    tie = "" if verdict.tie_break == "nothing" else f"; a tie, decided by {verdict.tie_break}"
    confidence = f"confidence {verdict.confidence:.2f} by the rule {escaped(verdict.rule)}"
    who = f"<b>{escaped(verdict.member)}</b>, {confidence}{tie}"
    rows = [_member(ballot, verdict) for ballot in verdict.ballots]
    columns = ("member", "its answers", "confidence", "validation accuracy", "abstained")
    return section(
        f"<div class='answer'>{escaped(answer_text(verdict.answer))}</div><p class='quiet'>{who}</p>",
        table(columns, rows, numbers=("confidence", "validation accuracy")) if rows else "",
        f"<p class='quiet'>{_spent(verdict)}</p>",
        _turns(verdict.turns),
    )


def _member(ballot: MemberBallot, verdict: Verdict) -> list[str]:
    won = ballot.member == verdict.member
    k = len(ballot.votes) + ballot.spared
    spared = f"; {_number(ballot.spared, 'draw')} spared" if ballot.spared else ""
    return [
        f"<b>{escaped(ballot.member)}</b>" if won else escaped(ballot.member),
        "".join(
            _bar(counted, k, won and _same(counted.answer, verdict.answer))
            for counted in ballot.answers
        ),
        f"{ballot.confidence:.2f}",
        "" if ballot.accuracy is None else f"{100 * ballot.accuracy:.1f} %",
        escaped(
            "; ".join(f"{count} × {cause}" for cause, count in ballot.abstentions.items()) + spared
        ).removeprefix("; "),
    ]


def _bar(counted: AnswerCount, k: int, won: bool) -> str:
    width = 100 * counted.count / k if k else 0
    text = escaped(_cut(answer_text(counted.answer)))
    return f"<div class='bar{' won' if won else ''}'><i style='width: {width:.0f}%'></i><b>{text} × {counted.count}</b></div>"


def _same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # answers may be of types whose == is no bool


def _spent(verdict: Verdict) -> str:
    parts = [_number(verdict.calls, "LM call")]
    if verdict.cached_calls:
        parts.append(f"{verdict.cached_calls} from the cache")
    parts.append(f"{verdict.prompt_tokens} + {verdict.completion_tokens} tokens")
    if verdict.cost is not None:
        parts.append(f"${verdict.cost:.6f}")
    return ", ".join(parts)


def _turns(turns: Sequence[Turn]) -> str:
    if not turns:
        return ""
    told = "".join(
        f"<p class='quiet'>{_turn_head(turn)}</p><pre>{escaped(turn.text)}</pre>" for turn in turns
    )
    return (
        f"<details><summary>What was said ({_number(len(turns), 'turn')})</summary>{told}</details>"
    )


def _turn_head(turn: Turn) -> str:
    answer = (
        f"abstained: {turn.cause}"
        if turn.group is None
        else f"answered {_cut(answer_text(turn.answer))}"
    )
    approved = (
        ""
        if turn.approvals is None
        else f"; approved by {sum(turn.approvals.values())} of {len(turn.approvals)}"
    )
    unjudged = "".join(f"; {aspect}: {cause}" for aspect, cause in turn.unjudged.items())
    return escaped(
        f"round {turn.round}, agent {turn.agent} ({turn.member}) {answer}{approved}{unjudged}"
    )


def _number(count: int, of: str) -> str:
    return f"{count} {of}{'' if count == 1 else 's'}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


class AllMembersFailed(MuxError):
    """No member produced a usable answer.

    Attributes:
        causes: member name → its distinct abstention causes, most frequent first.
        turns: what was said in a discussion that came to no answer; empty where members do not see each other's text.
    """

    def __init__(self, causes: Mapping[str, Sequence[str]], turns: Sequence[Turn] = ()):
        self.causes = {name: list(member_causes) for name, member_causes in causes.items()}
        self.turns = list(turns)
        told = "; ".join(
            f"{name}: {', '.join(member_causes) or 'no draw'}"
            for name, member_causes in self.causes.items()
        )
        super().__init__(f"No member of the mux gave a usable answer ({told}).")

    def __reduce__(self) -> tuple[type[AllMembersFailed], tuple[dict[str, list[str]], list[Turn]]]:
        return type(self), (self.causes, self.turns)
