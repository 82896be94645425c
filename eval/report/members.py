"""Charts of members: whose answers are chosen, what each is good at, and what joining gains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from dspy_mux.optimize.search import Subset, search
from dspy_mux.replay.intervals import Z95, Estimate, accuracy

from .look import (
    OUTCOMES,
    Chart,
    Trace,
    axis,
    error_bars,
    member_look,
    percent,
    plain,
    with_interval,
    wrapped,
)
from .read import Answered, NotInTheRun, TaskAnswers

_LONGEST = 22
#: Text on the lower and on the upper part of the colour scale.
_ON_LOW, _ON_HIGH = "var(--on-low)", "var(--on-high)"
_ANY, _MUX = "any member right", "SLM-MUX"
_TERMS = {
    "union accuracy": ("var(--teal)", "diamond", "◆"),
    "objective O(S), λ = 1": ("var(--blue)", "circle", "●"),
    "contradiction": ("var(--wrong)", "x", "✖"),
}


def attribution(task: TaskAnswers) -> Chart:
    """Plot whose answer each method gave, and whether it was right."""
    if len(task.members) == 1:
        raise NotInTheRun("The pool has one member: every answer is its own.")
    fixed = ("single:", "self_consistency")  # always the same member's answer
    methods = [method for method in task.answers if not method.startswith(fixed)]
    if not methods:
        raise NotInTheRun("The run has no method that chooses among members.")
    counts = {
        method: Counter(
            (each.member, each.outcome)
            for each in task.answers[method].values()
            if each.member is not None
        )
        for method in methods
    }
    totals = {method: len(task.answers[method]) for method in methods}
    labels = [wrapped(task.title(method), 17) for method in methods]
    traces: list[Trace] = []
    for member in task.members:
        for outcome in ("right", "wrong"):
            found = [counts[method][member, outcome] for method in methods]
            pattern: dict[str, object] = (
                {}
                if outcome == "right"
                else {"pattern": {"shape": "/", "fillmode": "replace", "size": 6, "solidity": 0.4}}
            )
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "x": [
                        100 * count / totals[method]
                        for count, method in zip(found, methods, strict=True)
                    ],
                    "y": labels,
                    "marker": {
                        "color": member_look(task, member).color,
                        "line": {"color": "var(--surface)", "width": 1},
                        **pattern,
                    },
                    "hovertext": [
                        f"{plain(task.title(method))}<br>{plain(member)}'s answer, {outcome}: "
                        f"{count} of {totals[method]}"
                        for count, method in zip(found, methods, strict=True)
                    ],
                    "hoverinfo": "text",
                }
            )
    silent = [
        sum(each.member is None for each in task.answers[method].values()) for method in methods
    ]
    if any(silent):
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "x": [
                    100 * count / totals[method]
                    for count, method in zip(silent, methods, strict=True)
                ],
                "y": labels,
                "marker": {"color": OUTCOMES["no answer"]},
                "hovertext": [
                    f"no answer: {count} of {totals[m]}"
                    for count, m in zip(silent, methods, strict=True)
                ],
                "hoverinfo": "text",
            }
        )
    return Chart(
        title=f"Whose answer was chosen, n = {len(task.questions)} questions",
        note="Full colour: the answer chosen was right; hatched: it was wrong. Agent Forest "
        "credits the first member of the pool that gave the answer; a debate, the first agent.",
        traces=traces,
        layout={
            "barmode": "stack",
            "bargap": 0.35,
            "xaxis": axis("share of the questions, %", range=[0, 100.5]),
            "yaxis": axis("", autorange="reversed", type="category", showgrid=False),
        },
        legend=[
            *((member, member_look(task, member).color, "■") for member in task.members),
            *([("no answer", OUTCOMES["no answer"], "■")] if any(silent) else []),
        ],
        columns=("method", "member", "right", "wrong", "n"),
        rows=[
            [
                task.title(m),
                member,
                str(counts[m][member, "right"]),
                str(counts[m][member, "wrong"]),
                str(totals[m]),
            ]
            for m in methods
            for member in task.members
        ],
        height=110 + 46 * len(methods),
    )


def by_subtask(task: TaskAnswers) -> Chart:
    """Plot how often each member, any member and SLM-MUX are right on each sub-task."""
    if task.subtask_field is None:
        raise NotInTheRun("The task's questions have no sub-task to compare members by.")
    rows = task.mux
    subtasks = sorted({task.questions[question].subtask for question in rows})
    columns = [*task.members, _ANY, _MUX]
    cells = [[_cell(task, rows, subtask, column) for column in columns] for subtask in subtasks]
    labels = [plain(_short(column)) for column in columns]
    return Chart(
        title=f"Accuracy (%) of each member's plurality answer by {task.subtask_field}, "
        f"n = {len(rows)} questions",
        note="Members complement each other where one is strong on a row that another is weak on. "
        "Hover for n and 95 % interval.",
        traces=[
            {
                "type": "heatmap",
                "x": labels,
                "y": [wrapped(subtask, 22) for subtask in subtasks],
                "z": [[100 * cell.mean for cell in row] for row in cells],
                "zmin": 0,
                "zmax": 100,
                "colorscale": [
                    [0, "var(--heat-0)"],
                    [0.5, "var(--heat-50)"],
                    [1, "var(--heat-100)"],
                ],
                "xgap": 2,
                "ygap": 2,
                "showscale": False,
                "hovertext": [
                    [
                        f"{plain(column)}, {plain(subtask)}<br>{with_interval(cell)}<br>"
                        f"n = {cell.n}"
                        for column, cell in zip(columns, row, strict=True)
                    ]
                    for subtask, row in zip(subtasks, cells, strict=True)
                ],
                "hoverinfo": "text",
            },
            {
                "type": "scatter",
                "mode": "text",
                "x": [label for _ in subtasks for label in labels],
                "y": [wrapped(subtask, 22) for subtask in subtasks for _ in labels],
                "text": [f"{100 * cell.mean:.0f}" for row in cells for cell in row],
                "textfont": {
                    "size": 13,
                    "color": [
                        _ON_HIGH if cell.mean > 0.7 else _ON_LOW for row in cells for cell in row
                    ],
                },
                "hoverinfo": "skip",
            },
        ],
        layout={
            "margin": {"l": 56, "r": 56, "t": 80, "b": 16},
            "xaxis": axis("", type="category", side="top", showgrid=False, tickangle=-50),
            "yaxis": axis(
                task.subtask_field, type="category", autorange="reversed", showgrid=False
            ),
        },
        columns=("sub-task", "n", *(f"{column} %" for column in columns)),
        rows=[
            [subtask, str(row[0].n), *(cell.percent() for cell in row)]
            for subtask, row in zip(subtasks, cells, strict=True)
        ],
        height=170 + max(26, min(44, 900 // len(subtasks))) * len(subtasks),
    )


def by_size(task: TaskAnswers) -> Chart:
    """Plot union, contradiction and objective of the best subset of each size."""
    if len(task.members) == 1:
        raise NotInTheRun("The pool has one member: there are no subsets to compare.")
    record = task.record
    reported = np.flatnonzero([question in task.questions for question in record.questions])
    part = record.rows(reported).first(task.k)
    best = [
        search(part, [size], k=task.k, top=1).results[0] for size in range(1, len(part.members) + 1)
    ]
    n = len(part.questions)
    curves = {
        "union accuracy": [_share(each.union_accuracy, n) for each in best],
        "objective O(S), λ = 1": [_objective(each, n) for each in best],
        "contradiction": [_share(each.contradiction, n) for each in best],
    }
    names = [", ".join(each.members) for each in best]
    traces: list[Trace] = []
    for at, (term, estimates) in enumerate(curves.items()):
        color, symbol, _ = _TERMS[term]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [len(each.members) + 0.03 * (at - 1) for each in best],
                "y": [100 * each.mean for each in estimates],
                "error_y": error_bars(estimates, color),
                "line": {"color": color, "width": 1.5},
                "marker": {"color": color, "symbol": symbol, "size": 9},
                "hovertext": [
                    f"{term}<br>{plain(name)}<br>{with_interval(each)}<br>n = {n}"
                    for name, each in zip(names, estimates, strict=True)
                ],
                "hoverinfo": "text",
            }
        )
    return Chart(
        title=f"What more members gain, k = {task.k}, n = {n} questions",
        note="For each size the subset with the highest objective, union accuracy − contradiction. "
        "Union: some member's plurality answer is right. Contradiction: one is consistently wrong "
        "where another is right. Chosen on the same questions, so these in-sample figures describe "
        "the pool and promise nothing. Bars are 95 % intervals: Wilson's of shares, "
        "normal of O(S).",
        traces=traces,
        layout={
            "xaxis": axis("members", dtick=1, range=[0.8, len(best) + 0.2]),
            "yaxis": axis("share of the questions, %", range=_reach(curves.values())),
        },
        legend=[(term, color, sign) for term, (color, _, sign) in _TERMS.items()],
        columns=("members", "subset", "union %", "contradiction %", "O(S) %", "n"),
        rows=[
            [
                str(len(each.members)),
                name,
                percent(each.union_accuracy),
                percent(each.contradiction),
                percent(each.objective),
                str(n),
            ]
            for each, name in zip(best, names, strict=True)
        ],
    )


def _reach(curves: Iterable[Sequence[Estimate]]) -> list[float]:
    """Return an axis from 0 to 100 %, and as far beyond as a bar goes: O(S) may be negative."""
    shown = [each for estimates in curves for each in estimates]
    low, high = min(each.low for each in shown), max(each.high for each in shown)
    return [100 * min(0.0, low) - 3, 100 * max(1.0, high) + 3]


def _short(member: str) -> str:
    """Shorten a member's name, without its publisher's, for a narrow place."""
    name = member.rpartition("/")[2]
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


def _cell(task: TaskAnswers, rows: dict[str, Answered], subtask: str, column: str) -> Estimate:
    asked = [
        answered
        for question, answered in rows.items()
        if task.questions[question].subtask == subtask
    ]
    if column in task.members:
        return accuracy([float(column in _right(answered)) for answered in asked])
    return accuracy(
        [float(answered.right if column == _MUX else bool(_right(answered))) for answered in asked]
    )


def _right(answered: Answered) -> set[str]:
    """The members whose plurality answer, listed first in a ballot, is right."""
    return {
        ballot["member"]
        for ballot in answered.ballots
        if ballot["answers"] and ballot["answers"][0]["score"] >= 1
    }


def _share(value: float, n: int) -> Estimate:
    """Estimate a share of n questions, with Wilson's interval."""
    count = round(value * n)
    return accuracy([1.0] * count + [0.0] * (n - count))


def _objective(subset: Subset, n: int) -> Estimate:
    half = Z95 * subset.stderr
    return Estimate(subset.objective, subset.objective - half, subset.objective + half, n)
