from __future__ import annotations

import csv
import io
import json
import math

import pytest
from hypothesis import given, strategies as st

from dspy_mux.replay.intervals import accuracy, mcnemar, paired_difference
from eval.compare.command import write_table
from eval.runs.folder import Run
from eval.tables.comparison import Comparison
from eval.tables.text import show

from ...support.run_files import a_task, an_answer, manifest, row

METHODS = [
    {"id": "single:a", "title": "a alone", "settings": {"k": 1}, "discussion": False},
    {"id": "slm_mux", "title": "SLM-MUX", "settings": {"k": 3}, "discussion": False},
    {
        "id": "llm_debate",
        "title": "LLM-Debate",
        "settings": {"agents": 3, "rounds": 2},
        "discussion": True,
    },
]
#: Ten questions: the mux has 8 right, the member alone 3, both have two; the debate is right where
#: the member is, except once.
SCORES = {
    "slm_mux": [1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
    "single:a": [1, 1, 0, 0, 0, 0, 0, 0, 1, 0],
    "llm_debate": [1, 0, 0, 0, 0, 0, 0, 0, 1, 0],
}


def hand_made(path, scores=None, **changes):
    """A run of the scores, written by hand."""
    task = a_task(validation_questions=7, accuracies={"a": 0.4, "b": 0.4}, settings={})
    told = manifest(methods=METHODS, tasks=[task], num_threads=16, **changes)
    with Run.start(path, told) as run:
        for method, values in (scores or SCORES).items():
            for number, score in enumerate(values):
                # Another member than the mux's choice is right on the ninth question, a third on
                # none.
                answers = (
                    [an_answer(group=1, score=float(score))],
                    [an_answer(score=float(number == 8))],
                    [],
                )
                ballots = [
                    {"member": "a", "votes": [], "answers": each, "abstentions": {}}
                    for each in answers
                ]
                run.append(
                    row(
                        number,
                        method=method,
                        score=float(score),
                        answer=None if number == 9 else 0,
                        calls=9 if method == "slm_mux" else 1,
                        prompt_tokens=10 * number,
                        completion_tokens=2,
                        cost=None if method == "single:a" else 0.001,
                        ballots=ballots,
                    )
                )
    return run


@pytest.fixture
def table(tmp_path):
    return Comparison.of(hand_made(tmp_path / "run"))


def line_of(table, method):
    return next(line for line in table.lines if line.method == method)


def test_accuracies_have_wilson_intervals(table):
    mux = line_of(table, "slm_mux")
    assert mux.accuracy.mean == 0.8
    assert (mux.accuracy.low, mux.accuracy.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert mux.accuracy.n == 10


def test_the_difference_is_paired_with_exact_p(table):
    alone = line_of(table, "single:a")
    # Six questions are lost, one is won: the mean is −0.5, p is 2 · (C(7,0) + C(7,1)) / 2^7. With
    # one more of each of twelve questions the mean is −5/12, its variance (9 − 25/12) / 12².
    assert alone.difference.mean == -0.5
    half = 1.96 * math.sqrt((9 - 25 / 12) / 144)
    assert (alone.difference.low, alone.difference.high) == pytest.approx(
        (-5 / 12 - half, -5 / 12 + half), abs=1e-4
    )
    assert alone.mcnemar_p == pytest.approx(0.125)
    assert (line_of(table, "slm_mux").difference, line_of(table, "slm_mux").mcnemar_p) == (
        None,
        None,
    )


def test_usage_is_a_mean_over_all_questions(table):
    mux, alone = line_of(table, "slm_mux"), line_of(table, "single:a")
    assert (mux.calls, mux.prompt_tokens, mux.completion_tokens, mux.seconds) == (9, 45, 2, 0.5)
    assert mux.cost == pytest.approx(0.001)
    assert alone.cost is None
    assert mux.unanswered == 1


def test_a_cost_needs_the_cost_of_every_question(tmp_path):
    run = hand_made(tmp_path / "run")
    rows = [json.loads(line) for line in (run.path / "results.jsonl").read_text().splitlines()]
    next(row for row in rows if row["method"] == "slm_mux")["cost"] = None
    (run.path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = Comparison.of(Run.open(run.path))
    assert (line_of(table, "slm_mux").cost, line_of(table, "llm_debate").cost) == (
        None,
        pytest.approx(0.001),
    )


def test_the_upper_bound_counts_any_right_plurality(table):
    assert line_of(table, "any_member_right").accuracy.mean == 0.9


def test_the_upper_bound_takes_the_best_graded_score(tmp_path):
    table = Comparison.of(
        hand_made(tmp_path / "run", {"slm_mux": [0.5, 0.25, 1, 0, 0, 0, 0, 0, 0.5, 0]})
    )
    bound = line_of(table, "any_member_right")
    # On the ninth question another member's answer is wholly right.
    assert bound.accuracy.mean == pytest.approx((0.5 + 0.25 + 1 + 1) / 10)
    assert bound.title == "best answer of any member (upper bound of SLM-MUX)"
    assert line_of(table, "slm_mux").accuracy.mean <= bound.accuracy.mean


def test_discussion_is_compared_with_the_best_member(table):
    note = table.notes[-1]
    assert "LLM-Debate against one draw of the best member (a): −10.0" in note
    assert "neither helps nor hurts by more than chance" in note


def test_graded_scores_have_no_mcnemar_p(tmp_path):
    table = Comparison.of(hand_made(tmp_path / "run", {**SCORES, "single:a": [0.5] * 10}))
    alone = line_of(table, "single:a")
    assert alone.mcnemar_p is None
    assert alone.cells()[-1] == "n/a"
    assert alone.difference.mean == pytest.approx(-0.3)
    assert line_of(table, "llm_debate").mcnemar_p is not None


def test_without_slm_mux_there_are_no_differences(tmp_path):
    table = Comparison.of(hand_made(tmp_path / "run", {"single:a": SCORES["single:a"]}))
    assert [line.method for line in table.lines] == ["single:a"]
    assert table.lines[0].cells()[-2:] == ["", ""]


def test_an_interrupted_method_is_compared_on_its_questions(tmp_path):
    table = Comparison.of(hand_made(tmp_path / "run", {**SCORES, "llm_debate": [1, 0]}))
    assert line_of(table, "llm_debate").difference.n == 2


def test_one_question_has_no_interval(tmp_path):
    table = Comparison.of(hand_made(tmp_path / "run", {"slm_mux": [1], "single:a": [0]}))
    assert line_of(table, "single:a").cells()[-2] == "−100.0"
    json.dumps(table.as_dict(), allow_nan=False)
    assert "nan" not in table.markdown()
    assert next(csv.DictReader(io.StringIO(table.csv())))["difference_low"] == ""


def test_the_table_is_written_in_three_forms(tmp_path):
    run = hand_made(tmp_path / "run")
    table = write_table(run)
    markdown = (run.path / "table.md").read_text()
    assert (
        "| SLM-MUX | 80.0 | 49.0 – 94.3 | 10 | 1 | 9.0 | 45 + 2 | 0.00100 | 0.50 |  |  |"
        in markdown
    )
    assert "| a alone | 30.0 |" in markdown
    assert "−50.0 (−84.6 to +1.3) | 0.125 |" in markdown
    assert "LLM-Debate: agents 3; rounds 2." in markdown
    rows = list(csv.DictReader(io.StringIO((run.path / "table.csv").read_text())))
    assert [row["method"] for row in rows] == [
        "single:a",
        "slm_mux",
        "llm_debate",
        "any_member_right",
    ]
    assert float(rows[0]["mcnemar_p"]) == pytest.approx(0.125)
    told = json.loads((run.path / "table.json").read_text())
    assert told["table"][1]["accuracy"] == 0.8
    assert told["caption"] == table.caption


def shown_in(table, width, monkeypatch, capsys):
    """What `python -m eval compare` prints in a terminal of this width."""
    monkeypatch.setenv("COLUMNS", str(width))
    show(table.shown(width), table.captions(width), as_markdown=False)
    return capsys.readouterr().out


def test_the_caption_names_k_temperature_and_split(table, monkeypatch, capsys):
    shown = shown_in(table, 200, monkeypatch, capsys)
    assert "sums, n = 10" in shown
    assert "Split test; k = 3 draws per member at temperature 0.5" in shown
    assert "up to 16 calls in flight" in shown


def test_nothing_is_cut_in_80_columns(table, monkeypatch, capsys):
    shown = shown_in(table, 80, monkeypatch, capsys)
    assert "…" not in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    for line in table.lines:
        cells = line.cells()
        assert cells[1] in shown
        assert all(word in shown for word in cells[0].split())
    assert "table.md" in shown


def test_names_in_a_table_are_no_markup(tmp_path, monkeypatch, capsys):
    methods = [{**METHODS[1], "title": "[red]a|b[/red]"}]
    run = hand_made(tmp_path / "run", {"slm_mux": SCORES["slm_mux"]})
    run.manifest["methods"] = methods
    table = Comparison.of(run)
    assert r"\[red\]a\|b\[/red\]" in table.markdown()
    assert "[red]a|b[/red]" in shown_in(table, 200, monkeypatch, capsys)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60
    )
)
def test_mcnemar_is_symmetric_over_discordant_questions(pairs):
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    p = mcnemar(ours, theirs)
    assert 0 < p <= 1
    assert p == pytest.approx(mcnemar(theirs, ours))
    assert p == pytest.approx(mcnemar([*ours, 1.0, 0.0], [*theirs, 1.0, 0.0]))
    won, lost = sum(a > b for a, b in pairs), sum(a < b for a, b in pairs)
    tail = sum(math.comb(won + lost, i) for i in range(min(won, lost) + 1)) / 2 ** (won + lost)
    assert p == pytest.approx(min(1.0, 2 * tail))
    gap = paired_difference(ours, theirs)
    assert gap.mean == pytest.approx(accuracy(ours).mean - accuracy(theirs).mean)
    if len(pairs) > 1:
        assert gap.low <= gap.mean <= gap.high
        assert gap.low < gap.high


@pytest.mark.parametrize(
    ("ours", "theirs"), [(1, 0), (0, 1), (1, 1), (0, 0), (0.5, 0.25), (0.3, 0.2)]
)
def test_a_constant_difference_is_not_certain(ours, theirs):
    few, many = (
        paired_difference([ours, ours + 0.1] * n, [theirs, theirs + 0.1] * n) for n in (5, 500)
    )
    assert -1 <= few.low < many.low + 1e-12 < many.high + 2e-12 <= few.high + 3e-12 <= 1 + 4e-12
    assert few.high - few.low > 5 * (many.high - many.low)
    assert many.mean == pytest.approx(few.mean) == pytest.approx(ours - theirs)
    assert math.isnan(paired_difference([1.0], [0.0]).low)
