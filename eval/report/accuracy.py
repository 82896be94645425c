"""Charts of accuracy: against calls, against confidence, and against draws per member."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dspy_mux.bank.record import Record
from dspy_mux.replay.decisions import rules_for
from dspy_mux.replay.intervals import Estimate, accuracy
from dspy_mux.replay.replay import Result, replay
from dspy_mux.replay.splits import by_field

from ..runs.schema import VALIDATION
from ..tables.comparison import UNION, Line
from .look import QUIET, Chart, Trace, axis, error_bars, method_look, percent, plain, with_interval
from .read import NotInTheRun, TaskAnswers

#: Methods whose confidence says something about the answer.
_CONFIDENT = ("slm_mux", "agent_forest", "probability", "calibrated")
#: Up to this many distinct confidences have a bin each; more are grouped into tenths.
_MOST_VALUES = 10
#: Distance in decades between points of equal calls, which stand side by side.
_APART = 0.028
_BY_K = {
    "consistency": "slm_mux",
    "pooled": "agent_forest",
    "probability": "probability",
    "self_consistency": "self_consistency",
}


def by_calls(task: TaskAnswers, lines: Sequence[Line]) -> Chart:
    """Plot accuracy against LM calls per question, with the Pareto front."""
    methods = [line for line in lines if line.method != UNION and line.calls > 0]
    if not methods:
        raise NotInTheRun("No method of this run has a count of its calls.")
    places = _side_by_side([line.calls for line in methods])
    front = _front([(line.calls, line.accuracy.mean) for line in methods])
    at_front = [(places[index], 100 * methods[index].accuracy.mean) for index in front]
    last = max(places) * 1.15
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [*(x for x, _ in at_front), last],
            "y": [*(y for _, y in at_front), at_front[-1][1]],
            "line": {"shape": "hv", "color": QUIET, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    order = sorted(range(len(methods)), key=lambda index: -methods[index].accuracy.mean)
    for index in order:
        line, look = methods[index], method_look(task, methods[index].method)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [places[index]],
                "y": [100 * line.accuracy.mean],
                "error_y": error_bars([line.accuracy], look.color),
                "marker": {
                    "color": look.color,
                    "symbol": look.symbol,
                    "size": 11,
                    "line": {"width": 2, "color": look.color},
                },
                "hovertext": f"{plain(line.title)}<br>{with_interval(line.accuracy)}<br>"
                f"{line.calls:.1f} calls a question, n = {line.accuracy.n}",
                "hoverinfo": "text",
            }
        )
    listed = [(methods[index], index in front) for index in order]
    return Chart(
        title=f"Accuracy against LM calls, n = {len(task.questions)} questions",
        note="Bars are 95 % intervals (Wilson). The dotted line is the Pareto front: no method on "
        "fewer calls is as accurate. Methods with equal calls stand side by side. The scale of "
        "calls is logarithmic.",
        traces=traces,
        layout={
            "xaxis": axis(
                "LM calls per question",
                type="log",
                tickvals=_ticks(places),
                ticktext=[str(v) for v in _ticks(places)],
            ),
            "yaxis": axis("accuracy, %"),
        },
        legend=[
            *(
                (
                    line.title,
                    method_look(task, line.method).color,
                    method_look(task, line.method).sign,
                )
                for line, _ in listed
            ),
            ("Pareto front", QUIET, "┄"),
        ],
        columns=("method", "calls a question", "accuracy %", "interval, 95 %", "n", "on the front"),
        rows=[
            [
                line.title,
                f"{line.calls:.1f}",
                line.accuracy.percent(),
                line.accuracy.interval(),
                str(line.accuracy.n),
                "yes" * on,
            ]
            for line, on in listed
        ],
        height=440,
    )


@dataclass(frozen=True)
class Bin:
    """Answers of similar confidence; `place` is the middle of the bin."""

    place: float
    confidence: float
    accuracy: Estimate


def by_confidence(task: TaskAnswers) -> Chart:
    """Plot how often answers of each confidence are right: reliability curves."""
    bins = {method: found for method in _CONFIDENT if (found := _bins(task, method))}
    if not bins:
        raise NotInTheRun(
            "No answer of this run has a confidence: it needs SLM-MUX, Agent Forest, or the rule "
            "by probability or the calibrated one."
        )
    if all(len(found) == 1 for found in bins.values()) and task.k == 1 and len(task.members) == 1:
        raise NotInTheRun("With one draw of one member every answer has the same confidence.")
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, 1],
            "y": [0, 100],
            "line": {"color": QUIET, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    for row, (method, found) in enumerate(bins.items()):
        look = method_look(task, method)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [each.confidence for each in found],
                "y": [100 * each.accuracy.mean for each in found],
                "error_y": error_bars([each.accuracy for each in found], look.color),
                "line": {"color": look.color, "width": 1.5},
                "marker": {"color": look.color, "symbol": look.symbol, "size": 9},
                "hovertext": [
                    f"{plain(task.title(method))}<br>confidence {each.confidence:.2f}<br>"
                    f"right {with_interval(each.accuracy)}<br>n = {each.accuracy.n}"
                    for each in found
                ],
                "hoverinfo": "text",
            }
        )
        traces.append(
            {
                "type": "scatter",
                "mode": "text",
                "x": [each.place for each in found],
                "y": [len(bins) - row] * len(found),
                "text": [str(each.accuracy.n) for each in found],
                "textfont": {"color": look.color, "size": 11},
                "yaxis": "y2",
                "hoverinfo": "skip",
            }
        )
    strip = 0.06 * len(bins)
    signs = [method_look(task, method).sign for method in bins]
    return Chart(
        title=f"Accuracy by confidence, n = {len(task.questions)} questions",
        note="Confidence is the winning answer's share of the draws; by probability, what the "
        "models gave the answer in the mean; for the calibrated rule, a fitted probability. On the "
        "dotted diagonal it equals the chance of being right; below it the method is "
        "overconfident. Bars are 95 % intervals (Wilson); the numbers under the curve are "
        "questions in each bin.",
        traces=traces,
        layout={
            "xaxis": axis("confidence (0 to 1)", range=[-0.03, 1.05], anchor="y2"),
            "yaxis": axis("answers that are right, %", range=[-3, 103], domain=[strip + 0.06, 1]),
            "yaxis2": axis(
                "n",
                range=[0.4, len(bins) + 0.6],
                domain=[0, strip],
                tickvals=list(range(len(bins), 0, -1)),
                ticktext=signs,
                showgrid=False,
            ),
        },
        legend=[
            *(
                (
                    task.title(method),
                    method_look(task, method).color,
                    method_look(task, method).sign,
                )
                for method in bins
            ),
            ("as sure as right", QUIET, "┄"),
        ],
        columns=("method", "mean confidence", "right %", "interval, 95 %", "n"),
        rows=[
            [
                task.title(method),
                f"{each.confidence:.2f}",
                each.accuracy.percent(),
                each.accuracy.interval(),
                str(each.accuracy.n),
            ]
            for method, found in bins.items()
            for each in found
        ],
        height=480,
    )


def by_draws(task: TaskAnswers) -> Chart:
    """Plot accuracy against k, replayed from the run's draws."""
    record = task.record
    if record.votes.shape[2] == 1:
        raise NotInTheRun("With one draw a member (k = 1) there is nothing to plot against k.")
    curves = {
        rule: _replayed(task, record, rule)
        for rule in _BY_K
        if rule in rules_for(record) and (len(record.members) > 1 or rule == "consistency")
    }
    traces: list[Trace] = []
    for at, (rule, results) in enumerate(curves.items()):
        look = method_look(task, _BY_K[rule])
        estimates = [_estimate(result) for result in results]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [result.k + 0.05 * (at - (len(curves) - 1) / 2) for result in results],
                "y": [100 * result.accuracy for result in results],
                "error_y": error_bars(estimates, look.color),
                "line": {"color": look.color, "width": 1.5},
                "marker": {"color": look.color, "symbol": look.symbol, "size": 9},
                "hovertext": [
                    f"{plain(_RULE_TITLES[rule])}, k = {result.k}<br>{with_interval(each)}<br>"
                    f"{result.calls_per_question:.1f} calls a question, n = {result.questions}"
                    for result, each in zip(results, estimates, strict=True)
                ],
                "hoverinfo": "text",
            }
        )
    n = next(iter(curves.values()))[0].questions
    return Chart(
        title=f"Accuracy against draws per member, n = {n} questions",
        note="Replayed from the same draws; where fewer are used than recorded, a mean over random "
        "choices of them. Members are measured on validation questions. Bars are 95 % "
        "intervals over questions (Wilson).",
        traces=traces,
        layout={"xaxis": axis("draws per member (k)", dtick=1), "yaxis": axis("accuracy, %")},
        legend=[
            (_RULE_TITLES[rule], (look := method_look(task, _BY_K[rule])).color, look.sign)
            for rule in curves
        ],
        columns=("method", "k", "accuracy %", "interval, 95 %", "n", "calls a question"),
        rows=[
            [
                _RULE_TITLES[rule],
                str(result.k),
                percent(result.accuracy),
                f"{percent(result.ci95[0])} – {percent(result.ci95[1])}",
                str(result.questions),
                f"{result.calls_per_question:.1f}",
            ]
            for rule, results in curves.items()
            for result in results
        ],
    )


_RULE_TITLES = {
    "consistency": "SLM-MUX",
    "pooled": "Agent Forest",
    "probability": "SLM-MUX, by probability",
    "self_consistency": "self-consistency of the best member",
}


def _replayed(task: TaskAnswers, record: Record, rule: str) -> list[Result]:
    splits = by_field(record, "split", VALIDATION, task.split)
    return [replay(record, rule, k=k, splits=splits) for k in range(1, record.votes.shape[2] + 1)]


def _estimate(result: Result) -> Estimate:
    return Estimate(result.accuracy, result.ci95[0], result.ci95[1], result.questions)


def _side_by_side(calls: Sequence[float]) -> list[float]:
    """Positions on a logarithmic axis; points of equal calls (to a tenth) are set apart."""
    groups: dict[float, list[int]] = defaultdict(list)
    for index, value in enumerate(calls):
        groups[round(value, 1)].append(index)
    places = [0.0] * len(calls)
    for group in groups.values():
        for at, index in enumerate(group):
            places[index] = calls[index] * 10 ** (_APART * (at - (len(group) - 1) / 2))
    return places


def _front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (calls, accuracy) on the Pareto front, by calls."""
    front: list[int] = []
    for index in sorted(
        range(len(points)), key=lambda index: (points[index][0], -points[index][1])
    ):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def _ticks(places: Sequence[float]) -> list[int]:
    low, high = min(places) / 1.2, max(places) * 1.2
    steps = [step * 10**decade for decade in range(6) for step in (1, 2, 3, 5)]
    inside = [value for value in steps if low <= value <= high]
    return inside or [math.ceil(low)]


def _bins(task: TaskAnswers, method: str) -> list[Bin]:
    answers = [
        each for each in task.answers.get(method, {}).values() if each.confidence is not None
    ]
    values = {round(each.confidence or 0.0, 6) for each in answers}
    groups: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for each in answers:
        confidence = each.confidence or 0.0
        place = (
            round(confidence, 6)
            if len(values) <= _MOST_VALUES
            else min(int(confidence * 10), 9) / 10 + 0.05
        )
        groups[place].append((confidence, float(each.right)))
    return [
        Bin(
            place,
            float(np.mean([confidence for confidence, _ in group])),
            accuracy([right for _, right in group]),
        )
        for place, group in sorted(groups.items())
    ]
