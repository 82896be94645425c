"""`python -m eval groupthink`."""

from __future__ import annotations

import json

import pytest

from eval.groupthink.table import run as run_table
from eval.runs.folder import Run

from ...support.commands import python_m_eval, run_here
from ...support.run_files import manifest
from .rows import FIVE, a_judge, by_question


@pytest.fixture
def folder(tmp_path):
    """A run folder with the rows of FIVE."""
    with Run.start(tmp_path / "run", manifest()) as run:
        for each in FIVE:
            run.append(each)
    return tmp_path / "run"


def command(*arguments):
    return run_here(python_m_eval, *arguments)


def test_the_command_prints_the_figures_and_the_definition(folder):
    ran = command("groupthink", folder, "--markdown")
    assert ran.returncode == 0, ran.stderr
    assert "| sums | llm\\_debate | 5 | 3 | 66.7 (" in ran.stdout
    assert "A failed question is groupthink where" in ran.stdout
    assert "on 1 of 5 questions an error ended a turn, or none is recorded" in ran.stdout


def test_the_command_gives_one_json_object(folder):
    ran = command("groupthink", folder, "--json")
    assert ran.returncode == 0, ran.stderr
    printed = json.loads(ran.stdout)
    (found,) = printed["discussions"]
    assert found["failures"]["given up"] == 1
    assert found["given_up"]["hits"] == 2
    assert found["judged"] is None


def test_the_table_compares_judge_and_definition(folder, capsys):
    shown = {"task": None, "method": None, "as_markdown": True}
    run_table(folder, **shown, as_json=False, judge=a_judge(by_question, name="beside"))
    printed = capsys.readouterr().out
    assert "by the judge beside, beside the definition" in printed
    run_table(
        folder,
        **shown,
        as_json=False,
        judge=a_judge(lambda prompt, draw: "I would rather not.", name="shy"),
    )
    assert "The judge gave no opinion 2 times: AdapterParseError" in capsys.readouterr().out
    run_table(folder, **shown, as_json=True, judge=a_judge(by_question, name="beside"))
    found = json.loads(capsys.readouterr().out)["discussions"][0]["judged"]
    assert [opinion["groupthink"] for opinion in found["opinions"]] == [True, False]
    assert (found["judge"], found["silent"]) == ("beside", 1)


def test_a_run_without_that_discussion_is_refused(folder):
    ran = command("groupthink", folder, "--method", "slm_mux")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "no discussion of method 'slm_mux'" in ran.stderr
