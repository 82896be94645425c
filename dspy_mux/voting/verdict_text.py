"""A verdict for people: as lines of text, and as HTML for notebooks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from shutil import get_terminal_size
from typing import Any, Protocol

from ..layout import cell_width, continued, wrapped
from ..notebook import escaped, section, table
from ..text import shortened, visible
from .ballot import TieBreak
from .verdict_parts import AnswerCount, MemberBallot, Turn


class Sent(Protocol):
    """How many calls were sent."""

    calls: int
    shared_calls: int


class Decided(Sent, Protocol):
    """What is shown of a verdict, beside what it cost."""

    answer: Any
    member: str
    confidence: float
    calibrated: bool
    tie_break: TieBreak
    rule: str
    decided_by: str | None
    trusted: bool | None
    escalated: bool
    escalation_cause: str | None
    group: int | None
    ballots: list[MemberBallot]
    turns: list[Turn]
    cached_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


#: Longer answers are cut in notebooks, and in a table of text.
_LONGEST, _LONGEST_CELL = 300, 60
#: Characters that a column of answers or of causes has at least, in a table of text.
_NARROWEST = 18


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


def verdict_text(verdict: Decided) -> str:
    """Return a verdict as lines of text: the answer, every member's ballot, the cost."""
    head = ["member", "answers", "confidence", "abstained"]
    rows = [head, *(_cells(ballot) for ballot in verdict.ballots)]
    if any(ballot.probabilities for ballot in verdict.ballots):
        column = ["probability", *(probability_cell(ballot) for ballot in verdict.ballots)]
        rows = [[*row[:3], cell, row[3]] for row, cell in zip(rows, column, strict=True)]
    width = get_terminal_size((80, 24)).columns
    return "\n".join(
        [
            answer_line(verdict.answer, _LONGEST),
            *wrapped(f"{answer_line(verdict.member)}, {_grounds(verdict)}", width),
            *(_aligned(rows, width) if verdict.ballots else ()),
            *wrapped(_spent(verdict), width),
        ]
    )


def _aligned(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Yield the lines of a table; answers and causes are wrapped where it would be too wide."""
    widths = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    phrases = (1, len(widths) - 1)
    while sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(phrases, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    for row in rows:
        cells = [
            continued(cell, most) if at in phrases else [cell]
            for at, (cell, most) in enumerate(zip(row, widths, strict=True))
        ]
        for texts in zip_longest(*cells, fillvalue=""):
            parts = []
            for at, (text, most) in enumerate(zip(texts, widths, strict=True)):
                blank = " " * (most - cell_width(text))
                parts.append(blank + text if at == 2 else text + blank)
            yield "  ".join(parts).rstrip()


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


def confidence_text(verdict: Decided) -> str:
    """Return the confidence, and whether it is a chance of being right."""
    kind = "calibrated confidence" if verdict.calibrated else "confidence"
    return f"{kind} {verdict.confidence:.2f}"


def _grounds(verdict: Decided) -> str:
    if verdict.escalated:
        return f"asked in place of the pool, {pool_text(verdict)}"
    tie = "" if verdict.tie_break == "nothing" else f"; a tie, decided by {verdict.tie_break}"
    return f"{confidence_text(verdict)} {rule_text(verdict)}{tie}{trust_text(verdict)}"


def rule_text(verdict: Decided) -> str:
    """Return by which rule was decided."""
    rule = f"by the rule {verdict.rule}"
    if verdict.decided_by in (None, verdict.rule):
        return rule
    return f"{rule}, where {verdict.decided_by} decides"


def pool_text(verdict: Decided) -> str:
    """Return what the pool itself had said, where another model answered in its place."""
    own = pool_answer(verdict)
    if own is None and not verdict.confidence:
        return "which had no answer"
    answer = "" if own is None else f" {answer_line(own.answer)}"
    return (
        f"whose answer{answer} had {confidence_text(verdict)} {rule_text(verdict)} and was not "
        "trusted"
    )


def pool_answer(verdict: Decided) -> AnswerCount | None:
    """Return the answer of the ballots that was chosen, as the first member worded it."""
    counted = (one for ballot in verdict.ballots for one in ballot.answers)
    return next((one for one in counted if one.group == verdict.group), None)


def trust_text(verdict: Decided) -> str:
    """Return whether a pool's answer is trusted, where a threshold says so."""
    if verdict.trusted is None:
        return ""
    why = verdict.escalation_cause
    asked = "" if why is None else f"; the model asked in its place: {answer_line(why)}"
    return f"; {'trusted' if verdict.trusted else 'not trusted'}{asked}"


def _missing(ballot: MemberBallot) -> list[str]:
    """Return why a member has fewer votes than draws."""
    missing = [f"{count} × {cause}" for cause, count in ballot.abstentions.items()]
    return [*missing, f"{_number(ballot.spared, 'draw')} spared"] if ballot.spared else missing


def verdict_html(verdict: Decided) -> str:
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


def _member(ballot: MemberBallot, verdict: Decided) -> list[str]:
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


def _spent(verdict: Decided) -> str:
    parts = [calls_text(verdict)]
    if verdict.cached_calls:
        parts.append(f"{verdict.cached_calls} from the cache")
    parts.append(f"{verdict.prompt_tokens} + {verdict.completion_tokens} tokens")
    if verdict.cost is not None:
        parts.append(f"${verdict.cost:.6f}")
    return ", ".join(parts)


def calls_text(spent: Sent) -> str:
    """Return how many LM calls were sent, and in how many requests where some shared one.

    >>> from dspy_mux.voting.verdict_parts import Spent
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
