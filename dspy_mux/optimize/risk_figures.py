"""Plotly figures of risk against coverage, and of accuracy against calls of a large model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .figures import plain, plotly, titled

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..mux.points import OperatingPoints
    from ..replay.risk import EscalationFigures, Risk

_BLUE, _BAND, _GREY, _RED = "#1f77b4", "rgba(31, 119, 180, 0.2)", "#7f7f7f", "#d62728"


def risk_figures(found: Risk) -> list[go.Figure]:
    """Plot the risk at each coverage and, with a large model, the accuracy at each share of it."""
    figures = [_risk_figure(found)] if found.curve else []
    if found.escalation is not None:
        figures.append(_escalation_figure(found, found.escalation))
    return figures


def _risk_figure(found: Risk) -> go.Figure:
    figure, points = plotly().Figure(), found.curve
    coverages = [100 * point.coverage for point in points]
    figure.add_scatter(
        name="95 % band",
        x=[*coverages, *reversed(coverages)],
        y=[100 * point.high for point in points] + [100 * point.low for point in reversed(points)],
        fill="toself",
        fillcolor=_BAND,
        line={"width": 0},
        hoverinfo="skip",
    )
    figure.add_scatter(
        name="wrong among the answered",
        x=coverages,
        y=[100 * point.risk for point in points],
        mode="lines",
        line={"color": _BLUE},
        hovertemplate="%{x:.0f} % answered: %{y:.1f} % wrong<extra></extra>",
    )
    goal = found.certified.goal
    figure.add_scatter(
        name=f"at most {100 * goal.max_risk:g} % wrong",
        x=[0, 100],
        y=[100 * goal.max_risk] * 2,
        mode="lines",
        line={"color": _RED, "dash": "dot"},
        hoverinfo="skip",
    )
    if found.marked is not None:
        figure.add_vline(x=100 * found.marked, line={"color": _GREY, "dash": "dash"})
        figure.add_annotation(
            x=100 * found.marked,
            y=1,
            yref="paper",
            xanchor="left" if found.marked < 0.5 else "right",
            text=f"threshold {found.threshold:.4g}",
            showarrow=False,
        )
    figure.update_xaxes(range=[0, 100])
    # Bands of the few surest answers are wide, and would press the curve flat.
    highest = max([goal.max_risk, *(point.risk for point in points)])
    figure.update_yaxes(range=[0, 160 * highest])
    how = f"{found.n_test} test questions in each of {found.repeats} repeats"
    titled(figure, _title("Risk against coverage", how), "answered (%)", "wrong (%)")
    return _for_phones(figure)


def _escalation_figure(found: Risk, escalation: EscalationFigures) -> go.Figure:
    figure = plotly().Figure()
    shares = [100 * point.share for point in escalation.curve]
    for name, line, style in (
        ("the least sure", "accuracy", {"color": _BLUE}),
        ("at random", "random", {"color": _GREY, "dash": "dot"}),
        ("oracle", "oracle", {"color": _RED, "dash": "dash"}),
    ):
        figure.add_scatter(
            name=name,
            x=shares,
            y=[100 * getattr(point, line) for point in escalation.curve],
            mode="lines",
            line=style,
            hovertemplate="%{x:.0f} % escalated: %{y:.1f} % right<extra></extra>",
        )
    if found.promised:
        figure.add_scatter(
            name="at the thresholds",
            x=[100 * escalation.share],
            y=[100 * escalation.accuracy],
            mode="markers",
            marker={"color": _BLUE, "size": 11, "symbol": "diamond"},
            hovertemplate="%{x:.0f} % escalated: %{y:.1f} % right<extra></extra>",
        )
    figure.add_hline(y=100 * escalation.accuracy_large, line={"color": _GREY, "width": 1})
    how = f"the line is {plain(escalation.large)} alone, {100 * escalation.accuracy_large:.1f} %"
    title = _title("Accuracy by share escalated", how)
    titled(figure, title, "questions escalated (%)", "accuracy (%)")
    return _for_phones(figure)


def points_figure(points: OperatingPoints) -> go.Figure:
    """Plot points: accuracy against calls of the large model, or risk against coverage."""
    figure = plotly().Figure()
    if points.large is None:
        x, y = [each.coverage for each in points], [each.risk or 0.0 for each in points]
        title, across, up = "Operating points", "answers trusted (%)", "wrong among them (%)"
    else:
        x = [each.escalated or 0.0 for each in points]
        y = [each.accuracy for each in points]
        title = f"Operating points, with {plain(points.large)}"
        across, up = "questions escalated (%)", "accuracy (%)"
    figure.add_scatter(
        name="points",
        x=[100 * share for share in x],
        y=[100 * share for share in y],
        text=[plain(", ".join(each.names)) for each in points],
        customdata=[each.threshold for each in points],
        mode="lines+markers+text",
        textposition="top center",
        marker={
            "color": [_RED if points.compiled in each.names else _BLUE for each in points],
            "size": 9,
        },
        line={"color": _BLUE},
        hovertemplate="threshold %{customdata:.4g}: %{x:.1f} %, %{y:.1f} %<extra></extra>",
    )
    titled(
        figure,
        _title(title, f"{points.questions} questions that chose only the thresholds"),
        across,
        up,
    )
    return _for_phones(figure)


def _title(text: str, more: str) -> str:
    return f"{text}<br><sup>{more}</sup>"


def _for_phones(figure: go.Figure) -> go.Figure:
    """Give the plot the whole width: the legend goes below, and margins are small."""
    figure.update_layout(
        font={"size": 13},
        title={"font": {"size": 15}, "x": 0.02, "xanchor": "left"},
        margin={"l": 50, "r": 20, "t": 64, "b": 40},
        legend={"orientation": "h", "yanchor": "top", "y": -0.22, "x": 0},
        height=420,
    )
    return figure
