"""Write the page: what was measured, the table, the charts and the list of questions."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from dspy_mux.cli.output import check_page, write_page
from dspy_mux.errors import ConfigurationError, MuxError
from dspy_mux.notebook import escaped
from dspy_mux.optimize.figure_page import SCROLL
from dspy_mux.optimize.figure_style import plotly
from dspy_mux.replay.intervals import Estimate, mcnemar, paired_difference
from dspy_mux.text import visible

from ..runs.folder import Run
from ..runs.schema import LARGE, MUX
from ..tables.comparison import COLUMNS, UNION, Comparison, Line
from ..tables.text import signed
from . import accuracy, escalation, flows, members, questions, risk
from .look import Chart
from .read import NotInTheRun, TaskAnswers, read

_HERE = Path(__file__).parent
#: The sections of charts: id, heading, and the function that makes the chart. That of escalation
#: is for runs with a large model.
_SECTIONS: Sequence[tuple[str, str, Callable[[TaskAnswers, Sequence[Line]], Chart]]] = (
    ("calls", "Accuracy and cost", accuracy.by_calls),
    ("confidence", "Confidence", lambda task, lines: accuracy.by_confidence(task)),
    ("risk", "Risk and coverage", lambda task, lines: risk.by_coverage(task)),
    ("escalation", "Escalation", lambda task, lines: escalation.by_share(task)),
    ("attribution", "Attribution", lambda task, lines: members.attribution(task)),
    ("subtasks", "Sub-tasks", lambda task, lines: members.by_subtask(task)),
    ("sizes", "Members", lambda task, lines: members.by_size(task)),
    ("draws", "Draws", lambda task, lines: accuracy.by_draws(task)),
    ("debate", "Debate", lambda task, lines: flows.debate(task)),
    ("layers", "Mixture-of-Agents", lambda task, lines: flows.layers(task)),
)


def write(run_folder: Path, out: Path) -> None:
    """Write the report of a run to one HTML file that loads nothing from outside.

    Raises:
        ConfigurationError: the folder is not a run, has no answers yet, or `out` cannot be written.
        MissingExtra: plotly is not installed.
    """
    check_page(out)
    run = Run.open(run_folder)
    plotly()
    tasks = read(run)
    if not tasks:
        raise ConfigurationError(
            f"The run {str(run_folder)!r} has no answers yet: `python -m eval compare` adds them."
        )
    write_page(out, _page(run, tasks))


def _page(run: Run, tasks: Sequence[TaskAnswers]) -> str:
    from plotly.offline import get_plotlyjs

    comparison = Comparison.of(run)
    lines = comparison.tasks()
    escalates = any(LARGE in task.answers for task in tasks)
    sections = [section for section in _SECTIONS if escalates or section[0] != "escalation"]
    charts = {
        visible(task.name): {
            name: _chart(make, task, lines[task.name]) for name, _, make in sections
        }
        for task in tasks
    }
    listed = {visible(task.name): questions.list_questions(task) for task in tasks}
    names = ", ".join(task.name for task in tasks)
    parts = {
        "title": escaped(f"dspy-mux: methods compared on {names}"),
        "style": SCROLL + _asset("page.css"),
        "heading": escaped(f"Methods compared on {names}"),
        "measured": escaped(_measured(run.manifest, tasks)),
        "headlines": "".join(
            f"<p class='headline'>{escaped(sentence)}</p>" for sentence in map(_headline, tasks)
        ),
        "facts": _facts(run.manifest),
        "notes": "".join(
            f"<li>{escaped(note)}</li>" for note in [comparison.caption, *comparison.notes]
        ),
        "tables": "".join(_table(task.name, lines[task.name]) for task in tasks),
        "tasks": "".join(f"<option>{escaped(task.name)}</option>" for task in tasks),
        "one_task": "hidden" if len(tasks) == 1 else "",
        "links": "".join(
            f"<li><a href='#{name}'>{escaped(heading)}</a></li>" for name, heading, _ in sections
        ),
        "sections": "".join(
            f"<section id='{name}' aria-labelledby='{name}-heading'>"
            f"<h2 id='{name}-heading'>{escaped(heading)}</h2></section>"
            for name, heading, _ in sections
        ),
        "charts": _embedded(charts),
        "questions": _embedded(listed),
        "plotly": get_plotlyjs(),
        "script": _asset("charts.js") + _asset("questions.js"),
    }
    return Template(_asset("page.html")).substitute(parts)


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _embedded(value: object) -> str:
    """Return JSON for a script element: ASCII, without anything that HTML takes for a tag."""
    return (
        json.dumps(value, ensure_ascii=True, separators=(",", ":"))
        .replace("<", "\\u003c")
        .replace(">", "\\u003e")
    )


def _chart(
    make: Callable[[TaskAnswers, Sequence[Line]], Chart], task: TaskAnswers, lines: Sequence[Line]
) -> dict[str, object]:
    """The chart, or the reason why there is none."""
    try:
        return make(task, lines).as_dict()
    except (NotInTheRun, MuxError) as reason:
        return {"reason": visible(str(reason))}


def _measured(manifest: Mapping[str, Any], tasks: Sequence[TaskAnswers]) -> str:
    pool = ", ".join(member["name"] for member in manifest["pool"])
    asked = " and ".join(f"{len(task.questions)} questions of {task.name}" for task in tasks)
    of = (
        f"a pool of {len(manifest['pool'])} members ({pool})"
        if len(manifest["pool"]) > 1
        else f"one member ({pool})"
    )
    methods = len({method for task in tasks for method in task.answers})
    return (
        f"{methods} methods over {of} answered {asked} (split {manifest['split']}), with "
        f"k = {manifest['k']} draws a member at temperature {manifest['temperature']:g}."
    )


def _headline(task: TaskAnswers) -> str:
    """Compare SLM-MUX with the best member's self-consistency, in a sentence."""
    if MUX not in task.answers:
        return f"On {task.name} this run has no answers of SLM-MUX to compare others with."
    mux, other = task.answers[MUX], task.answers.get("self_consistency", {})
    share = sum(each.score for each in mux.values()) / len(mux)
    sentence = f"On {task.name} SLM-MUX answers {100 * share:.1f} % right (n = {len(mux)})"
    both = [question for question in mux if question in other]
    if not both or len(task.members) == 1:
        return f"{sentence}."
    ours, theirs = (
        [mux[question].score for question in both],
        [other[question].score for question in both],
    )
    gap, p = paired_difference(ours, theirs), mcnemar(ours, theirs)
    tested = "" if p is None else f", McNemar p {'< 0.001' if p < 0.001 else f'= {p:.3f}'}"
    more = "more" if gap.mean >= 0 else "fewer"
    return (
        f"{sentence}, {abs(100 * gap.mean):.1f} points {more} than self-consistency of its best "
        f"member (95 % interval {signed(gap.low)} to {signed(gap.high)}, paired{tested}): "
        f"{_significance(gap)}."
    )


def _significance(gap: Estimate) -> str:
    if math.isnan(gap.low):
        return "too few questions to judge"
    clear = gap.low > 0 or gap.high < 0
    return "more than chance would give" if clear else "no more than chance could give"


def _facts(manifest: Mapping[str, Any]) -> str:
    facts = {
        "command": manifest["command"],
        "made": manifest["created"],
        "versions": ", ".join(f"{name} {value}" for name, value in manifest["versions"].items()),
        "seed": manifest["seed"],
        "members": "; ".join(f"{member['name']}: {member['model']}" for member in manifest["pool"]),
    }
    return "".join(
        f"<div><dt>{name}</dt><dd>{escaped(value)}</dd></div>" for name, value in facts.items()
    )


def _table(task: str, lines: Sequence[Line]) -> str:
    head = "".join(f"<th scope='col'{_kind(name)}>{escaped(name)}</th>" for name in COLUMNS)
    body = "".join(_row(line) for line in lines)
    n = max(line.accuracy.n for line in lines)
    caption = (
        f"{escaped(task)}, n = {n} questions; calls, tokens, cost and seconds are per question; "
        "intervals are Wilson's<span class='hint'>. Scroll sideways for all columns →</span>"
    )
    return (
        f"<div class='scroll' tabindex='0' role='region' "
        f"aria-label='{escaped(task)}, table of methods'><table class='methods'>"
        f"<caption><span>{caption}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _kind(column: str) -> str:
    return "" if column in ("method", "interval, 95 %") else " class='number'"


def _row(line: Line) -> str:
    cells = []
    for name, text in zip(COLUMNS, line.cells(), strict=True):
        if name == "method":
            cells.append(f"<th scope='row'>{escaped(text)}</th>")
        elif name == "interval, 95 %":
            cells.append(
                f"<td class='between'>{_interval(line.accuracy)}<span>{escaped(text)}</span></td>"
            )
        else:
            cells.append(f"<td{_kind(name)}>{escaped(text)}</td>")
    its_class = "mux" if line.method == MUX else "bound" if line.method == UNION else ""
    return f"<tr class='{its_class}'>{''.join(cells)}</tr>"


def _interval(estimate: Estimate) -> str:
    """The interval on a scale from 0 to 100 %."""
    if math.isnan(estimate.low):
        return ""
    low, high, mean = (100 * value for value in (estimate.low, estimate.high, estimate.mean))
    return (
        f"<span class='interval' aria-hidden='true'>"
        f"<i style='left:{low:.1f}%;width:{high - low:.1f}%'></i>"
        f"<b style='left:{mean:.1f}%'></b></span>"
    )
