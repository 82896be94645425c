"""Reports of runs that are small, of several tasks, or of members with odd names."""

from __future__ import annotations

from ...support.browser import opened
from ...support.synthetic_run import STRENGTHS, scripted_member, synthetic_run, synthetic_task
from .pages import BANKED, CHARTS, reasons, report


def test_a_small_run_says_what_it_lacks(tmp_path):
    pool = [scripted_member("alone", STRENGTHS["gem-270m"])]
    run = synthetic_run(
        tmp_path / "run",
        tasks=[synthetic_task(validation=6, test=6)],
        members=lambda: pool,
        methods=BANKED[:2],
        k=1,
    )
    with opened(report(run, tmp_path)) as page:
        missing = reasons(page)
        assert set(missing) == {
            "confidence",
            "risk",
            "attribution",
            "subtasks",
            "sizes",
            "draws",
            "debate",
            "layers",
        }
        assert "one member" in missing["attribution"]
        assert "k = 1" in missing["draws"]
        assert "LLM-Debate" in missing["debate"]
        assert page.counted() == (6, 6)
        assert page.errors() == []
        assert "no answers of SLM-MUX" in page.text(".headline")


def test_a_run_of_several_tasks_shows_each(tmp_path):
    tasks = [
        synthetic_task(validation=6, test=6),
        synthetic_task(validation=6, test=12, name="more & <words>"),
    ]
    run = synthetic_run(tmp_path / "run", tasks=tasks, methods=BANKED)
    with opened(report(run, tmp_path)) as page:
        assert page.count(".methods") == 2
        assert page.counted() == (6, 6)
        assert "n = 6 questions" in page.text("#calls h3")
        page.select("#task", "more & <words>")
        assert page.counted() == (12, 12)
        assert "n = 12 questions" in page.text("#calls h3")
        assert page.count("figure") == len(CHARTS) - 2  # no discussions
        assert page.errors() == []


def test_members_with_hostile_names_show_as_text(tmp_path):
    names = ["<img src=x onerror='window.ran = 1'>", "</script><b>two</b>"]
    pool = [
        scripted_member(name, strengths)
        for name, strengths in zip(names, STRENGTHS.values(), strict=False)
    ]
    run = synthetic_run(
        tmp_path / "run",
        tasks=[synthetic_task(validation=6, test=6)],
        members=lambda: pool,
        methods=BANKED,
    )
    with opened(report(run, tmp_path)) as page:
        assert page.run("return window.ran") is None
        assert page.errors() == []
        assert page.count("img") == 0
        assert [
            option for option in page.texts("#filter-member option") if option != "any member"
        ] == names
        assert page.texts("#attribution .legend li")[0].endswith(names[0])
        hover = page.run(
            "return document.querySelector('#calls .plot').data.map(t => t.hovertext).join()"
        )
        assert "<img" not in hover
