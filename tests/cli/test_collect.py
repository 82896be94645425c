"""`collect` on the command line: what it exits with, and what it refuses before it begins."""

from __future__ import annotations

import json
import logging

import pytest

from dspy_mux.cli.logs import without_notices

from ..support.children import forks
from ..support.fault_server import Fault, always, fault_server

TASK = """
import dspy

def program():
    return dspy.Predict("question -> answer")

def examples(split):
    asked = [dspy.Example(question=f"q{n}?", answer="42") for n in range(COUNT)]
    return [example.with_inputs("question") for example in asked]

def metric(example, prediction, trace=None):
    return example.answer == prediction.answer
"""


@pytest.fixture
def collected(dspy_mux, tmp_path, monkeypatch):
    """`collect` of two members, asking a server: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(server, *options, more="", questions=2):
        # A name of its own: Python imports a task once.
        task = f"task_of_{questions}"
        (tmp_path / f"{task}.py").write_text(TASK.replace("COUNT", str(questions)))
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
        return dspy_mux("collect", task, *where, *options)

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


def test_a_member_whose_server_is_down_is_named_at_the_end(collected, tmp_path):
    with fault_server(always(Fault.UNAVAILABLE, model="b")) as server:
        code, out, err = collected(server, "--num-threads", "1", questions=8)
        assert code == 1
        table = [line.split() for line in out.splitlines()]
        assert ["a", "16", "0", "1.000", "16"] in table
        assert ["b", "12", "12", "(100.0", "%)", "0"] in table
        [line] = [line for line in err.splitlines() if line.startswith("dspy-mux: ")]
        assert line.startswith("dspy-mux: 'b' was given up after 12 draws, as the last 12 failed")
        assert "the same command makes the 4 that are missing" in line
        assert "another collection" not in out
        server.plan = lambda _: None
        code, out, err = collected(server, "--retry-failed", "--json", questions=8)
        told = json.loads(out)
        assert (code, told["drawn"], told["failed"], told["given_up"]) == (0, 16, 0, [])
        assert [each["draws"] for each in told["members"]] == [16, 16]


def test_a_member_that_mostly_abstains_is_told_why(collected):
    with fault_server(always(Fault.CUT_OFF, model="b")) as server:
        code, out, err = collected(server, questions=6)
        assert code == 0
        assert (
            "b abstained in 12 of 12 draws, most often with 'cut off at max_tokens': raise" in out
        )
        assert out.count("cut off at max_tokens") == 1


def test_warnings_of_dspys_that_help_nobody_are_unsaid_by_the_verbs_alone(caplog, monkeypatch):
    prices, lm = map(logging.getLogger, ("dspy.clients.model_metadata", "dspy.clients.lm"))
    for logger in (prices, lm):
        # Another test's library may have configured logging, which disables loggers that are there.
        monkeypatch.setattr(logger, "disabled", False)
        caplog.set_level(logging.WARNING, logger.name)
        logger.addHandler(caplog.handler)
    try:
        with without_notices():
            prices.warning(
                "Model metadata refresh failed (%s); using bundled snapshot.", "URLError"
            )
            lm.warning("LM response was truncated; increase max_tokens or inspect history.")
            lm.warning("another")
        lm.warning("LM response was truncated; increase max_tokens or inspect history.")
    finally:
        for logger in (prices, lm):
            logger.removeHandler(caplog.handler)
    said = list(dict.fromkeys(record.getMessage()[:7] for record in caplog.records))
    assert said == ["another", "LM resp"]
