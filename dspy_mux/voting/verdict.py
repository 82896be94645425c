"""The verdict: what a mux decided for a question and why, for users, JSON and notebooks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, PlainSerializer
from pydantic_core import to_jsonable_python

from ..errors import MuxError
from ..notebook import escaped, section, table
from ..text import shortened, visible
from .ballot import Ballot, TieBreak


def _jsonable(value: Any) -> Any:
    # An answer may have any type that a signature can declare; the fallback is its repr.
    return to_jsonable_python(value, serialize_unknown=True, inf_nan_mode="strings")


JsonAnswer = Annotated[Any, PlainSerializer(_jsonable, when_used="json")]


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


class Verdict(Spent):
    """What a mux decided for one question, and on what grounds.

    Attributes:
        answer: the winning draw's answer.
        member: the member the answer is credited to.
        confidence: the rule's confidence in [0, 1]; for `consistency`, the share of the member's
            draws that gave the answer; for `probability`, unless it was fitted on labels, what
            the members' models say on average, which is no probability of being right.
        tie_break: what decided among equals: "nothing" (there were none), "accuracy", "pool order"
            or "order drawn".
        rule: the name of the rule, or of the method that decided.
        ballots: every member's ballot, in pool order; in a discussion, of the members whose last
            answers decide.
        turns: what was said in a discussion, round by round; empty if members do not see each
            other's text.

    >>> import dspy
    >>> from dspy.utils import DummyLM
    >>> from dspy_mux import SLMMux
    >>> lms = {name: DummyLM([{"answer": "42"}] * 3) for name in ("a", "b")}
    >>> mux = SLMMux(dspy.Predict("question -> answer"), lms, k=3)
    >>> verdict = mux(question="What is 6 * 7?").verdict
    >>> verdict.answer, verdict.confidence, verdict.tie_break, verdict.calls
    ('42', 1.0, 'pool order', 6)
    >>> print(verdict)
    42
    a, confidence 1.00 by the rule consistency; a tie, decided by pool order
    member  answers  confidence  abstained
    a       3 × 42         1.00
    b       3 × 42         1.00
    6 LM calls, 0 + 0 tokens
    """

    answer: JsonAnswer
    member: str
    confidence: float
    tie_break: TieBreak
    rule: str
    ballots: list[MemberBallot]
    turns: list[Turn] = []

    def __str__(self) -> str:
        return verdict_text(self)

    def _repr_html_(self) -> str:
        return verdict_html(self)


#: Longer answers are cut in notebooks, and in a table of text.
_LONGEST, _LONGEST_CELL = 300, 60


def readable_answer(answer: Any) -> str:
    """Return an answer for people: text as it is, structures as JSON, other types by their `str`.

    >>> readable_answer(["Rome", 2])
    '["Rome", 2]'
    """
    if isinstance(answer, str):
        return answer
    if isinstance(answer, (dict, list, tuple, bool)):
        return json.dumps(answer, ensure_ascii=False, default=str)
    return str(answer)


def verdict_text(verdict: Verdict) -> str:
    """Return a verdict as lines of text: the answer, every member's ballot, the cost."""
    head = ["member", "answers", "confidence", "abstained"]
    rows = [head, *(_cells(ballot) for ballot in verdict.ballots)]
    if any(ballot.probabilities for ballot in verdict.ballots):
        column = ["probability", *(probability_cell(ballot) for ballot in verdict.ballots)]
        rows = [[*row[:3], cell, row[3]] for row, cell in zip(rows, column, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        "  ".join(
            cell.rjust(width) if at == 2 else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join(
        [
            answer_line(verdict.answer, _LONGEST),
            f"{answer_line(verdict.member)}, {_grounds(verdict)}",
            *(aligned if verdict.ballots else ()),
            _spent(verdict),
        ]
    )


def _cells(ballot: MemberBallot) -> list[str]:
    counts = (f"{counted.count} × {answer_line(counted.answer)}" for counted in ballot.answers)
    return [
        answer_line(ballot.member),
        shortened("; ".join(counts), 2 * _LONGEST_CELL),
        f"{ballot.confidence:.2f}",
        "; ".join(answer_line(cause) for cause in _missing(ballot)),
    ]


def probability_cell(ballot: MemberBallot) -> str:
    """Return the probabilities of a member's draws, in the order drawn."""
    shown = ["?" if one is None else f"{one:.2f}" for one in ballot.probabilities]
    return shortened(" ".join(shown), _LONGEST_CELL)


def answer_line(value: Any, longest: int = _LONGEST_CELL) -> str:
    """Return an answer or a name as one line that is harmless in a terminal."""
    return shortened(" ".join(visible(readable_answer(value)).split()), longest)


def _grounds(verdict: Verdict) -> str:
    tie = "" if verdict.tie_break == "nothing" else f"; a tie, decided by {verdict.tie_break}"
    return f"confidence {verdict.confidence:.2f} by the rule {verdict.rule}{tie}"


def _missing(ballot: MemberBallot) -> list[str]:
    """Return why a member has fewer votes than draws."""
    missing = [f"{count} × {cause}" for cause, count in ballot.abstentions.items()]
    return [*missing, f"{_number(ballot.spared, 'draw')} spared"] if ballot.spared else missing


def verdict_html(verdict: Verdict) -> str:
    """Return a verdict for notebooks: the answer, every member's ballot, the cost and the turns."""
    who = f"<b>{escaped(verdict.member)}</b>, {escaped(_grounds(verdict))}"
    rows = [_member(ballot, verdict) for ballot in verdict.ballots]
    columns = ["member", "its answers", "confidence", "validation accuracy", "abstained"]
    if any(ballot.probabilities for ballot in verdict.ballots):
        columns.append("probability")
        rows = [
            [*row, probability_cell(ballot)]
            for row, ballot in zip(rows, verdict.ballots, strict=True)
        ]
    return section(
        f"<div class='answer'>{escaped(readable_answer(verdict.answer))}</div>",
        f"<p class='quiet'>{who}</p>",
        table(columns, rows, numbers=("confidence", "validation accuracy")) if rows else "",
        f"<p class='quiet'>{_spent(verdict)}</p>",
        _turns(verdict.turns),
    )


def _member(ballot: MemberBallot, verdict: Verdict) -> list[str]:
    """Return a member's row of the table."""
    won = ballot.member == verdict.member
    k = len(ballot.votes) + ballot.spared
    bars = (
        _bar(counted, k, won and _same(counted.answer, verdict.answer))
        for counted in ballot.answers
    )
    return [
        f"<b>{escaped(ballot.member)}</b>" if won else escaped(ballot.member),
        "".join(bars),
        f"{ballot.confidence:.2f}",
        "" if ballot.accuracy is None else f"{100 * ballot.accuracy:.1f} %",
        escaped("; ".join(_missing(ballot))),
    ]


def _bar(counted: AnswerCount, k: int, won: bool) -> str:
    width = 100 * counted.count / k if k else 0
    text = escaped(shortened(readable_answer(counted.answer), _LONGEST))
    return (
        f"<div class='bar{' won' if won else ''}'><i style='width: {width:.0f}%'></i>"
        f"<b>{text} × {counted.count}</b></div>"
    )


def _same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # an answer's type may have a == that returns no bool


def _spent(verdict: Verdict) -> str:
    parts = [calls_text(verdict)]
    if verdict.cached_calls:
        parts.append(f"{verdict.cached_calls} from the cache")
    parts.append(f"{verdict.prompt_tokens} + {verdict.completion_tokens} tokens")
    if verdict.cost is not None:
        parts.append(f"${verdict.cost:.6f}")
    return ", ".join(parts)


def calls_text(spent: Spent) -> str:
    """Return how many LM calls were sent, and in how many requests where some shared one.

    >>> calls_text(Spent(calls=9, shared_calls=6))
    '9 LM calls in 3 requests'
    """
    calls = _number(spent.calls, "LM call")
    if not spent.shared_calls:
        return calls
    return f"{calls} in {_number(spent.calls - spent.shared_calls, 'request')}"


def _turns(turns: Sequence[Turn]) -> str:
    if not turns:
        return ""
    texts = "".join(
        f"<p class='quiet'>{_turn_head(turn)}</p><pre>{escaped(turn.text)}</pre>" for turn in turns
    )
    summary = f"What was said ({_number(len(turns), 'turn')})"
    return f"<details><summary>{summary}</summary>{texts}</details>"


def _turn_head(turn: Turn) -> str:
    answer = (
        f"abstained: {turn.cause}"
        if turn.group is None
        else f"answered {shortened(readable_answer(turn.answer), _LONGEST)}"
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


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


class AllMembersFailed(MuxError):
    """No member produced a usable answer.

    Attributes:
        causes: member name → its distinct abstention causes, most frequent first.
        turns: what was said in a discussion without an answer; empty if members do not see each
            other's text.
    """

    def __init__(self, causes: Mapping[str, Sequence[str]], turns: Sequence[Turn] = ()):
        self.causes = {name: list(member_causes) for name, member_causes in causes.items()}
        self.turns = list(turns)
        listed = "; ".join(
            f"{name}: {', '.join(member_causes) or 'no draw'}"
            for name, member_causes in self.causes.items()
        )
        super().__init__(f"No member of the mux gave a usable answer ({listed}).")

    def __reduce__(self) -> tuple[type[AllMembersFailed], tuple[dict[str, list[str]], list[Turn]]]:
        return type(self), (self.causes, self.turns)
