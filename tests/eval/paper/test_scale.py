"""The scaling tables and figures, on a bank whose figures were worked out by hand."""

from __future__ import annotations

import json

import pytest

from dspy_mux.optimize.figure_page import page
from dspy_mux.optimize.figures import scaling_figures
from dspy_mux.optimize.scaling import scale
from dspy_mux.replay.splits import by_field
from eval.__main__ import app
from eval.paper.sources import SourceOptions, sources

from ...support.banks import rows, written
from ...support.commands import python_m_eval, run_here


@pytest.fixture
def bank(tmp_path):
    return written(tmp_path / "hand.jsonl", rows())


def command(*arguments):
    return run_here(python_m_eval, *arguments)


def test_the_curves_have_hand_worked_figures(bank):
    source = sources(SourceOptions([str(bank)], split_field="split", train="val"), None)[0]
    told = scale(source.record, k=3, size=2, splits=by_field(source.record, "split", "val", "test"))
    mux = {point.size: point for point in told.by_members if point.rule == "consistency"}
    forest = {point.size: point for point in told.by_members if point.rule == "pooled"}
    # One: steady, right on three of five. Two: with other, right on all; nobody is sure and wrong.
    # Three: twin changes nothing.
    assert [mux[size].accuracy for size in (1, 2, 3)] == [
        pytest.approx(value) for value in (3 / 5, 1, 1)
    ]
    assert [mux[size].members for size in (1, 2)] == [("steady",), ("steady", "other")]
    assert [mux[size].union_accuracy for size in (1, 2, 3)] == [
        pytest.approx(value) for value in (3 / 5, 1, 1)
    ]
    assert [mux[size].contradiction for size in (1, 2, 3)] == [0, 0, 0]
    assert [mux[size].calls_per_question for size in (1, 2, 3)] == [3, 6, 9]
    # Agent Forest: steady + other pool to R on the first, second, fourth and fifth; RRX + XYZ is a
    # tie of R and X, R first seen. All three: the fourth pools X, Y, Z twice each against three R,
    # the fifth XYX, ZYZ against RRR.
    assert [forest[size].accuracy for size in (1, 2, 3)] == [
        pytest.approx(value) for value in (3 / 5, 1, 1)
    ]


def test_the_command_prints_curves_and_closing_table(bank):
    ran = command("scale", bank, "--split-field", "split", "--train", "val", "--markdown")
    assert ran.returncode == 0, ran.stderr
    heads = [line for line in ran.stdout.splitlines() if line.startswith("###")]
    assert [head.partition(": ")[0] for head in heads] == [
        "### hand",
        "### hand",
        "### Test-time scaling vs Agent Forest",
    ]
    closing = ran.stdout.split("### Test-time")[1]
    assert [row.split(" | ")[1] for row in closing.splitlines() if row.startswith("| hand")] == [
        "2 draws",
        "best",
    ]
    assert "sweet spot 2 members" in ran.stdout


def test_json_holds_curves_and_html_figures(tmp_path):
    plotly = pytest.importorskip("plotly")
    both = written(tmp_path / "both.jsonl", rows(dataset="one"), rows(dataset="<b>two"))
    html = tmp_path / "scale.html"
    ran = command("scale", both, "--repeats", "2", "--max-members", "2", "--html", html, "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert [row["task"] for row in told["rows"]] == ["one", "<b>two"]
    assert told["rows"][0].keys() >= {"by_members", "by_draws", "gains", "sweet_spot", "left_out"}
    text = html.read_text(encoding="utf-8")
    assert "<h2>&lt;b&gt;two" in text
    assert text.count("Plotly.newPlot(") >= 4
    assert plotly.__version__


def test_the_members_figure_shows_union_and_contradiction(bank):
    pytest.importorskip("plotly")
    source = sources(SourceOptions([str(bank)], repeats=2), None)[0]
    told = scale(source.record, k=3, size=2, splits=source.splits)
    figure = scaling_figures(told)[0]
    assert [trace.name for trace in figure.data] == [
        "consistency",
        "pooled",
        "some member right (upper bound)",
        "contradicted",
    ]
    assert list(figure.data[3].y) == [
        100 * point.contradiction for point in told.by_members if point.rule == "pooled"
    ]
    n = told.by_members[0].questions
    assert figure.layout.title.subtitle.text.startswith(f"n = {n} questions, k = 3 draws")


def test_a_page_carries_plotly_once(bank):
    pytest.importorskip("plotly")
    source = sources(SourceOptions([str(bank)], repeats=2), None)[0]
    told = scale(source.record, k=3, size=2, splits=source.splits)
    text = page("a <title>", [("first", scaling_figures(told)), ("second", scaling_figures(told))])
    assert "<title>a &lt;title&gt;</title>" in text
    assert 3_000_000 < len(text) < 8_000_000  # the library once
    assert "src=" not in text.partition("</script>")[0]


def test_k_above_the_record_is_refused(bank):
    ran = command("scale", bank, "--k", "4")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "fewer than k=4" in ran.stderr


def test_a_page_without_a_place_is_refused_first(bank, tmp_path):
    ran = command("scale", bank, "--html", tmp_path / "no" / "scale.html")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "cannot hold a page: name a file in a folder that exists" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1


def test_a_traceback_shows_no_local_variables():
    assert app.pretty_exceptions_enable is False
