"""The command line: results on stdout, one line on stderr, exit code 1 or 2, no traceback."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import dspy
import pytest

from dspy_mux import SLMMux, __version__

from ..support import commands
from ..support.commands import run_here
from ..support.http_models import model_server


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A pool file of two members on a running server."""
    with model_server() as server:
        path = tmp_path_factory.mktemp("pool") / "pool.toml"
        members = [
            f'[[members]]\nname = "{n}"\nmodel = "openai/{n}"\napi_base = "{server.address}/v1"\n'
            for n in "ab"
        ]
        path.write_text("\n".join(members))
        yield path


def dspy_mux(*arguments, stdin=""):
    return run_here(commands.dspy_mux, *arguments, stdin=stdin, COLUMNS="120")


def dspy_mux_process(*arguments, stdin="", **environment):
    command = [sys.executable, "-m", "dspy_mux", *map(str, arguments)]
    env = {
        **os.environ,
        "COLUMNS": "120",
        "DSPY_CACHEDIR": os.environ.get("DSPY_CACHEDIR", "/tmp"),
        **environment,
    }
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=env, input=stdin
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "dspy-cache"))


def test_ask_shows_the_answer_and_every_members_ballot(pool):
    done = dspy_mux_process("ask", "--pool", pool, "What is 6 × 7?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].strip() == "42"
    assert "3 of 3" in done.stdout
    assert "6 LM calls, 72 tokens" in done.stdout


def test_ask_json_prints_one_object_and_nothing_else(pool):
    done = dspy_mux("ask", "--pool", pool, "--json", "--k", 2, "-", stdin="What is 6 × 7?\n")
    verdict = json.loads(done.stdout)
    assert (verdict["answer"], verdict["member"], verdict["calls"]) == ("42", "a", 4)
    assert [ballot["votes"] for ballot in verdict["ballots"]] == [[0, 0], [0, 0]]


def test_models_lists_the_catalog_and_says_what_its_sources_are():
    done = dspy_mux("models")
    assert done.returncode == 0
    for name in ("smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b", "qwen2.5-1.5b"):
        assert name in done.stdout
    said = " ".join(done.stdout.split())
    assert "hub: https://huggingface.co, asked first" in said
    assert "archives that other people uploaded under names of their own" in said


def one_line(done, code):
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    # On a busy machine a step may take the ten seconds after which a log says how far it is.
    lines = [line for line in lines if not re.search(r"\d (s|min)( left)?$", line)]
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    return lines[0]


def test_a_missing_file(tmp_path):
    assert "There is no pool file" in one_line(
        dspy_mux("ask", "--pool", tmp_path / "none.toml", "?"), 2
    )
    assert "There is no saved mux" in one_line(
        dspy_mux("ask", "--mux", tmp_path / "none.json", "?"), 2
    )


def test_no_pool_at_all():
    assert "ask needs a pool: pass --pool pool.toml" in one_line(dspy_mux_process("ask", "?"), 2)


def test_an_unset_key_variable(tmp_path):
    path = tmp_path / "pool.toml"
    path.write_text('[[members]]\nmodel = "openai/gpt-4o-mini"\napi_key_env = "SURELY_NOT_SET"\n')
    assert "SURELY_NOT_SET, which is not set: export it" in one_line(
        dspy_mux("ask", "--pool", path, "?"), 2
    ).replace("export SURELY_NOT_SET=…", "export it")


def test_a_pool_of_one_answers_and_says_that_it_chooses_between_no_models(pool, tmp_path):
    path = tmp_path / "one.toml"
    path.write_text(pool.read_text().partition("\n\n")[0])
    done = dspy_mux("ask", "--pool", path, "What is 6 × 7?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].strip() == "42"
    assert "The pool has one member, 'a': its most frequent answer wins" in done.stderr


def test_a_wrong_local_name(tmp_path):
    path = tmp_path / "pool.toml"
    path.write_text('[[members]]\nlocal = "smollm3"\n')
    assert "smollm3" in one_line(dspy_mux("ask", "--pool", path, "?"), 2)
    assert "smollm3" in one_line(dspy_mux("pull", "smollm3"), 2)


def test_a_wrong_model_name_on_a_server(tmp_path):
    with model_server() as server:
        path = tmp_path / "pool.toml"
        members = [
            f'[[members]]\nmodel = "openai/unknown{n}"\napi_base = "{server.address}/v1"\n'
            for n in "ab"
        ]
        path.write_text("\n".join(members))
        assert "not found" in one_line(dspy_mux("ask", "--pool", path, "?"), 1)


def test_an_empty_question(pool):
    assert "The question is empty" in one_line(dspy_mux("ask", "--pool", pool, " "), 2)


def test_a_saved_mux_of_other_members(pool, tmp_path):
    from dspy_mux import SLMMux

    from ..support.scripted import scripted_lm

    SLMMux("question -> answer", [scripted_lm("z", ["x"])]).save(tmp_path / "mux.json")
    assert "The saved mux has the members" in one_line(
        dspy_mux("ask", "--pool", pool, "--mux", tmp_path / "mux.json", "?"), 2
    )


def test_no_verb_shows_the_help():
    done = dspy_mux_process()
    assert done.returncode == 2
    assert "Commands" in done.stdout + done.stderr
    assert "dspy-mux:" not in done.stderr
    assert dspy_mux("--version").stdout == f"dspy-mux {__version__}\n"


def test_a_saved_mux_of_one_member_answers(pool, tmp_path):
    lms = {
        name: dspy.LM(f"openai/{name}", api_base="http://localhost:1/v1", api_key="none")
        for name in "ab"
    }
    SLMMux("question -> answer", lms, k=2).subset(["b"]).save(tmp_path / "mux.json")
    done = dspy_mux("ask", "--mux", tmp_path / "mux.json", "--pool", pool, "What is 6 × 7?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].strip() == "42"


def test_a_question_leaves_the_loggers_as_they_were(pool):
    loggers = [logging.getLogger(name) for name in ("dspy", "dspy_mux")]
    before = [logger.level for logger in loggers]
    assert dspy_mux("ask", "--pool", pool, "What is 6 × 7?").returncode == 0
    assert [logger.level for logger in loggers] == before


TASK = """
import dspy

def program():
    return dspy.Predict("question -> answer: float")

def examples(split):
    rows = {"train": range(5), "test": range(5, 10)}[split]
    return [dspy.Example(question=f"{n}?", answer=n).with_inputs("question") for n in rows]

def metric(example, prediction, trace=None):
    return example.answer == prediction.answer
"""


def test_collect_takes_a_task_as_the_readme_says(pool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limited_task.py").write_text(TASK)
    arguments = ("collect", "limited_task", "--pool", pool, "--bank", "bank.sqlite", "--k", 2)
    done = dspy_mux(*arguments, "--split", "test", "--limit", 3, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["drawn"] == 2 * 2 * 3
    assert "has no split 'dev'" in one_line(dspy_mux(*arguments, "--split", "dev"), 2)
    assert "must return the examples of all splits" in one_line(dspy_mux(*arguments), 2)
