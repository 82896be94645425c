"""Verdicts and tables as small pieces of HTML for notebooks, light or dark. All text of models is escaped and cannot run."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .verdict import AnswerCount, MemberBallot, Turn, Verdict

#: Controls that turn the direction of the text around them, and ends of lines that are none to most programs: what is shown could
#: then not be told from what is there.
_TURNING = "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "\u2421",
    **{ord(mark): f"⟨U+{ord(mark):04X}⟩" for mark in _TURNING},
    **dict.fromkeys(range(0x80, 0xA0), "\ufffd"),
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),  # halves of characters, which no file can hold
}
_HALF = re.compile("[\ud800-\udfff]")
_LONGEST = 300

_STYLE = """<style>
.dspy-mux { color: inherit; font: 13px/1.5 system-ui, sans-serif; max-width: 60em; overflow-x: auto }
.dspy-mux table { border-collapse: collapse; margin: .5em 0; color: inherit; background: none; font-size: inherit }
.dspy-mux tr, .dspy-mux tbody tr:nth-child(odd), .dspy-mux tbody tr:hover { background: none }
.dspy-mux th, .dspy-mux td { padding: .3em .9em .3em 0; border: 0; border-bottom: 1px solid rgba(128, 128, 128, .3);
  color: inherit; background: none; text-align: left; vertical-align: top; max-width: 36em; overflow-wrap: anywhere }
.dspy-mux th { font-weight: 600; white-space: nowrap }
.dspy-mux .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.dspy-mux .answer { font-size: 1.3em; font-weight: 600; overflow-wrap: anywhere; white-space: pre-wrap; unicode-bidi: isolate }
.dspy-mux .bar { position: relative; min-width: 11em; padding: 0 .5em; margin-bottom: 2px; overflow-wrap: anywhere;
  unicode-bidi: isolate }
.dspy-mux .bar i { position: absolute; inset: 0 auto 0 0; border-radius: 3px; background: rgba(128, 128, 128, .3) }
.dspy-mux .won i { background: rgba(0, 120, 210, .4) }
.dspy-mux .bar b { position: relative; font-weight: inherit }
.dspy-mux .won b { font-weight: 600 }
.dspy-mux .quiet { opacity: .75; margin: .3em 0 }
.dspy-mux pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .2em 0 .8em; padding: .5em .7em; color: inherit;
  background: rgba(128, 128, 128, .12); border-radius: 4px; font-size: 12px; unicode-bidi: isolate }
.dspy-mux summary { cursor: pointer }
</style>"""


def visible(text: str) -> str:
    """The text with its control characters shown as signs; line ends and tabs stay."""
    return text.translate(_VISIBLE)


def whole(text: str) -> str:
    """The text with U+FFFD where it has half a character, which no file and no request can hold."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def escaped(text: Any) -> str:
    """A value's text for HTML, between tags or in a quoted attribute."""
    return html.escape(visible(str(text)))


def in_markdown(text: str) -> str:
    """Text for a Markdown table: neither a cell's end, nor markup, nor HTML."""
    text = " ".join(visible(text).splitlines())
    for sign in "\\|*_`[]~":
        text = text.replace(sign, "\\" + sign)
    return text.replace("&", "&amp;").replace("<", "&lt;")


def answer_text(answer: Any) -> str:
    """An answer as a person reads it: text as it is, structures as JSON, what JSON has no form for by its `str`."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, (dict, list, tuple, bool)):
        return json.dumps(answer, ensure_ascii=False, default=str)
    return str(answer)


def section(*parts: str) -> str:
    """Pieces of HTML as one output of a notebook, in its own style."""
    return f"{_STYLE}<div class='dspy-mux'>{''.join(parts)}</div>"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: Sequence[str] = ()) -> str:
    """A table of plain values, escaped; the columns named in `numbers` are set to the right."""
    kinds = [" class='number'" if column in numbers else "" for column in columns]
    return _table(columns, [[escaped(value) for value in row] for row in rows], kinds)


def verdict_html(verdict: Verdict) -> str:
    """A verdict: the answer, whose it is and how sure, every member's answers, and what was said where members discussed."""
    tie = "" if verdict.tie_break == "nothing" else f"; a tie, decided by {verdict.tie_break}"
    confidence = f"confidence {verdict.confidence:.2f} by the rule {escaped(verdict.rule)}"
    who = f"<b>{escaped(verdict.member)}</b>, {confidence}{tie}"
    kinds = ["", "", " class='number'", " class='number'", ""]
    rows = [_member(ballot, verdict) for ballot in verdict.ballots]
    columns = ("member", "its answers", "confidence", "validation accuracy", "abstained")
    return section(
        f"<div class='answer'>{escaped(answer_text(verdict.answer))}</div><p class='quiet'>{who}</p>",
        _table(columns, rows, kinds) if rows else "",
        f"<p class='quiet'>{_spent(verdict)}</p>",
        _turns(verdict.turns),
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], kinds: Sequence[str]) -> str:
    head = "".join(f"<th scope='col'{kind}>{escaped(name)}</th>" for name, kind in zip(columns, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _member(ballot: MemberBallot, verdict: Verdict) -> list[str]:
    won = ballot.member == verdict.member
    k = len(ballot.votes) + ballot.spared
    spared = f"; {_number(ballot.spared, 'draw')} spared" if ballot.spared else ""
    return [
        f"<b>{escaped(ballot.member)}</b>" if won else escaped(ballot.member),
        "".join(_bar(counted, k, won and _same(counted.answer, verdict.answer)) for counted in ballot.answers),
        f"{ballot.confidence:.2f}",
        "" if ballot.accuracy is None else f"{100 * ballot.accuracy:.1f} %",
        escaped("; ".join(f"{count} × {cause}" for cause, count in ballot.abstentions.items()) + spared).removeprefix("; "),
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
    told = "".join(f"<p class='quiet'>{_turn_head(turn)}</p><pre>{escaped(turn.text)}</pre>" for turn in turns)
    return f"<details><summary>What was said ({_number(len(turns), 'turn')})</summary>{told}</details>"


def _turn_head(turn: Turn) -> str:
    answer = f"abstained: {turn.cause}" if turn.group is None else f"answered {_cut(answer_text(turn.answer))}"
    approved = "" if turn.approvals is None else f"; approved by {sum(turn.approvals.values())} of {len(turn.approvals)}"
    unjudged = "".join(f"; {aspect}: {cause}" for aspect, cause in turn.unjudged.items())
    return escaped(f"round {turn.round}, agent {turn.agent} ({turn.member}) {answer}{approved}{unjudged}")


def _number(count: int, of: str) -> str:
    return f"{count} {of}{'' if count == 1 else 's'}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
