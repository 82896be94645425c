"""The chart of accuracy against the share that a large model is asked."""

from __future__ import annotations

import pytest

from eval.compare.methods import Options
from eval.report import write
from eval.report.escalation import by_share
from eval.report.read import NotInTheRun, read
from eval.tables.comparison import Comparison

from ...support.comparisons import compared, noisy
from ...support.small_task import member, small_task

ASKED, PLAIN = "<section id='escalation'", ("slm_mux", "agent_forest")


def a_run(out, methods, large_of=None):
    options = Options(k=3, methods=methods, max_risk=0.15, num_threads=8)
    pool = [member(name, noisy(0.55 + at / 20, at)) for at, name in enumerate("ab")]
    return compared(out, pool, options, task=small_task(validation=60, test=40), large_of=large_of)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    big = member("big", noisy(0.9, 7))
    out = tmp_path_factory.mktemp("run") / "run"
    return a_run(out, (*PLAIN, "large", "escalated"), lambda name: big)


def test_curves_go_from_the_pool_to_the_large_model(run):
    (task,) = read(run)
    chart = by_share(task)
    lines = {line.method: line for line in Comparison.of(run).lines}
    methods = [name for name in task.answers if name.startswith("escalated:")]
    assert [row[0] for row in chart.rows] == [task.title(name) for name in methods]
    large = 100 * lines["large"].accuracy.mean
    # After the large model's level: for each method by chance, the oracle, by doubt, and the mark.
    for at, name in enumerate(methods):
        chance, oracle, doubt, mark = chart.traces[1 + 4 * at : 5 + 4 * at]
        pool = [row.pool_score for row in task.answers[name].values()]
        for curve in (chance, oracle, doubt):
            assert curve["y"][0] == pytest.approx(100 * sum(pool) / len(pool))
            assert curve["y"][-1] == pytest.approx(large)
        assert all(best >= y - 1e-9 for best, y in zip(oracle["y"], doubt["y"], strict=True))
        assert mark["y"] == [pytest.approx(100 * lines[name].accuracy.mean)]
        assert mark["x"] == [pytest.approx(100 * lines[name].escalated)]


def test_the_point_marked_is_where_the_answers_are(run):
    """On the curve, as the curve is of the same questions; pooled votes have distinct levels."""
    (task,) = read(run)
    lines = {line.method: line for line in Comparison.of(run).lines}
    line = lines["escalated:agent_forest"]
    assert 0 < line.escalated < 1
    row = next(each for each in by_share(task).rows if each[0] == line.title)
    assert row[1] == f"{100 * line.escalated:.1f}"
    assert row[2].startswith(line.accuracy.percent())


def test_the_page_has_the_chart_of_runs_with_a_large_model_alone(run, tmp_path):
    write(run.path, tmp_path / "with.html")
    assert ASKED in (tmp_path / "with.html").read_text()
    plain = a_run(tmp_path / "plain", PLAIN)
    write(plain.path, tmp_path / "without.html")
    assert ASKED not in (tmp_path / "without.html").read_text()
    with pytest.raises(NotInTheRun, match="no answers of the method large"):
        by_share(read(plain)[0])
