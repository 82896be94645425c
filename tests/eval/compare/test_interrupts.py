"""Ctrl-C while questions are asked side by side, as of a terminal: to the whole process group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from ...support.wait import PATIENCE_S, until

#: Asks six questions, two at a time; each is answered once the file "answer" is there.
SCRIPT = """
import pathlib, time
from rich.console import Console
from dspy_mux.cli.main import one_line_errors
from eval.compare.draw import in_threads

def ask(question):
    pathlib.Path(f"asked{question}").touch()
    while not pathlib.Path("answer").exists():
        time.sleep(0.01)
    pathlib.Path(f"answered{question}").touch()

with one_line_errors():
    in_threads(ask, range(6), title="asking", console=Console(stderr=True), num_threads=2)
"""


class Asking:
    """The script, in a process of its own, with two questions under way."""

    def __init__(self, folder: Path):
        self.folder = folder
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            cwd=folder,
            env=environment,
            stderr=(folder / "stderr").open("w"),
            start_new_session=True,
        )
        until(lambda: len(self.files("asked")) == 2)

    def files(self, name: str) -> list[str]:
        return sorted(file.name for file in self.folder.glob(f"{name}*"))

    def interrupt(self, says: str) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        until(lambda: says in (self.folder / "stderr").read_text())

    def ends(self) -> int:
        return self.process.wait(PATIENCE_S)


def test_ctrl_c_finishes_what_is_under_way(tmp_path):
    asking = Asking(tmp_path)
    asking.interrupt("finishing what is under way")
    (tmp_path / "answer").touch()
    assert asking.ends() == 130
    assert asking.files("asked") == ["asked0", "asked1"]
    assert asking.files("answered") == ["answered0", "answered1"]


def test_a_second_ctrl_c_ends_the_process_at_once(tmp_path):
    asking = Asking(tmp_path)
    asking.interrupt("finishing what is under way")
    asking.interrupt("gave up what was under way; finished rows are kept")
    assert asking.ends() == 130  # nobody answers
    assert not asking.files("answered")
