"""Pictures show the figures that they are of: points, intervals and labels, worked out by hand."""

from __future__ import annotations

import re

import pytest

from dspy_mux.mux.points import OperatingPoint, OperatingPoints
from dspy_mux.optimize.figure_page import page
from dspy_mux.optimize.figure_style import looks
from dspy_mux.optimize.figures import curve_figure, scaling_figures, stopping_figure, trials_figure
from dspy_mux.optimize.plan import Plan
from dspy_mux.optimize.report import MuxReport
from dspy_mux.optimize.risk_figures import points_figure
from dspy_mux.optimize.scaling import Gain, Point, Scaling
from dspy_mux.optimize.tune import tune
from dspy_mux.optimize.tuned import Curve, CurvePoint
from dspy_mux.replay.stopping_curve import StoppingPoint

from ..support.browser import opened
from ..support.tuning import skilled_record


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
            [round(value, 6) for value in line.x],
            [round(value, 6) for value in line.y],
            None if line.error_y.array is None else [round(one, 6) for one in line.error_y.array],
            None
            if line.error_y.arrayminus is None
            else [round(one, 6) for one in line.error_y.arrayminus],
        )
        for line in figure.data
    ]


def texts(figure):
    return figure.layout.title.text, figure.layout.title.subtitle.text


def axes(figure):
    return figure.layout.xaxis.title.text, figure.layout.yaxis.title.text


def test_scaling_by_members_and_by_draws():
    points = [scaled(1, 3, "pooled", 0.5), scaled(2, 3, "pooled", 0.6)]
    others = [scaled(1, 3, "a<b", 0.4), scaled(2, 3, "a<b", 0.7)]
    draws = [scaled(2, k, "pooled", 0.5 + k / 10) for k in (1, 2)]
    gain = Gain("best", 2, 3, 3, 0.6, 0.5, 0.1, 0.0, 0.2, 50)
    figures = scaling_figures(Scaling([*points, *others], draws, [gain], 3, points[1], "why"))
    assert values(figures[0]) == [
        ("pooled", [0.97, 1.97], [50, 60], [2, 2], [3, 3]),
        ("a&lt;b", [1.03, 2.03], [40, 70], [2, 2], [3, 3]),
        ("some member right (upper bound)", [1, 2], [60, 70], None, None),
        ("contradicted", [1, 2], [5, 6], None, None),
    ]
    assert figures[0].data[0].error_y.symmetric is False
    assert values(figures[1])[0] == ("pooled", [1, 2], [60, 70], [2, 2], [3, 3])
    assert texts(figures[0]) == (
        "Accuracy against members",
        "n = 50 questions, k = 3 draws per member; bars: 95 % intervals (Wilson)",
    )
    assert figures[0].layout.xaxis2.title.text == "members"
    assert figures[0].layout.yaxis.title.text == "accuracy, %"
    assert figures[1].layout.xaxis2.title.text == "draws per member (k)"
    assert [note.text for note in figures[0].layout.annotations] == ["sweet spot: 2 members"]
    # The accuracies have a scale of their own.
    assert [line.yaxis or "y" for line in figures[0].data] == ["y", "y", "y", "y2"]


def stopping_point(bound, accuracy, calls):
    return StoppingPoint(bound, accuracy, accuracy - 0.04, accuracy + 0.03, 0, 0, 0, calls, 0, 80,
                         0, None, None, None)  # fmt: skip


def test_early_stopping_names_every_bound():
    points = [
        stopping_point(bound, accuracy, calls)
        for bound, accuracy, calls in (
            (0.0, 0.9, 6.0), (0.01, 0.9, 6.0), (0.05, 0.88, 3.5), (0.1, 0.8, 3.4),
        )
    ]  # fmt: skip
    figure = stopping_figure(points)
    assert values(figure)[0] == (
        None, [3.4, 3.5, 6.0, 6.0], [80, 88, 90, 90], [3] * 4, [4] * 4
    )  # fmt: skip
    # Points on one another share a label; others close by are too far apart in accuracy.
    assert list(figure.data[1].text) == ["0.1", "0.05", "0, 0.01"]
    assert texts(figure) == (
        "Early stopping: accuracy against calls",
        "n = 80 questions; bars: 95 % intervals (Wilson); labels: bounds",
    )
    assert axes(figure) == ("calls per question (log scale)", "accuracy, %")
    assert "90.0 % on 6.0 calls per question" in figure.layout.meta["caption"]


def test_accuracy_against_calls_of_every_plan():
    plans = [Plan(1, "pooled"), Plan(3, "pooled"), Plan(1, "calibrated", True, True)]
    points = [
        CurvePoint(plan, 3.0 * plan.k, accuracy, accuracy - 0.02, accuracy + 0.01)
        for plan, accuracy in zip(plans, (0.5, 0.6, 0.7), strict=True)
    ]
    figure = curve_figure(Curve(points, points[2], points[1], (0.1, 0.0, 0.2)), 40)
    drawn = [line for line in figure.data if line.x]
    assert [(line.name, list(line.y)) for line in drawn] == [
        ("pooled", [50, 60]),
        ("calibrated with evidence", [70]),
    ]
    assert [line.line.dash for line in drawn] == ["dot", "solid"]
    assert [list(line.text) for line in drawn] == [["k = 1", "k = 3"], ["k = 1 greedy"]]
    assert [line.mode for line in drawn] == ["lines+markers", "markers"]
    assert all(line.showlegend for line in drawn)
    assert axes(figure) == ("calls per question (log scale)", "accuracy, %")
    assert texts(figure)[1].startswith("n = 40 questions")


@pytest.fixture(scope="module")
def tuned():
    return tune(skilled_record((0.8, 0.6, 0.5), count=60), n_trials=8, max_members=2)


def test_the_trials_mark_the_chosen_one(tuned):
    figure = trials_figure(tuned)
    marks = {line.name.split(":")[0]: line for line in figure.data if line.marker.size == 19}
    assert set(marks) == {"paper's defaults", "chosen"}
    best = next(
        trial for trial in tuned.trials
        if (tuple(trial["members"]), trial["k"]) == (tuned.best.members, tuned.best.k)
    )  # fmt: skip
    assert list(marks["chosen"].x) == [best["calls_per_question"]]
    assert list(marks["chosen"].y) == [100 * tuned.best.value]
    assert f"k = {tuned.best.k}" in figure.layout.meta["caption"]
    assert texts(figure) == (f"The study's {len(tuned.trials)} trials",
                             f"n = 60 questions, {tuned.scored_on}")  # fmt: skip


def test_operating_points_are_named():
    points = OperatingPoints(
        tuple(
            OperatingPoint(threshold, names, False, coverage, risk, 0.8)
            for threshold, names, coverage, risk in (
                (0.4, ("most answered",), 1.0, 0.2), (0.6, (), 0.8, 0.1),
                (0.9, ("fewest wrong",), 0.5, 0.05),
            )
        ),
        None, 90, None, "most answered", "pooled", ("a", "b"), (3, 3),
    )  # fmt: skip
    figure = points_figure(points)
    assert [note.text for note in figure.layout.annotations] == [
        "most answered: 0.4", "fewest wrong: 0.9"
    ]  # fmt: skip
    assert list(figure.data[0].marker.symbol) == ["diamond", "circle", "circle"]
    assert axes(figure) == ("answers trusted, %", "wrong among them, %")
    assert texts(figure)[1].startswith("n = 90 questions")


def test_rules_look_alike_in_every_figure():
    one, other = looks(["pooled", "mine"]), looks(["theirs", "pooled"])
    assert one["pooled"] == other["pooled"]
    assert len({look.color for look in looks(["consistency", "pooled", "x", "y"]).values()}) == 4


@pytest.mark.parametrize("count", [1, 3])
def test_a_page_embeds_plotly_once(count):
    figure = stopping_figure([StoppingPoint(0, 1, 1, 1, 0, 0, 0, 1, 0, 9, 0, None, None, None)])
    text = page("a <title>", [("first", [figure]), ("<second>", [figure] * (count - 1))])
    assert text.count("plotly.js v") == 1
    assert text.count('class="plotly-graph-div"') == count
    assert "<title>a &lt;title&gt;</title>" in text
    assert "<h2>&lt;second&gt;</h2>" in text


def test_pages_fit_a_phone_and_say_n_and_units(tuned, tmp_path):
    """Every text of a chart lies inside it, and only tables scroll, in boxes of their own."""
    paths = []
    stopping = [stopping_point(b, 0.9 - b, 9.0 - 40 * b) for b in (0.0, 0.01, 0.02, 0.1, 0.2)]
    for name, text in (
        ("a" * 70 + ".jsonl", page("budget", [("a" * 70, [stopping_figure(stopping)])])),
        ("compiled", MuxReport(tuned, {}, []).to_html()),
    ):
        paths.append(tmp_path / f"{name}.html")
        paths[-1].write_text(text, encoding="utf-8")
    with opened(paths[0]) as shown:
        for path in paths:
            shown.driver.get(path.as_uri())
            for width in (390, 1280):
                shown.resize(width)
                assert shown.run("return document.documentElement.scrollWidth") <= width
                assert shown.run(CUT) == []
            for text in shown.texts("figcaption p"):
                assert re.match(r"n = \d+ questions", text)
            for label in ("calls per question (log scale)", "accuracy, %"):
                assert label in shown.texts(".xtitle") + shown.texts(".ytitle")
            described = shown.run(
                "return [...document.querySelectorAll('.plot')].map(e => e.ariaLabel)"
            )
            assert all(text.startswith("Chart: ") and "n = " in text for text in described)
        shown.resize(390)
        # What does not fit scrolls in its own box, and the first column stays.
        assert shown.run(
            "const box = document.querySelector('.scroll');"
            "const cell = box.querySelector('tbody tr :first-child');"
            "const before = cell.getBoundingClientRect().left;"
            "box.scrollLeft = 60;"
            "return [box.scrollWidth > box.clientWidth, box.scrollLeft,"
            "  cell.getBoundingClientRect().left - before]"
        ) == [True, 60, 0]
        assert shown.errors() == []


CUT = (
    "const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1"
    "  && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;"
    "const box = e => e.getBoundingClientRect();"
    "return [...document.querySelectorAll('.plot text')]"
    ".filter(e => !inside(box(e), box(e.closest('.plot')))).map(e => e.textContent)"
)
