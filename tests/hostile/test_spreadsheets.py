"""Tables as files: what a spreadsheet would compute or a Markdown reader would render is text;
numbers stay numbers."""

from __future__ import annotations

import csv
import io

import pytest

from dspy_mux.optimize.report import MuxReport
from dspy_mux.optimize.tuned import Setting, Tuned
from dspy_mux.replay.intervals import Estimate
from dspy_mux.text import in_markdown
from eval.compare.command import write_table
from eval.tables.comparison import Comparison, Line

from ..support.hostile_texts import CELLS, EVERYTHING, FORMULA, HTML, MARKUP, RED, obeyed
from ..support.synthetic_run import STRENGTHS, scripted_member, synthetic_run, synthetic_task

FORMULAS = [
    FORMULA,
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "－1",
    "＋1",
    "＠1",
    '=HYPERLINK("https://example.org")',
]


def line(title: str, mean: float = -0.032, **more) -> Line:
    told = {
        "task": title,
        "method": title,
        "title": title,
        "accuracy": Estimate(mean, mean, mean, 5),
    }
    spent = {
        "unanswered": 0,
        "calls": 1.0,
        "prompt_tokens": 1.0,
        "completion_tokens": 1.0,
        "cost": None,
        "seconds": -1e-5,
    }
    return Line(**{**told, **spent, "difference": Estimate(mean, mean, mean, 5), **more})


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_begins_a_formula(formula):
    [row] = read(Comparison([line(formula)], "", []).csv())
    assert row["title"] in (f"'{formula}", f"␍{formula[1:]}")
    for name in ("task", "method", "title"):
        assert row[name][0] not in "=+-@\t\r\n＝＋－＠"


def test_numbers_and_plain_text_stay_as_they_are():
    [row] = read(Comparison([line("SLM-MUX − a, b; 5 %")], "", []).csv())
    assert row["title"] == "SLM-MUX − a, b; 5 %"
    assert [float(row[name]) for name in ("accuracy", "difference", "seconds")] == [
        -0.032,
        -0.032,
        -1e-5,
    ]


@pytest.mark.parametrize("text", [EVERYTHING, CELLS, RED])
def test_every_row_keeps_its_columns(text):
    lines = [line(text), line("plain")]
    comparison = Comparison(lines, text, [text])
    rows = read(comparison.csv())
    assert len(rows) == 2
    assert all(None not in row and None not in row.values() for row in rows)
    table = [row for row in comparison.markdown().splitlines() if row.startswith("| ")]
    assert len({row.replace("\\|", "").count("|") for row in table}) == 1
    assert obeyed(comparison.csv().replace("\n", "")) | obeyed(comparison.markdown()) == set()


@pytest.mark.parametrize(
    "text",
    [
        HTML,
        CELLS,
        "a\rb",
        "&lt;script&gt;",
        "a\x0cb\x1cc\x85d",
        "[x](javascript:alert(1))",
        "~~x~~",
        MARKUP,
    ],
)
def test_markdown_is_text(text):
    shown = in_markdown(text)
    assert len(shown.splitlines()) == 1
    assert "<" not in shown
    assert "&lt;script" not in shown
    assert "](" not in shown.replace("\\]", "")


def test_run_files_escape_formulas_in_member_names(tmp_path):
    names = [FORMULA, "-1+1", "@x"]
    pool = [
        scripted_member(name, strengths)
        for name, strengths in zip(names, STRENGTHS.values(), strict=True)
    ]
    task = synthetic_task(validation=6, test=6, name="+task")
    run = synthetic_run(
        tmp_path,
        tasks=[task],
        members=lambda: pool,
        methods=("single", "slm_mux", "self_consistency"),
    )
    write_table(run)
    rows = read((tmp_path / "table.csv").read_text())
    assert {row["task"] for row in rows} == {"'+task"}
    assert any(FORMULA in row["title"] for row in rows)
    assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)


def test_reports_keep_markdown_columns_and_exact_names():
    setting = Setting((CELLS, FORMULA), 3, 1.0, "consistency", 0.5, 6.0)
    tuned = Tuned(setting, setting, setting, (0.0, -0.1, 0.1), 5, 0, True, None)
    report = MuxReport(tuned, {}, [])
    table = [row for row in report.to_markdown().splitlines() if row.startswith("| ")]
    assert len(table) == 4
    assert {row.replace("\\|", "").count("|") for row in table} == {7}
    # A DataFrame is no file: it keeps names as they are, to be joined with others.
    assert list(report.to_dataframe()["members"]) == [f"{CELLS}, {FORMULA}"] * 3
