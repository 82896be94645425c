"""The comparison table of a run: accuracy, usage and the difference to SLM-MUX per method."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from dspy_mux.replay.intervals import Estimate, accuracy, mcnemar, paired_difference
from dspy_mux.sampling.causes import advice
from dspy_mux.text import in_markdown, visible

from ..runs.folder import Run, errors_in
from ..runs.schema import single
from .text import Shown

MUX = "slm_mux"
UNION = "any_member_right"
#: A spreadsheet computes cells that begin like this, in East Asian full width too.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
COLUMNS = (
    "method",
    "accuracy %",
    "95 % interval",
    "n",
    "no answer",
    "calls",
    "tokens in + out",
    "cost $",
    "seconds",
    "− SLM-MUX, points",
    "McNemar p",
)
#: Columns in a terminal narrower than _WIDE.
_FEW = ("method", "accuracy %", "95 % interval", "no answer", "calls", "− SLM-MUX, points")
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

    def cells(self) -> list[str]:
        """Return the row's texts, one per column."""
        gap = self.difference
        difference = "" if gap is None else _points(gap)
        p = "" if gap is None else "n/a" if self.mcnemar_p is None else _p(self.mcnemar_p)
        bound = self.method == UNION
        return [
            self.title,
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
            **{name: value for name, value in values.items() if name != "mcnemar_p"},
            **_flat("difference", gap),
            "mcnemar_p": self.mcnemar_p,
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
            *_on_errors(rows),
            *_on_replies(rows),
            *_on_discussion(run.manifest, rows),
        ]
        return cls(lines, _caption(run.manifest), notes)

    def tasks(self) -> dict[str, list[Line]]:
        """Return the lines by task."""
        tasks: dict[str, list[Line]] = {}
        for line in self.lines:
            tasks.setdefault(line.task, []).append(line)
        return tasks

    def rich(self, width: int) -> list[Table]:
        """Return one table per task, the caption below the last.

        Terminals narrower than `_WIDE` get fewer columns.
        """
        columns = COLUMNS if width >= _WIDE else _FEW
        tables = []
        for task, lines in self.tasks().items():
            shown = Table(
                title=Text(
                    visible(
                        f"{task}, n = {lines[0].accuracy.n}; "
                        "calls, tokens, cost and seconds per question"
                    )
                )
            )
            for column in columns:
                shown.add_column(
                    Text(column), justify="left" if column == "method" else "right", overflow="fold"
                )
            for line in lines:
                cells = dict(zip(COLUMNS, line.cells(), strict=True))
                shown.add_row(
                    *(Text(visible(cells[name])) for name in columns),
                    style="bold" if line.method == MUX else None,
                )
            tables.append(shown)
        if tables:
            left_out = (
                ""
                if columns == COLUMNS
                else " Tokens, cost, seconds and p are in table.md, and in a wider terminal."
            )
            tables[-1].caption = Text(visible(self.caption + left_out))
            tables[-1].caption_justify = "left"
        return tables

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
        writer = csv.DictWriter(text, list(rows[0]) if rows else ["task"], lineterminator="\n")
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


def _caption(manifest: Mapping[str, Any]) -> str:
    """Return the caption: k, temperature, questions, and the discussion methods' settings."""
    measured = ", ".join(
        f"{task['name']} {task['validation_questions']}" for task in manifest["tasks"]
    )
    parts = [
        f"Split {manifest['split']}; k = {manifest['k']} draws per member at temperature "
        f"{manifest['temperature']:g}; members measured and rules fitted on validation questions "
        f"({measured}); seconds with up to {manifest['num_threads']} calls in flight."
    ]
    for method in manifest["methods"]:
        if method["discussion"]:
            settings = "; ".join(
                f"{name} {_value(value)}" for name, value in method["settings"].items()
            )
            parts.append(f"{method['title']}: {settings}.")
    return " ".join(parts)


def _on_errors(rows: Mapping[tuple[str, str], list[dict[str, Any]]]) -> list[str]:
    """Note where errors cost answers, which is the servers' fault and not the method's."""
    met: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for (task, _), of_method in rows.items():
        for row in of_method:
            if errors := errors_in(row):
                met[task].setdefault(row["question_id"], []).extend(errors)
    notes = []
    for task, questions in met.items():
        most = Counter(cause for errors in questions.values() for cause in errors).most_common(1)[
            0
        ][0]
        asked = len(
            {
                row["question_id"]
                for (name, _), of_method in rows.items()
                if name == task
                for row in of_method
            }
        )
        notes.append(
            f"{task}: errors cost draws or turns on {len(questions)} of {asked} questions, "
            f"most often {most!r}; --retry-failed asks them again."
        )
    return notes


def _on_replies(rows: Mapping[tuple[str, str], list[dict[str, Any]]]) -> list[str]:
    """Note replies that the user can make whole, with the remedy."""
    causes: dict[str, Counter[str]] = defaultdict(Counter)
    for (task, method), of_method in rows.items():
        for ballot in (ballot for row in of_method for ballot in row["ballots"]):
            if method == MUX:
                causes[f"{task}, {ballot['member']}"].update(ballot["abstentions"])
    return [f"{where}: {each}" for where, counts in causes.items() for each in advice(counts)]


def _on_discussion(
    manifest: Mapping[str, Any], rows: Mapping[tuple[str, str], list[dict[str, Any]]]
) -> list[str]:
    """Note whether discussions helped or hurt, against one draw of the best member.

    The paper claims that they hurt small models.
    """
    notes = []
    for task in manifest["tasks"]:
        if not task["accuracies"]:
            continue  # not measured yet
        best = max(task["accuracies"], key=task["accuracies"].__getitem__)
        alone = {
            row["question_id"]: row["score"] for row in rows.get((task["name"], single(best)), [])
        }
        for method in manifest["methods"]:
            pairs = [
                (row["score"], alone[row["question_id"]])
                for row in rows.get((task["name"], method["id"]), [])
                if row["question_id"] in alone
            ]
            if not method["discussion"] or not pairs:
                continue
            gap = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
            p = mcnemar([a for a, _ in pairs], [b for _, b in pairs])
            clear = gap.low > 0 or gap.high < 0
            effect = (
                ("helps" if gap.mean > 0 else "hurts")
                if clear
                else "neither helps nor hurts by more than chance"
            )
            by = "" if p is None else f"; McNemar p {_p(p) if p < 0.001 else f'= {_p(p)}'}"
            notes.append(
                f"{task['name']}: {method['title']} against one draw of the best member ({best}): "
                f"{_points(gap)} points (95 % interval, paired, n = {gap.n}{by}): it {effect}."
            )
    return notes


def _flat(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    values = (math.nan,) * 3 if estimate is None else (estimate.mean, estimate.low, estimate.high)
    names = (name, f"{name}_low", f"{name}_high")
    return {
        key: None if math.isnan(value) else value for key, value in zip(names, values, strict=True)
    }


def _points(gap: Estimate) -> str:
    """Return a difference in points, with its interval if there are enough questions."""
    interval = "" if math.isnan(gap.low) else f" ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    return f"{100 * gap.mean:+.1f}{interval}"


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _csv_cell(value: Any) -> Any:
    """Return a value for a spreadsheet: text that looks like a formula gets an apostrophe."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
