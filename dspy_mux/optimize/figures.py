"""Plotly figures of scaling curves, trials and stopping curves (the `report` extra)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import extra_module
from .figure_style import (
    GREY,
    INTERVALS,
    OCHRE,
    RED,
    VIOLET,
    bars,
    looks,
    plain,
    plotly,
    titled,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from ..replay.stopping_curve import StoppingPoint
    from .scaling import Point, Scaling
    from .tuned import Curve, Setting, TrialRow, Tuned

#: Steps of a logarithmic axis.
_STEPS = [step * 10**decade for decade in range(5) for step in (1, 2, 3, 5)]
#: Points of at most so many times the calls, and so many percent apart, share a label.
_NEAR_CALLS, _NEAR_PERCENT = 1.06, 2.0
_CALLS, _ACCURACY = "calls per question", "accuracy, %"


def scaling_figures(scaling: Scaling) -> list[go.Figure]:
    """Plot accuracy against members and against draws, with 95 % intervals."""
    sweet = scaling.sweet_spot
    by_members = _scaling_figure(
        scaling.by_members, "size", ("members", "members"), f"k = {scaling.k} draws per member"
    )
    by_members.add_vline(x=sweet.size, line={"color": GREY, "dash": "dot", "width": 1}, row=1)
    by_members.add_annotation(
        x=sweet.size, y=1, yref="y domain", yanchor="bottom", showarrow=False, font={"size": 12},
        xanchor="right" if sweet.size > 1 else "left",
        text=f"sweet spot: {sweet.size} member{'s' if sweet.size > 1 else ''}",
    )  # fmt: skip
    by_members.layout.meta["caption"] += f" Sweet spot: {plain(scaling.reason)}"
    size = scaling.by_draws[0].size
    by_draws = _scaling_figure(
        scaling.by_draws, "k", ("draws", "draws per member (k)"),
        f"{size} member{'s' if size > 1 else ''}",
    )  # fmt: skip
    return [by_members, by_draws]


def _scaling_figure(
    points: Sequence[Point], along: str, names: tuple[str, str], setting: str
) -> go.Figure:
    """Plot each rule's accuracy and the union, and below them the contradiction.

    The two panels have scales of their own: on one, the accuracies would lie on one another.
    """
    figure = extra_module("plotly.subplots", "Pictures need plotly", "report").make_subplots(
        rows=2, shared_xaxes=True, row_heights=[0.76, 0.24], vertical_spacing=0.07
    )
    rules = list(dict.fromkeys(point.rule for point in points))
    for at, (rule, look) in enumerate(looks(rules).items()):
        line = [point for point in points if point.rule == rule]
        figure.add_scatter(
            name=plain(rule),
            # Side by side, so that no bar hides another.
            x=[getattr(point, along) + 0.06 * (at - (len(rules) - 1) / 2) for point in line],
            y=[100 * point.accuracy for point in line],
            mode="lines+markers",
            line={"color": look.color, "dash": look.dash, "width": 1.6},
            marker={"color": look.color, "symbol": look.symbol, "size": 9},
            error_y=bars(line, look.color),
            hovertext=[
                f"{plain(rule)}, {plain(', '.join(point.members))}, k = {point.k}<br>"
                f"{100 * point.accuracy:.1f} % ({100 * point.low:.1f} – {100 * point.high:.1f}), "
                f"n = {point.questions}<br>{point.calls_per_question:.1f} calls per question"
                for point in line
            ],
            hoverinfo="text",
        )
    first = [point for point in points if point.rule == points[0].rule]
    for row, name, of, color, symbol in (
        (1, "some member right (upper bound)", "union_accuracy", OCHRE, "triangle-up-open"),
        (2, "contradicted", "contradiction", RED, "triangle-down-open"),
    ):
        figure.add_scatter(
            name=name,
            x=[getattr(point, along) for point in first],
            y=[100 * getattr(point, of) for point in first],
            mode="lines+markers",
            line={"color": color, "dash": "dot", "width": 1.4},
            marker={"color": color, "symbol": symbol, "size": 9},
            hovertemplate="%{y:.1f} % of the questions",
            row=row,
            col=1,
        )
    what, across = names
    titled(
        figure,
        f"Accuracy against {what}",
        across,
        "",
        of=f"n = {points[0].questions} questions, {setting}; {INTERVALS}",
        caption="Above: accuracy of each rule, and the share of the questions on which some "
        "member's plurality answer is right, which no choice among the members exceeds. Below, on "
        "a scale of its own: the share of the questions on which one member is consistently wrong "
        "where another is right. Subsets are chosen on training questions and scored on others.",
        height=560,
    )
    figure.update_xaxes(title=None, row=1)
    figure.update_xaxes(dtick=1)
    figure.update_yaxes(title={"text": _ACCURACY}, row=1)
    figure.update_yaxes(title={"text": "contra-<br>dicted, %"}, rangemode="tozero", row=2)
    return figure


def curve_figure(curve: Curve, questions: int) -> go.Figure:
    """Plot accuracy against calls: a line a rule, solid where it reads evidence."""
    figure = plotly().Figure()
    labels = list(dict.fromkeys(point.plan.label for point in curve.points))
    for at, (label, look) in enumerate(looks(labels).items()):
        own = [point for point in curve.points if point.plan.label == label]
        for greedy in (False, True):
            part = [point for point in own if point.plan.greedy == greedy]
            # Side by side, greedy draws on the left, so that no bar hides another.
            aside = 1.025 ** (at - (len(labels) - 1) / 2 - len(labels) * greedy)
            figure.add_scatter(
                name=plain(label),
                legendgroup=label,
                showlegend=not greedy or len(part) == len(own),
                x=[point.calls_per_question * aside for point in part],
                y=[100 * point.accuracy for point in part],
                text=[f"k = {point.plan.draws}" for point in part],
                mode="markers" if greedy else "lines+markers",
                line={"color": look.color, "dash": "solid" if own[0].plan.evidence else "dot"},
                marker={
                    "color": look.color,
                    "symbol": look.symbol,
                    "size": 9,
                    **({"line": {"color": GREY, "width": 2}} if greedy else {}),
                },
                error_y=bars(part, look.color),
                hovertemplate="%{text}: %{y:.1f} %",
            )
    _log_calls(figure, [x for line in figure.data for x in line.x])
    return titled(
        figure,
        "Accuracy against calls, rule by rule",
        f"{_CALLS} (log scale)",
        _ACCURACY,
        of=f"n = {questions} questions, the paper's members; {INTERVALS}",
        caption="Each marker is a number of draws per member (k); rules with equal calls stand "
        "side by side, greedy draws (with an edge, on no line) on their left. Solid lines read "
        "log-probabilities, dotted ones only votes.",
        height=480,
    )


def trials_figure(tuned: Tuned, compiled: Setting | None = None) -> go.Figure:
    """Plot every trial's accuracy against its calls per question, and mark the compiled setting.

    Args:
        tuned: the study.
        compiled: the setting that is marked as chosen; None for `tuned.best`.
    """
    figure = plotly().Figure()
    for rule, look in looks([trial["rule"] for trial in tuned.trials]).items():
        line = [trial for trial in tuned.trials if trial["rule"] == rule]
        figure.add_scatter(
            name=plain(rule),
            mode="markers",
            x=[trial["calls_per_question"] for trial in line],
            y=[100 * trial["value"] for trial in line],
            text=[plain(_described(trial)) for trial in line],
            marker={"color": look.color, "symbol": look.symbol, "size": 9, "opacity": 0.75},
            hovertemplate="%{text}<br>%{y:.1f} % on %{x:.1f} calls per question",
        )
    chosen = compiled or tuned.best
    for name, setting, color, symbol in (
        ("paper's defaults", tuned.baseline, GREY, "square-open"),
        ("chosen", chosen, RED, "circle-open"),
    ):
        figure.add_scatter(
            name=f"{name}: {100 * setting.value:.1f} %",
            x=[_calls(setting, tuned.trials)],
            y=[100 * setting.value],
            text=[plain(f"{name}: {', '.join(setting.members)}; k = {setting.plan.draws}")],
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 19, "line": {"width": 3}},
            hovertemplate="%{text}<br>%{y:.1f} % on %{x:.1f} calls per question",
        )
    _log_calls(figure, [trial["calls_per_question"] for trial in tuned.trials])
    return titled(
        figure,
        f"The study's {len(tuned.trials)} trials",
        f"{_CALLS} (log scale)",
        _ACCURACY,
        of=f"n = {tuned.questions} questions, {tuned.scored_on}",
        caption=f"Chosen (ring): {plain(_named(chosen))}. Paper's defaults (square): "
        f"{plain(_named(tuned.baseline))}. Equal settings lie on one another. All trials are "
        "scored on the same questions, which flatters the best of them.",
        height=460,
    )


def _named(setting: Setting) -> str:
    return f"{', '.join(setting.members)}; k = {setting.plan.draws}, {setting.plan.label}"


def _described(trial: TrialRow) -> str:
    draws = "1 greedy" if trial.get("greedy") else str(trial["k"])
    return f"{', '.join(trial['members'])}; k = {draws}"


def _calls(setting: Setting, trials: Sequence[TrialRow]) -> float:
    """Return the calls per question of a setting's trial: they do not depend on the rule."""
    drawn = list(setting.members), setting.k, setting.greedy
    return next(
        (
            trial["calls_per_question"]
            for trial in trials
            if (trial["members"], trial["k"], trial.get("greedy", False)) == drawn
        ),
        float(setting.k * len(setting.members)),
    )


def stopping_figure(points: Sequence[StoppingPoint]) -> go.Figure:
    """Plot the early-stopping rule's accuracy against its calls, with each bound's name."""
    figure, full = plotly().Figure(), points[0]
    figure.add_hline(y=100 * full.accuracy, line={"color": GREY, "dash": "dot", "width": 1})
    along = sorted(points, key=lambda point: (point.calls_per_question, point.accuracy))
    figure.add_scatter(
        x=[point.calls_per_question for point in along],
        y=[100 * point.accuracy for point in along],
        mode="lines+markers",
        line={"color": VIOLET, "width": 1.6},
        marker={"color": VIOLET, "symbol": "star", "size": 10},
        error_y=bars(along, VIOLET),
        hovertext=[
            f"bound {point.bound:g}<br>{100 * point.accuracy:.1f} % "
            f"({100 * point.low:.1f} – {100 * point.high:.1f})<br>"
            f"{point.calls_per_question:.2f} calls per question, {100 * point.saved:.0f} % saved"
            for point in along
        ],
        hoverinfo="text",
        showlegend=False,
    )
    labels = _bound_labels(along)
    # Past the bars' ends, above and below in turn: there is nothing, and neighbours keep apart.
    gap = 2 * (max(point.high for point in points) - min(point.low for point in points))
    figure.add_scatter(
        x=[point.calls_per_question for point, _ in labels],
        y=[
            100 * point.low - gap if at % 2 else 100 * point.high + gap
            for at, (point, _) in enumerate(labels)
        ],
        text=[text for _, text in labels],
        textposition=[
            f"{'bottom' if at % 2 else 'top'} {'left' if point is along[-1] else 'center'}"
            for at, (point, _) in enumerate(labels)
        ],
        mode="text",
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
    )
    calls = [point.calls_per_question for point in points]
    _log_calls(figure, calls)
    return titled(
        figure,
        "Early stopping: accuracy against calls",
        f"{_CALLS} (log scale)",
        _ACCURACY,
        of=f"n = {full.questions} questions; {INTERVALS}; labels: bounds",
        caption="A bound is the share, at most, of the answers of questions that stop early that "
        f"differ from those of all draws. Bound 0 makes all draws: {100 * full.accuracy:.1f} % on "
        f"{full.calls_per_question:.1f} calls per question (dotted line).",
    )


def _bound_labels(along: Sequence[StoppingPoint]) -> list[tuple[StoppingPoint, str]]:
    """Return the labels of points in the order of their calls; points side by side share one."""
    groups: list[list[StoppingPoint]] = []
    for point in along:
        if groups and _near(groups[-1][-1], point):
            groups[-1].append(point)
        else:
            groups.append([point])
    return [
        (group[-1], ", ".join(f"{bound:g}" for bound in sorted(each.bound for each in group)))
        for group in groups
    ]


def _near(one: StoppingPoint, other: StoppingPoint) -> bool:
    apart = 100 * abs(one.accuracy - other.accuracy)
    return other.calls_per_question <= _NEAR_CALLS * one.calls_per_question and (
        apart < _NEAR_PERCENT
    )


def _log_calls(figure: go.Figure, calls: Sequence[float]) -> None:
    """Show calls on a logarithmic axis, on which few calls have as much room as many."""
    known = [each for each in calls if each > 0]
    if len(known) < len(calls) or not known:
        return  # calls that nothing recorded; they have no logarithm
    low, high = min(known) / 1.2, max(known) * 1.2
    ticks = [step for step in _STEPS if low <= step <= high]
    figure.update_xaxes(
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=ticks or None,
        ticktext=[str(step) for step in ticks] or None,
    )
