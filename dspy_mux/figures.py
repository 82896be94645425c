"""Pictures of replayed results, with plotly (the `report` extra)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .errors import ConfigurationError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from .scaling import Point
    from .tuning import Tuned


def scaling_figure(points: Sequence[Point], along: str, label: str) -> go.Figure:
    """Accuracy of each rule, and the union bound, against a field of the points, with 95 % intervals."""
    figure = _plotly().Figure()
    for rule in dict.fromkeys(point.rule for point in points):
        line = [point for point in points if point.rule == rule]
        figure.add_scatter(
            name=rule,
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
    figure.add_scatter(
        name="some member right",
        x=[getattr(p, along) for p in first],
        y=[100 * p.union_accuracy for p in first],
        line={"dash": "dot"},
    )
    n = points[0].questions
    return _titled(figure, f"Accuracy against {label} (n = {n}, 95 % intervals)", label, "accuracy (%)")


def trials_figure(tuned: Tuned) -> go.Figure:
    """Every trial's accuracy against its calls per question."""
    figure = _plotly().Figure()
    for rule in dict.fromkeys(trial["rule"] for trial in tuned.trials):
        line = [trial for trial in tuned.trials if trial["rule"] == rule]
        figure.add_scatter(
            name=rule,
            mode="markers",
            x=[trial["calls_per_question"] for trial in line],
            y=[100 * trial["value"] for trial in line],
            text=[f"{', '.join(trial['members'])}; k={trial['k']}" for trial in line],
        )
    return _titled(figure, f"Trials (n = {tuned.questions} questions)", "calls per question", "accuracy (%)")


def _titled(figure: go.Figure, title: str, x: str, y: str) -> go.Figure:
    figure.update_layout(title=title, xaxis_title=x, yaxis_title=y, template="plotly_white")
    return figure


def _plotly() -> Any:
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise ConfigurationError("Pictures need plotly, which is not installed: pip install 'dspy-mux[report]'.") from error
    return go
