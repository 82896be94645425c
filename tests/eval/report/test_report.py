"""The report of a run made by the comparison itself, opened in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dspy_mux import ConfigurationError, DataError
from eval.report import flows, write
from eval.report.read import read
from eval.runs.folder import Run
from eval.tables.comparison import Comparison

from ...support.browser import opened
from ...support.run_files import a_turn
from ...support.synthetic_run import STRENGTHS, synthetic_run, synthetic_task
from .pages import CHARTS, reasons, report

QUESTIONS = 36
HOSTILE = (
    "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"
    "<b onclick=x>bold</b> <!-- \u2028\u2029 \x1b[31mred \x00 \u202eturned \ud800 half $style {x} "
    "%{y} var(--ink) </title></textarea>"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return synthetic_run(tmp_path_factory.mktemp("run"), tasks=[synthetic_task(test=QUESTIONS)])


def rewritten(run: Run, folder: Path, change) -> Path:
    """A copy of the run with its rows changed; without its bank."""
    copy = folder / "copy"
    copy.mkdir()
    shutil.copy(run.path / "run.json", copy)
    rows = [change(row) for row in run.rows()]
    lines = [
        json.dumps(row) for row in rows if row is not None
    ]  # ASCII, so that halves of characters can be written
    (copy / "results.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return copy


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    with opened(report(run, tmp_path_factory.mktemp("report"))) as page:
        yield page


def answers(run: Run, method: str) -> dict[str, dict]:
    return {row["question_id"]: row for row in run.rows() if row["method"] == method}


# --- the page as a whole


def test_the_command_writes_one_self_contained_file(run, tmp_path):
    out = tmp_path / "page.html"
    command = [sys.executable, "-m", "eval", "report", str(run.path), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr
    with opened(out) as page:
        assert page.requests == [out.as_uri()]
        assert page.errors() == []


def test_every_chart_has_title_axes_and_n(page):
    for name in CHARTS:
        chart = page.find(f"#{name} figure")
        assert re.search(r"n = \d+ questions", page.text(f"#{name} h3")), name
        assert page.count(f"#{name} .plot svg.main-svg") > 0, name
        assert page.count(f"#{name} .numbers tbody tr") > 0, name
        marks = ".point, .points path, .bars path, .sankey-node, .heatmaplayer image, .textpoint"
        assert page.count(f"#{name} .plot :is({marks})") > 0, name
        if name not in ("debate", "layers"):
            titles = page.run(
                f"return [...document.querySelectorAll('#{name} .plot :is(.xtitle, .ytitle)')]"
                ".map(e => e.textContent)"
            )
            assert titles, name
            assert all(titles), name
        assert chart.is_displayed()
    assert page.texts(".reason") == []
    assert page.errors() == []


def test_the_table_is_the_comparisons_own(run, page):
    lines = Comparison.of(run).lines
    assert page.texts(".methods tbody th") == [line.title for line in lines]
    shown = [page.texts(f".methods tbody tr:nth-child({at + 1}) td") for at in range(len(lines))]
    assert shown == [line.cells()[1:] for line in lines]


def test_the_header_names_measurement_and_difference(run, page):
    mux, best = answers(run, "slm_mux"), answers(run, "self_consistency")
    gap = (
        100 * sum(mux[question]["score"] - best[question]["score"] for question in mux) / QUESTIONS
    )
    assert f"answered {QUESTIONS} questions of words (split test), with k = 3" in page.text(
        ".measured"
    )
    assert (
        f"{abs(gap):.1f} points {'more' if gap >= 0 else 'fewer'} than self-consistency"
        in page.text(".headline")
    )
    assert "dspy_mux" in page.text(".facts")
    assert "python -m eval compare" in page.text(".facts")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_the_page(page, width):
    page.resize(width)
    page.run("document.querySelector('#list details').open = true")
    page.run("document.querySelectorAll('.numbers, .notes, .said').forEach(e => e.open = true)")
    assert page.run("return document.documentElement.scrollWidth") <= width
    wide = page.run(
        "return [...document.querySelectorAll('main *')]"
        ".filter(e => !e.closest('.scroll, svg, .plot') && e.getClientRects().length"
        "  && e.getBoundingClientRect().right > innerWidth + 1)"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    cut = page.run(
        "const inside = (a, b) => a.left >= b.left - 1 && a.right <= b.right + 1"
        "  && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;"
        "const texts = '.plot :is(.xtitle, .ytitle, .xtick text, .ytick text)';"
        "const box = e => e.getBoundingClientRect();"
        "return [...document.querySelectorAll(texts)]"
        ".filter(e => !inside(box(e), box(e.closest('.plot')))).map(e => e.textContent)"
    )
    assert cut == []
    page.resize(1280)


def test_charts_and_page_follow_the_theme(page):
    def colors():
        return page.run(
            "const style = e => getComputedStyle(e), first = s => document.querySelector(s);"
            "return [style(document.body).backgroundColor, style(first('.xtick text')).fill,"
            " style(first('.point')).fill]"
        )

    def changed(before, now):
        return all(one != other for one, other in zip(before, now, strict=True))

    light = colors()
    page.prefer("dark")
    page.wait(lambda: changed(light, colors()))
    dark = colors()
    page.find("#theme").click()
    page.wait(lambda: colors() == light)
    page.find("#theme").click()
    page.wait(lambda: colors() == dark)
    page.prefer("light")
    page.wait(lambda: not page.run("return matchMedia('(prefers-color-scheme: dark)').matches"))
    assert colors() == dark  # chosen by hand, so it stays
    page.find("#theme").click()


# --- the list of questions


def test_filters_count_what_the_rows_say(run, page):
    mux, debate = answers(run, "slm_mux"), answers(run, "llm_debate")
    member = next(iter(STRENGTHS))
    assert page.counted() == (QUESTIONS, QUESTIONS)
    page.choose("outcome", "wrong")
    assert (
        page.counted()[0]
        == sum(row["answer"] is not None and row["score"] < 1 for row in mux.values())
        > 0
    )
    page.choose("method", "llm_debate")
    assert (
        page.counted()[0]
        == sum(row["answer"] is not None and row["score"] < 1 for row in debate.values())
        > 0
    )
    page.choose("outcome", "")
    page.choose("member", member)
    assert page.counted()[0] == sum(row["member"] == member for row in debate.values()) > 0
    page.choose("subtask", "=city")
    expected = [
        question
        for question, row in debate.items()
        if row["member"] == member and row["context"] == "city"
    ]
    assert page.counted()[0] == len(expected) == page.count("#list > li")
    page.find(".filters button[type=reset]").click()
    page.wait(lambda: page.counted() == (QUESTIONS, QUESTIONS))
    page.find("#filter-text").send_keys("OF T7?")
    assert page.counted()[0] == 1
    assert page.texts("#list .asked") == ["What is the city of t7?"]
    page.find(".filters button[type=reset]").click()
    page.wait(lambda: page.counted() == (QUESTIONS, QUESTIONS))


def test_questions_missed_despite_a_right_member_are_found(run, page):
    mux = answers(run, "slm_mux")
    missed = [
        row
        for row in mux.values()
        if row["score"] < 1
        and any(b["answers"] and b["answers"][0]["score"] >= 1 for b in row["ballots"])
    ]
    page.choose("outcome", "missed")
    assert page.counted()[0] == len(missed) > 0
    page.choose("outcome", "")


def test_an_opened_question_shows_every_draw_and_turn(run, page):
    page.find("#filter-text").send_keys("t-007")
    page.find("#list summary").click()
    page.wait(lambda: page.count("#list .opened") == 1)
    most = {
        ballot["member"]: ballot
        for row in run.rows()
        if row["question_id"] == "t-007"
        for ballot in row["ballots"]
    }
    for row in run.rows():
        if row["question_id"] == "t-007" and row["method"] not in (
            "llm_debate",
            "mixture_of_agents",
            "multi_agent_verification",
        ):
            for ballot in row["ballots"]:
                if len(ballot["votes"]) >= len(most[ballot["member"]]["votes"]):
                    most[ballot["member"]] = ballot
    drawn = [
        page.texts(f"#list .opened .scroll:first-of-type tr:nth-child({at + 1}) .draws li")
        for at in range(len(STRENGTHS))
    ]
    for member, chips in zip(STRENGTHS, drawn, strict=True):
        ballot = most[member]
        said = {
            answer["group"]: f"{answer['answer']} {'✓' if answer['score'] >= 1 else '✗'}"
            for answer in ballot["answers"]
        }
        assert chips == ["–" if vote is None else said[vote] for vote in ballot["votes"]]
    assert page.count("#list .opened tbody tr") == len(STRENGTHS) + len(run.manifest["methods"])
    debate = answers(run, "llm_debate")["t-007"]
    page.run("document.querySelectorAll('.said').forEach(e => e.open = true)")
    shown = page.texts("#list details.said .turn")
    assert all(turn["text"].strip() in "\n".join(shown) for turn in debate["turns"])
    page.find(".filters button[type=reset]").click()


# --- hostile text


def test_hostile_text_never_runs(run, tmp_path):
    def hostile(row):
        row["inputs"]["question"] = HOSTILE
        row["context"], row["gold"], row["question_id"] = (
            HOSTILE,
            [HOSTILE],
            row["question_id"] + HOSTILE,
        )
        row["cause"] = HOSTILE
        for part in [
            row,
            *(answer for ballot in row["ballots"] for answer in ballot["answers"]),
            *row["turns"],
        ]:
            part["answer"] = None if part["answer"] is None else HOSTILE
        for turn in row["turns"]:
            turn["text"], turn["unjudged"] = HOSTILE, {HOSTILE: HOSTILE}
        for ballot in row["ballots"]:
            ballot["probabilities"] = [None if vote is None else 0.25 for vote in ballot["votes"]]
        return row

    copy = rewritten(run, tmp_path, hostile)
    manifest = json.loads((copy / "run.json").read_text())
    manifest["command"], manifest["notes"] = HOSTILE, [HOSTILE]
    manifest["tasks"][0]["context"] = HOSTILE
    (copy / "run.json").write_text(json.dumps(manifest))
    with opened(report(copy, tmp_path)) as page:
        page.run("document.querySelectorAll('#list details')[2].open = true")
        page.wait(lambda: page.count("#list .opened") == 1)
        page.run("document.querySelectorAll('.said').forEach(e => e.open = true)")
        assert page.run("return window.ran") is None
        assert page.count("img, main b[onclick]") == 0
        assert page.requests == [(tmp_path / "report.html").as_uri()]
        assert page.errors() == []
        chips = page.texts("#list .opened .draws li")
        assert {chip == "–" or chip.endswith(" 0.25") for chip in chips} == {True}
        shown = [
            page.text("#list .asked"),
            page.text("#list .opened .turn"),
            page.text(".facts"),
            page.text("#subtasks"),
        ]
        for text in shown[:3]:
            assert (
                "</script><script>window.ran = 1</script><img src=x onerror='window.ran = 2'>"
                in text
            )
            assert "␛[31mred ␀ ⟨U+202E⟩turned \ufffd half $style" in text
        assert "<script>window.ran" in shown[3]


def test_draws_outside_the_run_are_mentioned(run, tmp_path):
    with opened(report(rewritten(run, tmp_path, lambda row: row), tmp_path)) as page:
        missing = reasons(page)
        assert set(missing) == {"risk", "sizes", "draws"}
        assert "outside the run's folder" in missing["sizes"]


def test_folders_without_answers_are_refused(run, tmp_path):
    with pytest.raises(DataError, match="not a run folder"):
        write(tmp_path, tmp_path / "report.html")
    empty = rewritten(run, tmp_path, lambda row: None)
    with pytest.raises(ConfigurationError, match="has no answers yet"):
        write(empty, tmp_path / "report.html")
    with pytest.raises(ConfigurationError, match="cannot hold a page"):
        write(run.path, tmp_path / "no" / "report.html")


# --- flows


def test_flows_count_answers_and_the_aggregators_inputs(run, tmp_path):
    def turn(number, agent, score, group=0):
        return a_turn(round=number, agent=agent, group=group, score=score)

    def discussed(row):
        debate = [turn(1, 1, 1.0), turn(1, 2, 0.0), turn(2, 1, 0.0), turn(2, 2, 0.0, None)]
        layers = [turn(1, 1, 1.0), turn(1, 2, 0.0), turn(2, 1, 1.0)]
        row["turns"] = {"llm_debate": debate, "mixture_of_agents": layers}.get(row["method"], [])
        return row

    [task] = read(Run.open(rewritten(run, tmp_path, discussed)))
    assert [list(row) for row in flows.debate(task).rows] == [
        ["1", "right", "wrong", str(QUESTIONS)],
        ["1", "wrong", "no answer", str(QUESTIONS)],
    ]
    given = len(answers(run, "mixture_of_agents"))
    assert [list(row) for row in flows.layers(task).rows] == [
        ["1", "right", "right", str(given)],
        ["1", "wrong", "right", str(given)],
    ]


# --- what is easily cut


def test_every_bar_ends_inside_its_chart(page):
    page.resize(1280)
    outside = page.run(
        "const box = e => e.getBoundingClientRect();"
        "return [...document.querySelectorAll('.plot .errorbar path')].filter(e => {"
        "  const own = box(e), around = box(e.closest('.plot'));"
        "  return own.top < around.top || own.bottom > around.bottom"
        "}).length"
    )
    assert page.count(".plot .errorbar path") > 20
    assert outside == 0


def test_a_phone_shows_that_the_table_goes_on(page):
    page.resize(390)
    box = ".scroll:has(.methods)"
    assert page.find(".methods .hint").is_displayed()
    assert "n = 36 questions" in page.text(".methods caption")
    assert page.run(
        f"const box = document.querySelector('{box}');"
        "const cell = box.querySelector('tbody th');"
        "const before = cell.getBoundingClientRect().left;"
        "box.scrollLeft = 200;"
        "const moved = cell.getBoundingClientRect().left - before;"
        "box.scrollLeft = 0;"
        "return [box.scrollWidth > box.clientWidth, getComputedStyle(box).overflowX, moved]"
    ) == [True, "auto", 0]
    page.resize(1280)
    assert not page.find(".methods .hint").is_displayed()
