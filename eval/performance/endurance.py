"""Memory, files and threads of a long collection: 10,000 questions × 5 members, 10 % failing.

`dspy-mux collect` and the server run in processes of their own, watched through /proc. Takes
minutes: run with `--only endurance`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dspy_mux import SampleBank

from .figures import Figure

QUESTIONS, MEMBERS, AT_ONCE, TIMEOUT = 10_000, 5, 64, 5
FAULT_RATE = 0.1
#: Questions between two looks; questions until DSPy's own histories of 10,000 calls are full.
EVERY, WARM = 1_000, 2_000

_MEMBER = '[[members]]\nmodel = "openai/{name}"\napi_base = "http://127.0.0.1:{port}/v1"\n'
_TASK = """
import dspy

def program():
    return dspy.Predict("question -> answer")

def examples(split=None, limit=None):
    asked = [f"What is {{n}}?" for n in range({questions})]
    return [dspy.Example(question=each, answer="42").with_inputs("question") for each in asked]

def metric(example, prediction, trace=None):
    return prediction.answer == example.answer
"""


@dataclass(frozen=True)
class Look:
    """The process after so many questions: resident memory in MB, open files, threads."""

    questions: int
    memory: float
    files: int
    threads: int


def figures() -> Iterator[Figure]:
    began = time.perf_counter()
    looks = list(watched(QUESTIONS, EVERY))
    seconds = time.perf_counter() - began
    title = (
        f"endurance: {QUESTIONS:,} questions × {MEMBERS} members, {FAULT_RATE:.0%} faults, "
        f"{AT_ONCE} draws at once"
    )
    warm = [look for look in looks if look.questions >= WARM]
    added = (warm[-1].memory - warm[0].memory) / (warm[-1].questions - warm[0].questions) * 1000
    yield Figure.of(
        f"{title}: memory that 1,000 more questions add, after the first {WARM:,}",
        [added],
        "MB",
        "≤ 2",
    )
    yield Figure.of(
        f"{title}: memory at the looks after that", [look.memory for look in warm], "MB"
    )
    yield Figure.of(
        f"{title}: open files, every {EVERY:,} questions", [look.files for look in looks], ""
    )
    yield Figure.of(
        f"{title}: threads, every {EVERY:,} questions", [look.threads for look in looks], ""
    )
    yield Figure.of(f"{title}: draws a second", [QUESTIONS * MEMBERS / seconds], "1/s")


def watched(questions: int, every: int) -> Iterator[Look]:
    """A look at a collection of so many questions whenever about `every` more are recorded."""
    with (
        tempfile.TemporaryDirectory() as name,
        _server() as port,
        _collection(Path(name), port, questions) as process,
    ):
        bank, due = SampleBank(Path(name) / "bank.sqlite"), every
        while process.poll() is None:
            time.sleep(1)
            done = _recorded(bank) // MEMBERS
            look = _look(process.pid, done)
            if look is not None and done >= due:
                yield look
                due += every
        bank.close()
        if process.returncode:
            raise RuntimeError(f"The collection ended with exit code {process.returncode}.")


def _look(pid: int, done: int) -> Look | None:
    """None where it has just ended."""
    here = Path(f"/proc/{pid}")
    try:
        memory = next(
            line for line in (here / "status").read_text().splitlines() if line.startswith("VmRSS")
        )
        return Look(
            done,
            int(memory.split()[1]) / 1000,
            len(list((here / "fd").iterdir())),
            len(list((here / "task").iterdir())),
        )
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return None


def _recorded(bank: SampleBank) -> int:
    return sum(row["draws"] for row in bank.info()) if bank.exists() else 0


@contextmanager
def _collection(folder: Path, port: int, questions: int) -> Iterator[subprocess.Popen[str]]:
    members = [_MEMBER.format(name=f"m{at}", port=port) for at in range(MEMBERS)]
    (folder / "pool.toml").write_text("\n".join(["k = 1", f"timeout = {TIMEOUT}", *members]))
    (folder / "task.py").write_text(_TASK.format(questions=questions))
    command = [
        "collect",
        "task",
        "--pool",
        "pool.toml",
        "--bank",
        "bank.sqlite",
        "--num-threads",
        str(AT_ONCE),
    ]
    paths = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": paths, "DSPY_CACHEDIR": str(folder / "cache")}
    with subprocess.Popen(
        [sys.executable, "-m", "dspy_mux", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def _server() -> Iterator[int]:
    command = [sys.executable, "-m", "tests.support.fault_server", "--rate", str(FAULT_RATE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()
