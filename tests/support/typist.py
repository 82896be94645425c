"""A pseudo-terminal for what runs in this process, and who types when a prompt shows.

`terminal` has one for a process of its own, which takes seconds to import DSPy.
"""

from __future__ import annotations

import os
import pty
import select
import sys
import threading
from collections.abc import Callable, Sequence

import pytest

from .wait import PATIENCE_S


class Typist:
    """Reads what a terminal shows, and types a line when its prompt shows."""

    def __init__(self, master: int, answers: Sequence[tuple[str, str]]) -> None:
        self._master, self._answers = master, list(answers)
        self._shown, self._read_to = "", 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            if not select.select([self._master], [], [], PATIENCE_S)[0]:
                os.write(self._master, b"\x04")  # whoever still waits for an answer gets none
                continue
            try:
                read = os.read(self._master, 4096)
            except OSError:  # nobody has the terminal any more
                return
            if not read:
                return
            self._shown += read.decode(errors="replace").replace("\r\n", "\n")
            if self._answers and self._answers[0][0] in self._shown[self._read_to :]:
                self._read_to = len(self._shown)
                os.write(self._master, f"{self._answers.pop(0)[1]}\n".encode())

    def finish(self) -> str:
        """Return all that was shown, once the terminal's other end is closed."""
        self._thread.join(PATIENCE_S)
        assert self._answers == [], f"never asked {self._answers[0][0]!r}: {self._shown}"
        return self._shown


def at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], object], *answers: tuple[str, str]
) -> str:
    """Run something with a terminal of 80 columns as its standard streams.

    Args:
        answers: prompts, or parts of them, in order, and what is typed at each.

    Returns:
        What the terminal showed, what was typed included.
    """
    master, slave = pty.openpty()
    typist = Typist(master, answers)
    streams = [os.fdopen(os.dup(slave), mode) for mode in ("r", "w", "w")]
    try:
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", "80")
            patch.setenv("TERM", "dumb")
            for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
                patch.setattr(sys, name, stream)
            run()
    finally:
        for stream in streams:
            stream.close()
        os.close(slave)
    shown = typist.finish()
    os.close(master)
    return shown
