"""Pictures show the figures that they are of: points, intervals and labels, worked out by hand."""

from __future__ import annotations

import pytest

from dspy_mux.optimize.figures import curve_figure, page, scaling_figures, stopping_figure
from dspy_mux.optimize.plan import Plan
from dspy_mux.optimize.scaling import Gain, Point, Scaling
from dspy_mux.optimize.tuned import Curve, CurvePoint
from dspy_mux.replay.stopping_curve import StoppingPoint


def scaled(size, k, rule, accuracy):
    ends = {"low": accuracy - 0.03, "high": accuracy + 0.02}
    shares = {"union_accuracy": accuracy + 0.1, "contradiction": accuracy / 10}
    return Point(
        tuple("abc"[:size]), size, k, rule, accuracy, **ends, **shares,
        calls_per_question=size * k, cost_per_question=None, questions=50,
    )  # fmt: skip


def values(figure):
    """Each line's name, x, y, and how far its interval reaches up and down."""
    return [
        (
            line.name,
            list(line.x),
            [round(value, 6) for value in line.y],
            None if line.error_y.array is None else [round(one, 6) for one in line.error_y.array],
            None
            if line.error_y.arrayminus is None
            else [round(one, 6) for one in line.error_y.arrayminus],
        )
        for line in figure.data
    ]


def labels(figure):
    layout = figure.layout
    return layout.title.text, layout.xaxis.title.text, layout.yaxis.title.text


def test_scaling_by_members_and_by_draws():
    points = [scaled(1, 3, "pooled", 0.5), scaled(2, 3, "pooled", 0.6)]
    others = [scaled(1, 3, "a<b", 0.4), scaled(2, 3, "a<b", 0.7)]
    draws = [scaled(2, k, "pooled", 0.5 + k / 10) for k in (1, 2)]
    gain = Gain("best", 2, 3, 3, 0.6, 0.5, 0.1, 0.0, 0.2, 50)
    figures = scaling_figures(Scaling([*points, *others], draws, [gain], 3, points[1], "why"))
    assert values(figures[0]) == [
        ("pooled", [1, 2], [50, 60], [2, 2], [3, 3]),
        ("a&lt;b", [1, 2], [40, 70], [2, 2], [3, 3]),
        ("some member right", [1, 2], [60, 70], None, None),
        ("contradicted", [1, 2], [5, 6], None, None),
    ]
    assert [line.line.dash for line in figures[0].data] == [None, None, "dot", "dot"]
    assert figures[0].data[0].error_y.symmetric is False
    assert values(figures[1])[0] == ("pooled", [1, 2], [60, 70], [2, 2], [3, 3])
    assert labels(figures[0]) == (
        "Accuracy against members (n = 50, 95 % intervals)", "members", "accuracy (%)"
    )  # fmt: skip
    assert labels(figures[1])[1] == "draws per member (k)"


def test_early_stopping_by_its_bound():
    points = [
        StoppingPoint(bound, accuracy, accuracy - 0.04, accuracy + 0.03, 0, 0, 0, calls, 0, 80, 0,
                      None, None, None)
        for bound, accuracy, calls in ((0.0, 0.9, 6.0), (0.05, 0.88, 3.5))
    ]  # fmt: skip
    figure = stopping_figure(points)
    assert values(figure) == [(None, [6.0, 3.5], [90, 88], [3, 3], [4, 4])]
    assert list(figure.data[0].text) == ["bound 0", "bound 0.05"]
    assert labels(figure) == (
        "Early stopping: accuracy against calls (n = 80, 95 % intervals)",
        "calls per question",
        "accuracy (%)",
    )


def test_accuracy_against_calls_of_every_plan():
    plans = [Plan(1, "pooled"), Plan(3, "pooled"), Plan(1, "calibrated", True, True)]
    points = [
        CurvePoint(plan, 3.0 * plan.k, accuracy, accuracy - 0.02, accuracy + 0.01)
        for plan, accuracy in zip(plans, (0.5, 0.6, 0.7), strict=True)
    ]
    figure = curve_figure(Curve(points, points[2], points[1], (0.1, 0.0, 0.2)), 40)
    assert values(figure) == [
        ("pooled", [3, 9], [50, 60], [1, 1], [2, 2]),
        ("calibrated with evidence", [3], [70], [1], [2]),
    ]
    assert [line.line.dash for line in figure.data] == ["dot", "solid"]
    assert [list(line.text) for line in figure.data] == [["k = 1", "k = 3"], ["k = 1 greedy"]]


@pytest.mark.parametrize("count", [1, 3])
def test_a_page_embeds_plotly_once(count):
    figure = stopping_figure([StoppingPoint(0, 1, 1, 1, 0, 0, 0, 1, 0, 9, 0, None, None, None)])
    text = page("a <title>", [("first", [figure]), ("<second>", [figure] * (count - 1))])
    assert text.count("plotly.js v") == 1
    assert text.count('class="plotly-graph-div"') == count
    assert "<title>a &lt;title&gt;</title>" in text
    assert "<h2>&lt;second&gt;</h2>" in text
