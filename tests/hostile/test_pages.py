"""Pages in a real browser: hostile text is shown, letter for letter, and nothing of it runs,
loads or becomes an element."""

from __future__ import annotations

import json
import sys

import dspy
import pytest

from dspy_mux import SLMMux
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.baselines import LLMDebate
from dspy_mux.cli.main import main
from dspy_mux.optimize.report import MuxReport
from dspy_mux.optimize.tune import tune
from eval.report import write

from ..support.browser import opened
from ..support.hostile_texts import EVERYTHING, HTML, RED, SCRIPT, TURNED
from ..support.scripted import scripted_lm
from ..support.synthetic_run import STRENGTHS, scripted_member, synthetic_run, synthetic_task

MEMBERS = (
    f"a {HTML}{SCRIPT}",
    f"b {SCRIPT}{RED}",
    f"c {TURNED}<a href='https://example.org/'>link</a>",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Opens a file; then nothing of it may have run."""
    blank = tmp_path_factory.mktemp("blank") / "blank.html"
    blank.write_text("<title>blank</title>")
    with opened(blank) as page:

        def show(path):
            page.driver.get(path.as_uri())
            page.wait(lambda: page.run("return document.readyState") == "complete")
            return page

        yield show


def nothing_ran(page, path):
    assert page.run("return window.ran") is None
    assert page.count("img, b[onclick], a[href^='javascript'], a[href*='example.org']") == 0
    assert page.requests == [path.as_uri()]
    assert page.errors() == []


def hovered(page, chart="js-plotly-plot"):
    """What every point of every chart tells when it is pointed at."""
    return page.run(
        "const told = [];"
        f"for (const plot of document.getElementsByClassName('{chart}'))"
        "  plot.data.forEach((trace, curveNumber) => (trace.x || []).forEach((_, pointNumber) => {"
        "    const panel = (trace.xaxis || 'x') + (trace.yaxis || 'y');"
        "    try { Plotly.Fx.hover(plot, [{curveNumber, pointNumber}], panel) } catch { return }"
        "    const shown = [...plot.querySelectorAll('.hoverlayer text')];"
        "    told.push(shown.map(e => e.textContent).join(' '));"
        "  }));"
        "return told"
    )


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("bank") / "</h2><script>window.ran = 4</script>.jsonl".replace(
        "/", "\u2215"
    )
    rows = [
        {
            "question_id": f"q{q}", "model": m, "draw": d,
            "answer": EVERYTHING if right else "w", "correct": right,
            "split": ("train", "test")[q % 2],
        }
        for q in range(24)
        for at, m in enumerate(MEMBERS)
        for d in range(2)
        for right in [(q * 7 + at + d) % 4 > 0]
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_report_of_an_entirely_hostile_run(browser, tmp_path):
    pool = [
        scripted_member(name, strengths)
        for name, strengths in zip(MEMBERS, STRENGTHS.values(), strict=True)
    ]
    task = synthetic_task(validation=6, test=6, name=f"task {SCRIPT}{TURNED}")
    run = synthetic_run(tmp_path / "run", tasks=[task], members=lambda: pool)
    rows = [json.loads(line) for line in (run.path / "results.jsonl").read_text().splitlines()]
    for row in rows:
        row["inputs"]["question"], row["context"], row["gold"] = (
            EVERYTHING,
            f"{SCRIPT} {row['context']}",
            [EVERYTHING],
        )
        row["cause"] = EVERYTHING
        for told in [
            row,
            *(answer for ballot in row["ballots"] for answer in ballot["answers"]),
            *row["turns"],
        ]:
            told["answer"] = None if told["answer"] is None else {EVERYTHING: EVERYTHING}
        for turn in row["turns"]:
            turn["text"] = EVERYTHING
    (run.path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = json.loads((run.path / "run.json").read_text())
    manifest.update(command=EVERYTHING, notes=[EVERYTHING])
    (run.path / "run.json").write_text(json.dumps(manifest))
    path = tmp_path / "report.html"
    write(run.path, path)
    page = browser(path)
    page.run("document.querySelectorAll('#list details')[1].open = true")
    page.wait(lambda: page.count("#list .opened") == 1)
    page.run("document.querySelectorAll('.said, .numbers, .notes').forEach(e => e.open = true)")
    told = hovered(page, "plot")
    nothing_ran(page, path)
    assert any("<img src=x onerror='window.ran = 1'>" in text for text in told)
    for selector in ("#list .asked", "#list .opened .turn", ".facts", ".notes"):
        shown = page.text(selector)
        assert HTML in shown
        assert "</script><script>window.ran = 3</script>" in shown
        assert not {"\x1b", "\x00", "\u202e", "\u200f", "\u2028", "\ud800"} & set(shown)


@pytest.mark.parametrize("verb", ["scale", "budget"])
def test_the_page_of_a_verb(browser, record, monkeypatch, tmp_path, verb):
    path = tmp_path / "page.html"
    options = ["--k", "2"] if verb == "scale" else ["--bounds", "0.1", "--split-field", "split"]
    monkeypatch.setattr(sys, "argv", ["dspy-mux", verb, str(record), *options, "--html", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    page = browser(path)
    assert hovered(page)
    assert "<script>window.ran = 4<" in page.text("h2")
    nothing_ran(page, path)


def test_the_report_of_a_compilation(browser, record, tmp_path):
    tuned = tune(read_jsonl(record), n_trials=4)
    path = tmp_path / "report.html"
    path.write_text(MuxReport(tuned, {}, []).to_html(), encoding="utf-8")
    page = browser(path)
    told = hovered(page)
    nothing_ran(page, path)
    assert any(HTML in text for text in told)
    assert HTML in page.text("table")


def test_verdicts_in_a_notebook(browser, tmp_path):
    lms = {name: scripted_lm(f"m{at}", [{"answer": EVERYTHING}]) for at, name in enumerate(MEMBERS)}
    debate = LLMDebate(dspy.Predict("question -> answer"), lms, rounds=2)
    mux = SLMMux(dspy.Predict("question -> answer"), lms, k=1)
    path = tmp_path / "verdicts.html"
    parts = [made(question=EVERYTHING).verdict._repr_html_() for made in (mux, debate)]
    path.write_text(f"<meta charset='utf-8'>{''.join(parts)}", encoding="utf-8")
    page = browser(path)
    page.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    nothing_ran(page, path)
    assert HTML in page.text("table")
