"""Ctrl-C during `dspy-mux collect`: out within two seconds, with everything recorded that has arrived."""

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
    return [dspy.Example(question=f"q{{n}}?", answer="42").with_inputs("question") for n in range({questions})]

def metric(example, prediction, trace=None):
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

    def ends(self, within: float) -> tuple[int, str]:
        """Exit code and what it said on stderr."""
        began = time.monotonic()
        _, said = self.process.communicate(timeout=60)
        assert time.monotonic() - began < within
        return self.process.returncode, said

    def recorded(self) -> Counter[str]:
        rows = list(self.bank.rows()) if self.bank.exists() else []
        self.bank.close()
        return Counter(row["question"] for row in rows)


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("presses", [1, 4])
def test_ctrl_c_keeps_what_has_arrived_and_the_next_run_pays_for_nothing_twice(tmp_path, presses):
    with fault_server(hangs) as server:
        collection = Collection(tmp_path, server)
        until(
            lambda: len(server.requests) == HANGS_FROM * K + THREADS
        )  # all that answer have, all threads hang
        for press in range(presses):
            collection.process.send_signal(signal.SIGINT)
            time.sleep(0.05 * (press < presses - 1))
        code, said = collection.ends(within=2)
        if presses == 1:
            assert code == 130
            assert (
                said.splitlines()[-1]
                == "dspy-mux: interrupted; what had arrived is kept, and costs nothing again."
            )
            assert "Traceback" not in said
        else:
            assert code in (130, -signal.SIGINT)  # the last one may find Python on its way out
        assert collection.recorded() == {f"q{n}?": K for n in range(HANGS_FROM)}
    with fault_server(lambda _: None) as server:
        collection = Collection(tmp_path, server)
        assert collection.ends(within=60)[0] == 0
        assert collection.recorded() == {f"q{n}?": K for n in range(QUESTIONS)}
        assert Counter(map(number, server.requests)) == dict.fromkeys(
            range(HANGS_FROM, QUESTIONS), K
        )


def test_a_response_whose_metric_is_still_at_work_is_recorded_and_scored_by_the_next_run(tmp_path):
    with fault_server(lambda _: None) as server:
        collection = Collection(tmp_path, server, metric_s=60)
        until(lambda: len(server.requests) == THREADS)
        time.sleep(0.3)  # all have their response, and are at the metric
        collection.process.send_signal(signal.SIGINT)
        assert collection.ends(within=2.5)[0] == 130
        assert sum(collection.recorded().values()) == THREADS
        assert {row.get("score") for row in collection.bank.rows()} == {None}
        asked = len(server.requests)
        again = Collection(tmp_path, server)
        assert again.ends(within=60)[0] == 0
        assert {row["score"] for row in again.bank.rows()} == {1.0}
        assert len(server.requests) - asked == QUESTIONS * K - THREADS
