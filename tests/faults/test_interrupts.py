"""Ctrl-C during `dspy-mux collect`: it ends, with everything recorded that has arrived.

Signals go to the whole process group, as those of a terminal do.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from dspy_mux import SampleBank
from dspy_mux.bank.units import UNITS_AT_ONCE

from ..support.children import forks
from ..support.fault_server import Fault, fault_server
from ..support.wait import PATIENCE_S, until

QUESTIONS, K, THREADS = 40, 2, 8
#: Questions from this one on are never answered.
HANGS_FROM = 20
one_or_two = pytest.mark.parametrize("processes", [1, pytest.param(2, marks=forks)])
sees_processes = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
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

    def __init__(
        self,
        folder: Path,
        server,
        metric_s: float = 0.0,
        bank: str = "bank.sqlite",
        processes: int = 1,
    ):
        (folder / "pool.toml").write_text(POOL.format(k=K, address=server.address))
        (folder / "task.py").write_text(TASK.format(questions=QUESTIONS, metric_s=metric_s))
        self.bank = SampleBank(bank if "://" in bank else folder / bank)
        self._stderr = folder / "stderr"
        command = [
            "collect",
            "task",
            "--pool",
            "pool.toml",
            "--bank",
            bank,
            "--num-threads",
            str(THREADS),
            "--processes",
            str(processes),
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
            stdout=subprocess.DEVNULL,
            stderr=self._stderr.open("w"),
            start_new_session=True,
        )

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def processes(self) -> list[int]:
        """The processes of its group that have not ended."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                state, _, group = status.read_text().rpartition(")")[2].split()[:3]
                if int(group) == self.process.pid and state != "Z":
                    found.append(int(status.parent.name))
        return found

    def ends(self) -> tuple[int, str]:
        """Exit code and stderr; what hangs in these tests hangs for longer than this waits."""
        self.process.wait(2 * PATIENCE_S)
        return self.process.returncode, self._stderr.read_text()

    def says(self, text: str) -> str:
        """Stderr once it holds the text."""
        until(lambda: text in self._stderr.read_text())
        return self._stderr.read_text()

    def open_files(self) -> set[str]:
        names = set()
        for file in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                names.add(file.readlink().name)
        return names

    def recorded(self) -> Counter[str]:
        rows = list(self.bank.rows()) if self.bank.exists() else []
        self.bank.close()
        return Counter(row["question"] for row in rows)


@one_or_two
@pytest.mark.parametrize("presses", [1, 4])
def test_ctrl_c_keeps_draws_that_have_arrived(tmp_path, presses, processes):
    with fault_server(hangs) as server:
        collection = Collection(tmp_path, server, processes=processes)
        # Until all that answer have, and all threads hang.
        until(lambda: server.draws == HANGS_FROM * K + THREADS)
        for press in range(presses):
            collection.interrupt()
            time.sleep(0.05 * (press < presses - 1))
        code, said = collection.ends()
        if presses == 1:
            assert code == 130
            last = "dspy-mux: interrupted; what had arrived is kept, and costs nothing again."
            assert said.splitlines()[-1] == last
            assert "Traceback" not in said
        else:
            assert code in (130, -signal.SIGINT)  # the last one may find Python on its way out
        until(lambda: not collection.processes())
        assert collection.recorded() == {f"q{n}?": K for n in range(HANGS_FROM)}
    if presses > 1:
        return  # it goes on as after one
    with fault_server(lambda _: None) as server:
        collection = Collection(tmp_path, server)
        assert collection.ends()[0] == 0
        assert collection.recorded() == {f"q{n}?": K for n in range(QUESTIONS)}
        asked = [number(request) for request in server.requests for _ in range(request.n)]
        assert Counter(asked) == dict.fromkeys(range(HANGS_FROM, QUESTIONS), K)


@one_or_two
def test_a_response_not_scored_yet_is_recorded(tmp_path, processes):
    with fault_server(lambda _: None) as server:
        collection = Collection(tmp_path, server, metric_s=600, processes=processes)
        scoring = tmp_path / "scoring"
        until(lambda: scoring.exists() and len(scoring.read_text()) == THREADS)
        collection.interrupt()
        assert collection.ends()[0] == 130
        assert sum(collection.recorded().values()) == THREADS
        assert {row.get("score") for row in collection.bank.rows()} == {None}
        asked = server.draws
        again = Collection(tmp_path, server)
        assert again.ends()[0] == 0
        assert {row["score"] for row in again.bank.rows()} == {1.0}
        assert server.draws - asked == QUESTIONS * K - THREADS


class Writing:
    """Writes to a bank from the first request to a server on, until it is let go."""

    def __init__(self, bank: str):
        self.bank, self._held = SampleBank(bank), ExitStack()
        self._asked = threading.Lock()

    def __call__(self, request) -> None:
        if self._asked.acquire(blocking=False):
            self.begin()

    def begin(self) -> None:
        self._held.enter_context(self.bank.writing())

    def let_go(self) -> None:
        self._held.close()
        self.bank.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sees files that are open")
def test_ctrl_c_ends_a_collection_that_waits_to_begin(tmp_path):
    writing = Writing(str(tmp_path / "bank.sqlite"))
    writing.begin()
    with fault_server(lambda _: None) as server:
        collection = Collection(tmp_path, server)
        until(lambda: "bank.sqlite" in collection.open_files())
        collection.interrupt()
        assert collection.ends()[0] == 130
        assert not server.requests
    writing.let_go()


def test_ctrl_c_waits_to_record_what_has_arrived(tmp_path, bank_url):
    writing = Writing(bank_url)
    with fault_server(writing) as server:
        collection = Collection(tmp_path, server, bank=bank_url)
        # Until it waits to claim the next questions, too.
        until(lambda: server.draws == UNITS_AT_ONCE * K)
        collection.interrupt()
        collection.says("Ctrl-C again gives them up")
        writing.let_go()
        code, _ = collection.ends()
        assert code == 130
        assert sum(collection.recorded().values()) == UNITS_AT_ONCE * K


def test_a_second_ctrl_c_gives_up_what_cannot_be_recorded(tmp_path):
    writing = Writing(str(tmp_path / "bank.sqlite"))
    with fault_server(writing) as server:
        collection = Collection(tmp_path, server)
        until(lambda: server.draws == UNITS_AT_ONCE * K)
        collection.interrupt()
        collection.says("Ctrl-C again gives them up")
        collection.interrupt()
        code, said = collection.ends()
        last = said.splitlines()[-1]
        lost = re.search(r"Another process is writing to the bank .* Lost: (\d+) draws", last)
        assert code == 2
        assert sum(collection.recorded().values()) + int(lost[1]) == UNITS_AT_ONCE * K
    writing.let_go()


@forks
@sees_processes
def test_one_line_says_how_far_all_processes_are(tmp_path):
    with fault_server(lambda _: None) as server:
        collection = Collection(tmp_path, server, processes=2)
        code, said = collection.ends()
        assert code == 0
        assert collection.recorded() == {f"q{n}?": K for n in range(QUESTIONS)}
        [line] = [line for line in said.splitlines() if "drawing" in line]
        assert f"{QUESTIONS * K} of {QUESTIONS * K} draws" in line
        assert collection.processes() == []


@forks
@sees_processes
def test_processes_of_a_parent_that_is_killed_end_and_keep_what_has_arrived(tmp_path):
    with fault_server(hangs) as server:
        collection = Collection(tmp_path, server, processes=2)
        until(lambda: server.draws == HANGS_FROM * K + THREADS)
        assert len(collection.processes()) == 3
        collection.process.kill()
        collection.process.wait()
        until(lambda: not collection.processes())
        assert collection.recorded() == {f"q{n}?": K for n in range(HANGS_FROM)}


@forks
@sees_processes
def test_a_killed_process_is_reported_in_one_line(tmp_path):
    with fault_server(lambda _: None, latency=0.2) as server:
        collection = Collection(tmp_path, server, processes=2)
        until(lambda: server.draws > THREADS)
        child = next(pid for pid in collection.processes() if pid != collection.process.pid)
        os.kill(child, signal.SIGKILL)
        code, said = collection.ends()
        assert code == 0
        assert said.count("A process of the collection was ended by SIGKILL.") == 1
        assert "Traceback" not in said
        assert collection.recorded() == {f"q{n}?": K for n in range(QUESTIONS)}
