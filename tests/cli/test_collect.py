"""`collect` on the command line: what it exits with, and what it refuses before it begins."""

from __future__ import annotations

import json

import pytest

from ..support.children import forks
from ..support.fault_server import Fault, always, fault_server

TASK = """
import dspy

def program():
    return dspy.Predict("question -> answer")

def examples(split):
    return [dspy.Example(question=f"q{n}?", answer="42").with_inputs("question") for n in range(2)]

def metric(example, prediction, trace=None):
    return example.answer == prediction.answer
"""


@pytest.fixture
def collected(dspy_mux, tmp_path, monkeypatch):
    """`collect` of two members, asking a server: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "two_questions.py").write_text(TASK)

    def run(server, *options, more=""):
        (tmp_path / "pool.toml").write_text(
            "k = 2\n"
            + "".join(
                f'[[members]]\nname = "{name}"\nmodel = "openai/{name}"\n'
                f'api_base = "{server.address}"\noptions = {{ num_retries = 0 }}\n'
                for name in "ab"
            )
            + more
        )
        where = ("--pool", "pool.toml", "--bank", "bank.sqlite")
        return dspy_mux("collect", "two_questions", *where, *options)

    return run


def test_where_all_draws_fail_it_exits_with_1(collected):
    with fault_server(always(Fault.UNAUTHORIZED)) as server:
        code, out, err = collected(server)
        assert code == 1
        assert out.startswith("8 draws recorded in bank.sqlite")
        [line] = [line for line in err.splitlines() if line.startswith("dspy-mux: ")]
        assert line.startswith("dspy-mux: All 8 draws failed, most often with 'LMAuth")
        assert "Incorrect API key" in line
        assert line.endswith("make them again with --retry-failed.")
        code, out, _ = collected(server, "--json")
        assert (code, json.loads(out)["drawn"], json.loads(out)["failed"]) == (1, 0, 8)
    with fault_server(lambda _: None) as server:
        code, out, _ = collected(server, "--retry-failed", "--json")
        assert (code, json.loads(out)["failed"]) == (0, 0)


def test_where_some_draws_fail_it_exits_with_0_and_says_how_many(collected):
    with fault_server(always(Fault.UNAUTHORIZED, model="b")) as server:
        code, out, _ = collected(server)
        assert code == 0
        assert "Errors cost 4 of 8 draws" in out
        assert "': --retry-failed makes them again." in out  # without its name in Python


@forks
def test_embedded_models_are_refused_before_their_weights_are_fetched(collected, monkeypatch):
    monkeypatch.setenv("DSPY_MUX_ACCEPT_LICENSE", "")  # or there would be another refusal
    local = '[[members]]\nlocal = "gemma3-270m"\n'
    with fault_server(lambda _: None) as server:
        code, _, err = collected(server, "--processes", "2", more=local)
        assert code == 2
        assert err.startswith("dspy-mux: gemma3-270m: embedded models run in the process")
