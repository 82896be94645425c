"""Plotly figures of scaling curves, trials and stopping curves (the `report` extra)."""

from __future__ import annotations

import html
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import extra_module
from ..notebook import escaped
from ..text import visible

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..replay.stopping_curve import StoppingPoint
    from .scaling import Point, Scaling
    from .tuned import Curve, Tuned


def scaling_figures(scaling: Scaling) -> list[go.Figure]:
    """Plot accuracy against members and against draws, with 95 % intervals."""
    return [
        _scaling_figure(scaling.by_members, "size", "members"),
        _scaling_figure(scaling.by_draws, "k", "draws per member (k)"),
    ]


def _scaling_figure(points: Sequence[Point], along: str, label: str) -> go.Figure:
    """Plot each rule's accuracy, the union and the contradiction against a field of the points."""
    figure = plotly().Figure()
    for rule in dict.fromkeys(point.rule for point in points):
        line = [point for point in points if point.rule == rule]
        figure.add_scatter(
            name=plain(rule),
            x=[getattr(point, along) for point in line],
            y=[100 * point.accuracy for point in line],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [100 * (point.high - point.accuracy) for point in line],
                "arrayminus": [100 * (point.accuracy - point.low) for point in line],
            },
        )
    first = [point for point in points if point.rule == points[0].rule]
    for name, of in (("some member right", "union_accuracy"), ("contradicted", "contradiction")):
        figure.add_scatter(
            name=name,
            x=[getattr(point, along) for point in first],
            y=[100 * getattr(point, of) for point in first],
            line={"dash": "dot"},
        )
    figure.update_xaxes(dtick=1)
    n = points[0].questions
    return titled(
        figure, f"Accuracy against {label} (n = {n}, 95 % intervals)", label, "accuracy (%)"
    )


def curve_figure(curve: Curve, questions: int) -> go.Figure:
    """Plot accuracy against calls, a line a rule; solid where it reads evidence."""
    figure = plotly().Figure()
    for label in dict.fromkeys(point.plan.label for point in curve.points):
        line = [point for point in curve.points if point.plan.label == label]
        figure.add_scatter(
            name=plain(label),
            x=[point.calls_per_question for point in line],
            y=[100 * point.accuracy for point in line],
            text=[f"k = {point.plan.draws}" for point in line],
            mode="lines+markers",
            line={"dash": "solid" if line[0].plan.evidence else "dot"},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [100 * (point.high - point.accuracy) for point in line],
                "arrayminus": [100 * (point.accuracy - point.low) for point in line],
            },
        )
    return titled(
        figure,
        f"Accuracy against calls (n = {questions}, 95 % intervals)",
        "calls per question",
        "accuracy (%)",
    )


def trials_figure(tuned: Tuned) -> go.Figure:
    """Plot every trial's accuracy against its calls per question."""
    figure = plotly().Figure()
    for rule in dict.fromkeys(trial["rule"] for trial in tuned.trials):
        line = [trial for trial in tuned.trials if trial["rule"] == rule]
        figure.add_scatter(
            name=plain(rule),
            mode="markers",
            x=[trial["calls_per_question"] for trial in line],
            y=[100 * trial["value"] for trial in line],
            text=[plain(f"{', '.join(trial['members'])}; k={trial['k']}") for trial in line],
        )
    return titled(
        figure, f"Trials (n = {tuned.questions} questions)", "calls per question", "accuracy (%)"
    )


def stopping_figure(points: Sequence[StoppingPoint]) -> go.Figure:
    """Plot the early-stopping rule's accuracy against its calls, one point per bound."""
    figure = plotly().Figure()
    figure.add_scatter(
        x=[point.calls_per_question for point in points],
        y=[100 * point.accuracy for point in points],
        text=[f"bound {point.bound:g}" for point in points],
        mode="lines+markers",
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * (point.high - point.accuracy) for point in points],
            "arrayminus": [100 * (point.accuracy - point.low) for point in points],
        },
    )
    n = points[0].questions
    return titled(
        figure,
        f"Early stopping: accuracy against calls (n = {n}, 95 % intervals)",
        "calls per question",
        "accuracy (%)",
    )


def page(title: str, sections: Sequence[tuple[str, Sequence[go.Figure]]]) -> str:
    """Return one self-contained HTML page with each section's figures under its heading."""
    parts = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escaped(title)}</title>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        "<body style='font-family: sans-serif'>",
    ]
    with_plotly = True  # the library is embedded once, before the first figure
    for heading, figures in sections:
        parts.append(f"<h2>{escaped(heading)}</h2>")
        for figure in figures:
            parts.append(
                figure.to_html(
                    full_html=False, include_plotlyjs=with_plotly, config={"responsive": True}
                )
            )
            with_plotly = False
    return "".join([*parts, "</body></html>\n"])


def titled(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, template="plotly_white")
    return figure


def plain(text: str) -> str:
    """Escape text for plotly, which interprets tags as formatting."""
    return html.escape(visible(text), quote=False)


def plotly() -> ModuleType:
    """Return `plotly.graph_objects`.

    Raises:
        MissingExtra: plotly is not installed.
    """
    return extra_module("plotly.graph_objects", "Pictures need plotly", "report")
