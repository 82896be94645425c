"""The comparison table of a run: accuracy, usage and the difference to SLM-MUX per method."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dspy_mux.replay.intervals import Estimate, accuracy, mcnemar, paired_difference
from dspy_mux.text import in_markdown, visible

from ..runs.folder import Run
from ..runs.schema import MUX
from .notes import caption, on_discussion, on_errors, on_replies
from .text import Shown, p_value, points

UNION = "any_member_right"
#: A spreadsheet computes cells that begin like this, in East Asian full width too.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
COLUMNS = (
    "method",
    "accuracy %",
    "interval, 95 %",
    "n",
    "no answer",
    "calls",
    "tokens in + out",
    "cost $",
    "seconds",
    "− SLM-MUX, points",
    "McNemar p",
)
#: The last columns of CSV and JSON; the share escalated is there where a large model is.
_LAST = ("mcnemar_p", "escalated")
#: Columns in a terminal narrower than _WIDE.
_FEW = ("method", "accuracy %", "interval, 95 %", "no answer", "calls", "− SLM-MUX, points")
_WIDE = 132


@dataclass(frozen=True)
class Line:
    """One method on one task.

    Attributes:
        unanswered: questions without an answer, which score 0.
        calls, prompt_tokens, completion_tokens, cost, seconds: means per question; cost is None if
            that of any question is unknown.
        difference: accuracy minus SLM-MUX's on the same questions; None for SLM-MUX itself, and if
            the run has no SLM-MUX.
        mcnemar_p: exact and two-sided; None without a difference, or if a score is neither 0 nor 1.
        escalated: share of the questions that a large model was asked; None where none is.
    """

    task: str
    method: str
    title: str
    accuracy: Estimate
    unanswered: int
    calls: float
    prompt_tokens: float
    completion_tokens: float
    cost: float | None
    seconds: float
    difference: Estimate | None = None
    mcnemar_p: float | None = None
    escalated: float | None = None

    @property
    def shown(self) -> str:
        """The title with the share of the questions that a large model was asked."""
        if self.escalated is None:
            return self.title
        return f"{self.title} on {100 * self.escalated:.1f} %"

    def cells(self) -> list[str]:
        """Return the row's texts, one per column."""
        gap = self.difference
        difference = "" if gap is None else points(gap.mean, gap.low, gap.high)
        p = "" if gap is None else "n/a" if self.mcnemar_p is None else p_value(self.mcnemar_p)
        bound = self.method == UNION
        return [
            self.shown,
            self.accuracy.percent(),
            self.accuracy.interval(),
            str(self.accuracy.n),
            "" if bound else str(self.unanswered),
            f"{self.calls:.1f}",
            "" if bound else f"{self.prompt_tokens:.0f} + {self.completion_tokens:.0f}",
            "" if bound else "–" if self.cost is None else f"{self.cost:.5f}",
            "" if bound else f"{self.seconds:.2f}",
            difference,
            p,
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, one level deep, for CSV and JSON; fractions, not percent."""
        values = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("accuracy", "difference")
        }
        gap = self.difference
        return {
            **{name: values.pop(name) for name in ("task", "method", "title")},
            **_flat("accuracy", self.accuracy),
            "n": self.accuracy.n,
            **{name: value for name, value in values.items() if name not in _LAST},
            **_flat("difference", gap),
            "mcnemar_p": self.mcnemar_p,
            **({} if self.escalated is None else {"escalated": self.escalated}),
        }


@dataclass(frozen=True)
class Comparison:
    """The table of a run."""

    lines: list[Line]
    caption: str
    notes: list[str]

    @classmethod
    def of(cls, run: Run) -> Comparison:
        """Build the table from the run's rows; methods without rows have no line."""
        rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in run.rows():
            rows[row["task"], row["method"]].append(row)
        lines = [
            line
            for task in run.manifest["tasks"]
            for line in _lines(task, run.manifest["methods"], rows)
        ]
        notes = [
            *run.manifest["notes"],
            *on_errors(rows),
            *on_replies(rows),
            *on_discussion(run.manifest, rows),
        ]
        return cls(lines, caption(run.manifest), notes)

    def tasks(self) -> dict[str, list[Line]]:
        """Return the lines by task."""
        tasks: dict[str, list[Line]] = {}
        for line in self.lines:
            tasks.setdefault(line.task, []).append(line)
        return tasks

    def shown(self, width: int) -> list[Shown]:
        """Return one table per task, with fewer columns for less than `_WIDE` characters a line."""
        columns = COLUMNS if width >= _WIDE else _FEW
        tables = []
        for task, lines in self.tasks().items():
            cells = [dict(zip(COLUMNS, line.cells(), strict=True)) for line in lines]
            tables.append(
                Shown(
                    f"{task}, n = {lines[0].accuracy.n}; "
                    "calls, tokens, cost and seconds per question",
                    columns,
                    [[row[name] for name in columns] for row in cells],
                    strong=[at for at, line in enumerate(lines) if line.method == MUX],
                )
            )
        return tables

    def captions(self, width: int) -> list[str]:
        """Return the sentences below the tables: what was run, and where the other columns are."""
        left_out = "Tokens, cost, seconds and p are in table.md, and in a wider terminal."
        return [self.caption, *([] if width >= _WIDE else [left_out])] if self.lines else []

    def markdown(self) -> str:
        """Return the tables, the caption and the notes as Markdown."""
        shown = [
            Shown(task, COLUMNS, [line.cells() for line in lines]).markdown()
            for task, lines in self.tasks().items()
        ]
        caption = in_markdown(f"Calls, tokens, cost and seconds are per question. {self.caption}")
        notes = "".join(f"- {in_markdown(note)}\n" for note in self.notes)
        return "\n".join([*shown, f"{caption}\n", *([notes] if notes else [])])

    def csv(self) -> str:
        """Return the lines as CSV; a spreadsheet takes no text in it for a formula."""
        text = io.StringIO()
        rows = [
            {name: _csv_cell(value) for name, value in line.as_dict().items()}
            for line in self.lines
        ]
        columns = list(dict.fromkeys(name for row in rows for name in row)) or ["task"]
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def as_dict(self) -> dict[str, Any]:
        return {
            "caption": self.caption,
            "notes": self.notes,
            "table": [line.as_dict() for line in self.lines],
        }


def _lines(
    task: Mapping[str, Any],
    methods: Sequence[Mapping[str, Any]],
    rows: Mapping[tuple[str, str], list[dict[str, Any]]],
) -> list[Line]:
    name = task["name"]
    mux = {row["question_id"]: row["score"] for row in rows.get((name, MUX), [])}
    lines = []
    for method in methods:
        answered = rows.get((name, method["id"]), [])
        if not answered:
            continue
        scores = [row["score"] for row in answered]
        pairs = [
            (row["score"], mux[row["question_id"]]) for row in answered if row["question_id"] in mux
        ]
        ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
        compared = bool(pairs) and method["id"] != MUX
        lines.append(
            Line(
                task=name,
                method=method["id"],
                title=_title(method, task),
                accuracy=accuracy(scores),
                unanswered=sum(row["answer"] is None for row in answered),
                calls=_mean(answered, "calls"),
                prompt_tokens=_mean(answered, "prompt_tokens"),
                completion_tokens=_mean(answered, "completion_tokens"),
                cost=_cost(answered),
                seconds=_mean(answered, "seconds"),
                difference=paired_difference(ours, theirs) if compared else None,
                mcnemar_p=mcnemar(ours, theirs) if compared else None,
                escalated=_mean(answered, "escalated") if "escalated" in answered[0] else None,
            )
        )
    if union := rows.get((name, MUX)):
        lines.append(_union(name, union))
    return lines


def _union(task: str, rows: Sequence[Mapping[str, Any]]) -> Line:
    """Score the best of the members' plurality answers, which no choice among them exceeds."""
    given = [
        [ballot["answers"][0]["score"] for ballot in row["ballots"] if ballot["answers"]]
        for row in rows
    ]
    scores = [float(max(each, default=0.0)) for each in given]
    graded = not set(scores) <= {0.0, 1.0}
    title = (
        f"{'best answer of any member' if graded else 'any member right'} (upper bound of SLM-MUX)"
    )
    return Line(task, UNION, title, accuracy(scores), 0, _mean(rows, "calls"), 0.0, 0.0, None, 0.0)


def _cost(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Return US dollars per question; None if an answer's own cost is unknown.

    What failed before it had a price cost nothing.
    """
    costs = [row["cost"] for row in rows if row["cost"] is not None or row["answer"] is not None]
    return None if None in costs or not costs else math.fsum(costs) / len(rows)


def _mean(rows: Sequence[Mapping[str, Any]], field: str) -> float:
    return math.fsum(row[field] for row in rows) / len(rows)


def _title(method: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """Return the method's title with the member, subset or rule chosen on validation."""
    choice = task["choices"].get(method["id"], {})
    if "member" in choice:
        return f"{method['title']} ({choice['member']})"
    if "members" in choice:
        return f"{method['title']} ({', '.join(choice['members'])})"
    kept = choice.get("rule", "calibrated")
    return f"{method['title']} (kept {kept})" if kept != "calibrated" else str(method["title"])


def _flat(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    values = (math.nan,) * 3 if estimate is None else (estimate.mean, estimate.low, estimate.high)
    names = (name, f"{name}_low", f"{name}_high")
    return {
        key: None if math.isnan(value) else value for key, value in zip(names, values, strict=True)
    }


def _csv_cell(value: Any) -> Any:
    """Return a value for a spreadsheet: text that looks like a formula gets an apostrophe."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
