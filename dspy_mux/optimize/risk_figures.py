"""Plotly figures of risk against coverage, and of accuracy against calls of a large model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .figure_style import BAND, BLUE, GREY, RED, plain, plotly, titled

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..mux.points import OperatingPoints
    from ..replay.risk import EscalationFigures, Risk

_ACCURACY = "accuracy, %"


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
        fillcolor=BAND,
        line={"width": 0},
        hoverinfo="skip",
    )
    figure.add_scatter(
        name="wrong among the answered",
        x=coverages,
        y=[100 * point.risk for point in points],
        mode="lines",
        line={"color": BLUE},
        hovertemplate="%{x:.0f} % answered: %{y:.1f} % wrong<extra></extra>",
    )
    goal = found.certified.goal
    figure.add_scatter(
        name=f"at most {100 * goal.max_risk:g} % wrong",
        x=[0, 100],
        y=[100 * goal.max_risk] * 2,
        mode="lines",
        line={"color": RED, "dash": "dot"},
        hoverinfo="skip",
    )
    if found.marked is not None and found.threshold is not None:
        _mark_threshold(figure, found, found.marked, found.threshold)
    figure.update_xaxes(range=[0, 102])
    # Bands of the few surest answers are wide, and would press the curve flat.
    highest = max([goal.max_risk, *(point.risk for point in points)])
    figure.update_yaxes(range=[0, 160 * highest])
    return titled(
        figure,
        "Risk against coverage",
        "answered, %",
        "wrong among the answered, %",
        of=f"n = {found.questions} questions: {found.n_test} tested in each of {found.repeats} "
        f"repeats; k = {found.k}",
        caption="The least sure questions are left unanswered, from the right to the left. The "
        "band is the 95 % interval over questions. "
        + (
            "No threshold keeps the promise."
            if found.threshold is None
            else f"The diamond is the operating point: confidence {found.threshold:.4g} or more. "
            f"It answers {100 * found.coverage:.1f} % with {100 * found.risk:.1f} % of them wrong, "
            "in the mean of the repeats; it stands where the first repeat's threshold, the one "
            "named, puts it."
        ),
    )


def _mark_threshold(figure: go.Figure, found: Risk, marked: float, threshold: float) -> None:
    """Mark the operating point on the curve: the threshold's place among the test questions."""
    at = min(found.curve, key=lambda point: abs(point.coverage - marked))
    figure.add_vline(x=100 * marked, line={"color": GREY, "dash": "dash", "width": 1})
    figure.add_scatter(
        name="operating point",
        x=[100 * marked],
        y=[100 * at.risk],
        mode="markers",
        marker={"color": BLUE, "size": 12, "symbol": "diamond"},
        hovertemplate=f"threshold {threshold:.4g}: %{{x:.0f}} % answered, %{{y:.1f}} % wrong"
        "<extra></extra>",
    )
    figure.add_annotation(
        x=100 * marked,
        y=1,
        yref="paper",
        xanchor="left" if marked < 0.5 else "right",
        text=f"threshold {threshold:.4g}",
        showarrow=False,
    )


def _escalation_figure(found: Risk, escalation: EscalationFigures) -> go.Figure:
    figure = plotly().Figure()
    shares = [100 * point.share for point in escalation.curve]
    for name, line, style in (
        ("the least sure", "accuracy", {"color": BLUE, "width": 2.4}),
        ("at random", "random", {"color": GREY, "dash": "dot"}),
        ("oracle", "oracle", {"color": RED, "dash": "dash"}),
    ):
        figure.add_scatter(
            name=name,
            x=shares,
            y=[100 * getattr(point, line) for point in escalation.curve],
            mode="lines",
            line=style,
            hovertemplate="%{x:.0f} % escalated: %{y:.1f} % right<extra></extra>",
        )
    mark = ""
    if found.promised:
        figure.add_scatter(
            name="at the thresholds",
            x=[100 * escalation.share],
            y=[100 * escalation.accuracy],
            mode="markers",
            marker={"color": BLUE, "size": 12, "symbol": "diamond"},
            hovertemplate="%{x:.0f} % escalated: %{y:.1f} % right<extra></extra>",
        )
        mark = (
            f" The diamond is the operating point, in the mean of the repeats' thresholds: "
            f"{100 * escalation.share:.1f} % escalated, {100 * escalation.accuracy:.1f} % right."
        )
    figure.update_xaxes(range=[0, 102])
    figure.add_hline(y=100 * escalation.accuracy_large, line={"color": GREY, "width": 1})
    large = plain(escalation.large)
    return titled(
        figure,
        "Accuracy by share escalated",
        "questions escalated, %",
        _ACCURACY,
        of=f"n = {found.questions} questions: {found.n_test} tested in each of {found.repeats} "
        f"repeats; {large} alone: {100 * escalation.accuracy_large:.1f} % (line)",
        caption=f"The least sure questions go to {large}, one call each. The oracle escalates "
        f"the wrong answers first, which only someone who knows them can.{mark}",
    )


def points_figure(points: OperatingPoints) -> go.Figure:
    """Plot points: accuracy against calls of the large model, or risk against coverage."""
    figure = plotly().Figure()
    if points.large is None:
        x, y = [each.coverage for each in points], [each.risk or 0.0 for each in points]
        title, across, up = "Operating points", "answers trusted, %", "wrong among them, %"
    else:
        x = [each.escalated or 0.0 for each in points]
        y = [each.accuracy for each in points]
        title = f"Operating points, with {plain(points.large)}"
        across, up = "questions escalated, %", _ACCURACY
    compiled = [points.compiled in each.names for each in points]
    figure.add_scatter(
        name="points",
        x=[100 * share for share in x],
        y=[100 * share for share in y],
        customdata=[each.threshold for each in points],
        mode="lines+markers",
        marker={
            "color": [RED if chosen else BLUE for chosen in compiled],
            "symbol": ["diamond" if chosen else "circle" for chosen in compiled],
            "size": [14 if chosen else 9 for chosen in compiled],
            "opacity": 1,
        },
        line={"color": BLUE, "width": 1.4},
        hovertemplate="threshold %{customdata:.4g}: %{x:.1f} %, %{y:.1f} %<extra></extra>",
        showlegend=False,
    )
    middle = (min(x) + max(x)) / 2
    for each, across_at, up_at in zip(points, x, y, strict=True):
        if each.names:
            figure.add_annotation(
                x=100 * across_at,
                y=100 * up_at,
                yshift=-16 if across_at < middle else 16,  # beside the line, which rises
                xanchor="left" if across_at < middle else "right",
                text=f"{plain(', '.join(each.names))}: {each.threshold:.3g}",
                showarrow=False,
            )
    chosen = f" (diamond: {plain(str(points.compiled))}, as compiled)" if any(compiled) else ""
    return titled(
        figure,
        title,
        across,
        up,
        of=f"n = {points.questions} questions, which chose only the thresholds",
        caption="Each point is a threshold of the confidence; labels name those to pick by"
        f"{chosen}. No interval is drawn: the same questions chose the thresholds. The table has "
        "each point's threshold and figures.",
    )
