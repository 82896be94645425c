"""The chart of risk against coverage: how many wrong answers there are among the surest."""

from __future__ import annotations

import math

from dspy_mux.replay.decisions import rules_for
from dspy_mux.replay.risk import Risk, risk
from dspy_mux.replay.splits import by_field

from ..runs.schema import VALIDATION
from .look import QUIET, Chart, Trace, axis, method_look, percent, plain
from .read import NotInTheRun, TaskAnswers

#: The promise whose threshold is marked.
MAX_RISK, CONFIDENCE = 0.1, 0.9
#: How often the reported questions are halved, to choose the threshold and to count.
_HALVINGS = 4
_METHODS = {
    "consistency": "slm_mux",
    "pooled": "agent_forest",
    "probability": "probability",
    "calibrated": "calibrated",
}


def by_coverage(task: TaskAnswers) -> Chart:
    """Plot the share of wrong answers among the surest, at each share answered."""
    record = task.record
    splits = by_field(record, "split", VALIDATION, task.split)
    rules = [rule for rule in rules_for(record) if _METHODS.get(rule) in task.answers]
    if not rules or len(splits[0].test) < 2:
        raise NotInTheRun(
            "Risk against coverage needs two questions, and SLM-MUX, Agent Forest, or the rule by "
            "probability or the calibrated one."
        )
    curves = {
        rule: risk(
            record,
            rule,
            max_risk=MAX_RISK,
            confidence=CONFIDENCE,
            splits=splits,
            repeats=_HALVINGS,
        )
        for rule in rules
    }
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [0, 100],
            "y": [100 * MAX_RISK] * 2,
            "line": {"color": QUIET, "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
        }
    ]
    for rule, found in curves.items():
        traces += _traces(task, rule, found)
    first = next(iter(curves.values()))
    highest = max([MAX_RISK, *(point.risk for each in curves.values() for point in each.curve)])
    return Chart(
        title=f"Risk against coverage, n = {first.n_calibration + first.n_test} questions",
        note="The least sure questions are left unanswered, from the right to the left. Bands are "
        "95 % intervals. A diamond marks the threshold from which on at most "
        f"{100 * MAX_RISK:g} % of the answers are wrong, with {100 * CONFIDENCE:g} % confidence, "
        "if the questions to come are like these; it is chosen on one half of the questions and "
        "marked on the other.",
        traces=traces,
        layout={
            "xaxis": axis("answered, %", range=[0, 103]),
            # Bands of the few surest answers are wide, and would press the curves flat.
            "yaxis": axis("wrong among the answered, %", range=[-1, 160 * highest]),
        },
        legend=[
            *(
                (
                    task.title(_METHODS[rule]),
                    method_look(task, _METHODS[rule]).color,
                    method_look(task, _METHODS[rule]).sign,
                )
                for rule in curves
            ),
            (f"at most {100 * MAX_RISK:g} % wrong", QUIET, "┄"),
        ],
        columns=("method", "threshold", "answered %", "wrong %", "promise"),
        rows=[
            [
                task.title(_METHODS[rule]),
                "none" if found.threshold is None else f"{found.threshold:.6g}",
                percent(found.coverage),
                "–" if math.isnan(found.risk) else percent(found.risk),
                found.promise,
            ]
            for rule, found in curves.items()
        ],
    )


def _traces(task: TaskAnswers, rule: str, found: Risk) -> list[Trace]:
    """Return a rule's curve, its band, and the mark of its threshold."""
    look, points = method_look(task, _METHODS[rule]), found.curve
    if not points:
        return []
    coverages = [100 * point.coverage for point in points]
    name = plain(task.title(_METHODS[rule]))
    traces: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [*coverages, *reversed(coverages)],
            "y": [
                *(100 * point.high for point in points),
                *(100 * point.low for point in reversed(points)),
            ],
            "fill": "toself",
            "fillcolor": look.color,
            "opacity": 0.12,
            "line": {"width": 0},
            "hoverinfo": "skip",
        },
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": coverages,
            "y": [100 * point.risk for point in points],
            "line": {"color": look.color, "width": 1.5},
            "marker": {"color": look.color, "symbol": look.symbol, "size": 4},
            "hovertext": [
                f"{name}<br>{percent(point.coverage)} % answered<br>{percent(point.risk)} % wrong "
                f"({percent(point.low)} – {percent(point.high)})"
                for point in points
            ],
            "hoverinfo": "text",
        },
    ]
    if found.marked:
        at = min(points, key=lambda point: abs(point.coverage - (found.marked or 0.0)))
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [100 * found.marked],
                "y": [100 * at.risk],
                "marker": {"color": look.color, "symbol": "diamond", "size": 11},
                "hovertext": f"{name}<br>confidence {found.threshold:.6g} or more",
                "hoverinfo": "text",
            }
        )
    return traces
