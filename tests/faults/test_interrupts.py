"""Ctrl-C during `dspy-mux collect`: it ends, with everything recorded that has arrived."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from dspy_mux import SampleBank

from ..support.fault_server import Fault, fault_server
from ..support.wait import PATIENCE_S, until

QUESTIONS, K, THREADS = 40, 2, 8
#: Questions from this one on are never answered.
HANGS_FROM = 20
POOL = """
k = {k}
temperature = 0.5

[[members]]
model = "openai/a"
api_base = "{address}"
options = {{ cache = false }}
"""
TASK = """
import time
import dspy

def program():
    return dspy.Predict("question -> answer")

def examples(split=None, limit=None):
    questions = [f"q{{n}}?" for n in range({questions})]
    return [dspy.Example(question=q, answer="42").with_inputs("question") for q in questions]

def metric(example, prediction, trace=None):
    with open("scoring", "a") as scoring:
        scoring.write("x")
    time.sleep({metric_s})
    return prediction.answer == example.answer
"""


def number(request):
    return int(request.question[1:-1])


def hangs(request):
    return Fault.HANG if number(request) >= HANGS_FROM else None


class Collection:
    """`dspy-mux collect` in a process of its own."""

    def __init__(self, folder: Path, server, metric_s: float = 0.0):
        (folder / "pool.toml").write_text(POOL.format(k=K, address=server.address))
        (folder / "task.py").write_text(TASK.format(questions=QUESTIONS, metric_s=metric_s))
        self.bank = SampleBank(folder / "bank.sqlite")
        command = [
            "collect",
            "task",
            "--pool",
            "pool.toml",
            "--bank",
            "bank.sqlite",
            "--num-threads",
            str(THREADS),
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "DSPY_CACHEDIR": str(folder / "cache"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dspy_mux", *command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ends(self) -> tuple[int, str]:
        """Exit code and stderr; what hangs in these tests hangs for longer than this waits."""
        _, said = self.process.communicate(timeout=2 * PATIENCE_S)
        return self.process.returncode, said

    def recorded(self) -> Counter[str]:
        rows = list(self.bank.rows()) if self.bank.exists() else []
        self.bank.close()
        return Counter(row["question"] for row in rows)


@pytest.mark.parametrize("presses", [1, 4])
def test_ctrl_c_keeps_draws_that_have_arrived(tmp_path, presses):
    with fault_server(hangs) as server:
        collection = Collection(tmp_path, server)
        # Until all that answer have, and all threads hang.
        until(lambda: len(server.requests) == HANGS_FROM * K + THREADS)
        for press in range(presses):
            collection.process.send_signal(signal.SIGINT)
            time.sleep(0.05 * (press < presses - 1))
        code, said = collection.ends()
        if presses == 1:
            assert code == 130
            last = "dspy-mux: interrupted; what had arrived is kept, and costs nothing again."
            assert said.splitlines()[-1] == last
            assert "Traceback" not in said
        else:
            assert code in (130, -signal.SIGINT)  # the last one may find Python on its way out
        assert collection.recorded() == {f"q{n}?": K for n in range(HANGS_FROM)}
    with fault_server(lambda _: None) as server:
        collection = Collection(tmp_path, server)
        assert collection.ends()[0] == 0
        assert collection.recorded() == {f"q{n}?": K for n in range(QUESTIONS)}
        assert Counter(map(number, server.requests)) == dict.fromkeys(
            range(HANGS_FROM, QUESTIONS), K
        )


def test_a_response_not_scored_yet_is_recorded(tmp_path):
    with fault_server(lambda _: None) as server:
        collection = Collection(tmp_path, server, metric_s=600)
        scoring = tmp_path / "scoring"
        until(lambda: scoring.exists() and len(scoring.read_text()) == THREADS)
        collection.process.send_signal(signal.SIGINT)
        assert collection.ends()[0] == 130
        assert sum(collection.recorded().values()) == THREADS
        assert {row.get("score") for row in collection.bank.rows()} == {None}
        asked = len(server.requests)
        again = Collection(tmp_path, server)
        assert again.ends()[0] == 0
        assert {row["score"] for row in again.bank.rows()} == {1.0}
        assert len(server.requests) - asked == QUESTIONS * K - THREADS
