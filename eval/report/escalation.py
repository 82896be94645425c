"""The chart of accuracy against the share of the questions that a large model is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dspy_mux.replay.escalation import Escalated
from dspy_mux.replay.intervals import Estimate, accuracy
from dspy_mux.replay.risk import EscalationFigures, Needed
from dspy_mux.replay.threshold import Judged

from ..runs.schema import LARGE
from .look import (
    INK,
    QUIET,
    Chart,
    Trace,
    axis,
    error_bars,
    method_look,
    percent,
    plain,
    with_interval,
)
from .read import Answered, NotInTheRun, TaskAnswers

#: What the ids of methods that ask the large model begin with.
_ESCALATED = "escalated:"
#: The part of the large model's accuracy that is to be reached.
_PART = 0.95


@dataclass(frozen=True)
class _Curve:
    """A method's answers, handed to the large model from the least sure up.

    Attributes:
        method: the id of the method that escalates.
        found: the figures at its threshold, and at every share.
        at_threshold: its accuracy there.
    """

    method: str
    found: EscalationFigures
    at_threshold: Estimate

    @property
    def needed(self) -> Needed:
        return self.found.needed(_PART)


def by_share(task: TaskAnswers) -> Chart:
    """Plot accuracy against the share escalated, beside random escalation and an oracle."""
    large = task.of(LARGE)
    curves = [
        _curve(task, method, large) for method in task.answers if method.startswith(_ESCALATED)
    ]
    if not curves:
        raise NotInTheRun("The run has no method that escalates to its large model.")
    first, alone = curves[0].found, accuracy([float(each.right) for each in large.values()])
    traces: list[Trace] = [
        _line([0, 100], [100 * first.accuracy_large] * 2, INK, "dot"),
        *(trace for curve in curves for trace in _traces(task, curve)),
    ]
    name = next(iter(large.values())).member or task.title(LARGE)
    return Chart(
        title=f"Accuracy against the share escalated, n = {len(large)} questions",
        note="The least sure questions go to the large model, those without an answer first; it "
        "counts by one answer each. Dashed: as many at random. Thin: an oracle, which only someone "
        "with the answers can be. Shares are read off questions that chose nothing. A triangle "
        "marks the threshold that was chosen on validation.",
        traces=traces,
        layout={
            "xaxis": axis("asked of the large model, %", range=[-2, 102]),
            "yaxis": axis("accuracy, %"),
        },
        legend=[
            *(
                (
                    task.title(curve.method),
                    method_look(task, curve.method).color,
                    method_look(task, curve.method).sign,
                )
                for curve in curves
            ),
            (f"{name} alone, {with_interval(alone)}", INK, "┄"),
            ("as many at random", QUIET, "╌"),
            ("oracle", QUIET, "─"),
        ],
        columns=(
            "method",
            "asked at the threshold %",
            "accuracy there %",
            "highest accuracy %",
            f"asked for {100 * _PART:g} % of the large model's (95 % interval)",
            "at random",
        ),
        rows=[_row(task, curve) for curve in curves],
        height=440,
    )


def _curve(task: TaskAnswers, method: str, large: dict[str, Answered]) -> _Curve:
    """Return the curve of a method that escalates, over the questions that both were asked."""
    rows = {name: row for name, row in task.answers[method].items() if name in large}
    if not rows:
        raise NotInTheRun("No question has answers of the pool and of the large model.")
    sure = [math.nan if row.confidence is None else row.confidence for row in rows.values()]
    right = np.array([(row.pool_score or 0.0) >= 1 for row in rows.values()])
    judged = Judged(np.array(sure), ~np.isnan(sure) & ~right)
    theirs = np.array([float(large[name].right) for name in rows])
    answers = Escalated(judged, theirs)
    scores = [float(row.right) for row in rows.values()]
    asked = [row.escalated for row in rows.values()]
    return _Curve(
        method,
        EscalationFigures(
            large=str(task.methods[method]["settings"]["large"]),
            share=float(np.mean(asked)),
            accuracy=float(np.mean(scores)),
            accuracy_large=float(theirs.mean()),
            curve=answers.curve(),
            answers=[answers],
            tested=[np.arange(len(rows))],
        ),
        accuracy(scores),
    )


def _line(x: Sequence[float], y: Sequence[float], color: str, dash: str, width: float = 1) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": list(y),
        "line": {"color": color, "width": width, "dash": dash},
        "hoverinfo": "skip",
    }


def _traces(task: TaskAnswers, curve: _Curve) -> list[Trace]:
    """Return the curve of a method, its random escalation and oracle, and the mark."""
    look, found = method_look(task, curve.method), curve.found
    name, shares = plain(task.title(curve.method)), [100 * point.share for point in found.curve]
    by_doubt = _line(
        shares, [100 * point.accuracy for point in found.curve], look.color, "solid", 1.8
    )
    by_doubt["hoverinfo"] = "text"
    by_doubt["hovertext"] = [
        f"{name}<br>{100 * point.share:.0f} % asked: {percent(point.accuracy)} % right<br>"
        f"at random {percent(point.random)} %, oracle {percent(point.oracle)} %"
        for point in found.curve
    ]
    mark: Trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [100 * found.share],
        "y": [100 * curve.at_threshold.mean],
        "error_y": error_bars([curve.at_threshold], look.color),
        "marker": {"color": look.color, "symbol": look.symbol, "size": 11},
        "hovertext": f"{name} on {percent(found.share)} %<br>{with_interval(curve.at_threshold)}",
        "hoverinfo": "text",
    }
    return [
        _line(shares, [100 * point.random for point in found.curve], look.color, "dash", 0.8),
        _line(shares, [100 * point.oracle for point in found.curve], look.color, "solid", 0.6),
        by_doubt,
        mark,
    ]


def _row(task: TaskAnswers, curve: _Curve) -> list[str]:
    found, needed = curve.found, curve.needed
    best = max(found.curve, key=lambda point: point.accuracy)
    share = (
        "never"
        if math.isnan(needed.share)
        else f"{percent(needed.share)} ({percent(needed.low)} – {percent(min(needed.high, 1.0))})"
    )
    return [
        task.title(curve.method),
        percent(found.share),
        f"{curve.at_threshold.percent()} ({curve.at_threshold.interval()})",
        f"{percent(best.accuracy)} at {percent(best.share)}",
        share,
        percent(needed.random) if not math.isnan(needed.random) else "never",
    ]
