"""`python -m eval compare` as a process, against a model server over HTTP."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import pytest

from ...support.commands import python_m_eval, run_here
from ...support.http_models import model_server


@pytest.fixture(scope="module")
def server():
    with model_server() as running:
        yield running


@pytest.fixture
def pool(server, tmp_path):
    path = tmp_path / "pool.toml"
    members = [
        f'[[members]]\nname = "{n}"\nmodel = "openai/{n}"\n'
        f'api_base = "{server.address}/v1"\nengine = "lm15"\n'
        for n in "ab"
    ]
    path.write_text("k = 2\ntemperature = 0.4\n" + "\n".join(members))
    return str(path)


@pytest.fixture
def questions(tmp_path):
    """Forty questions in GSM8K's form, of which every other one's answer is 42."""
    path = tmp_path / "gsm8k_few.jsonl"
    rows = [
        {"question": f"What is {i}?", "answer": f"It is so.\n#### {42 if i % 2 else 7}"}
        for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def compare(*arguments):
    command = [sys.executable, "-m", "eval", "compare", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=180, env={**os.environ, "COLUMNS": "200"}
    )


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSPY_CACHEDIR", str(tmp_path / "dspy-cache"))


def test_all_methods_are_compared_and_resumed_without_calls(server, pool, questions, tmp_path):
    run = tmp_path / "run"
    asked = [
        "--task",
        "gsm8k",
        "--file",
        questions,
        "--pool",
        pool,
        "--limit",
        6,
        "--mav-n",
        2,
        "--mav-aspects",
        "logic,facts",
    ]
    done = compare(*asked, "--out", run)
    assert done.returncode == 0, done.stderr
    assert "gsm8k, n = 6" in done.stdout
    assert "Multi-Agent Verification: n 2; aspects logic, facts" in " ".join(done.stdout.split())
    assert f"python -m eval report {run} --out report.html" in done.stdout
    with (run / "table.csv").open() as file:
        lines = {line["method"]: line for line in csv.DictReader(file)}
    golds = {
        row["question_id"]: row["gold"]
        for row in map(json.loads, (run / "results.jsonl").read_text().splitlines())
    }
    right = sum(gold == 42 for gold in golds.values()) / 6
    assert {line["n"] for line in lines.values()} == {"6"}
    assert [float(line["accuracy"]) for line in lines.values()] == pytest.approx(
        [right] * len(lines)
    )
    assert [
        float(lines[m]["calls"])
        for m in ("single:a", "self_consistency", "self_consistency_equal", "slm_mux")
    ] == [1, 2, 4, 4]
    before = len(server.paths)
    again = run_here(python_m_eval, "compare", *asked, "--out", run, "--json")
    assert again.returncode == 0, again.stderr
    assert len(server.paths) == before
    assert len(json.loads(again.stdout)["table"]) == len(lines)
    refused = run_here(python_m_eval, "compare", *asked, "--out", run, "--k", 3)
    assert refused.returncode == 2
    assert refused.stderr.strip().endswith("(k 2, now 3): name another --out, or ask as before.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--task", "gsm9k"], "There is no task 'gsm9k'"),
        (["--task", "gsm8k", "--pool", "none.toml"], "no pool file 'none.toml'"),
        (["--task", "gsm8k", "--max-tokens", "9"], "--max-tokens is for the tiny models"),
        (["--task", "gsm8k", "--members", "z"], "has no member 'z'; it has a, b"),
        (["--task", "gsm8k", "--task", "math500", "--file", "x.jsonl"], "write NAME=PATH"),
        (["--task", "gsm8k", "--methods", "voting"], "There is no method 'voting'"),
    ],
)
def test_a_mistake_is_one_line(pool, questions, tmp_path, arguments, told):
    given = ["--pool", pool] if "--pool" not in arguments else []
    given += ["--file", questions] if "--file" not in arguments and "gsm9k" not in arguments else []
    asked = ["compare", *given, *arguments, "--out", tmp_path / "run"]
    done = run_here(python_m_eval, *asked, COLUMNS="200")
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
