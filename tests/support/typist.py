"""A pseudo-terminal whose user types an answer when a prompt shows."""

from __future__ import annotations

import os
import pty
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest


class Typist:
    """Reads what a terminal shows, and types.

    Attributes:
        shown: all that was shown so far, what was typed included.
    """

    def __init__(self, master: int, answers: Sequence[tuple[str, str]]) -> None:
        self.shown = ""
        self._master, self._answers, self._from = master, list(answers), 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                read = os.read(self._master, 4096)
            except OSError:  # the last process that had the terminal is gone
                return
            if not read:
                return
            self.shown += read.decode(errors="replace").replace("\r\n", "\n")
            if self._answers and self._answers[0][0] in self.shown[self._from :]:
                _, answer = self._answers.pop(0)
                self._from = len(self.shown)
                os.write(self._master, answer.encode())

    def type(self, text: str) -> None:
        """Type something at once."""
        os.write(self._master, text.encode())

    def finish(self) -> str:
        """Return all that was shown, once nobody has the terminal any more."""
        self._thread.join(timeout=60)
        assert self._answers == [], f"never asked {self._answers[0][0]!r}: {self.shown}"
        return self.shown


@contextmanager
def terminal(answers: Sequence[tuple[str, str]]) -> Iterator[tuple[int, Typist]]:
    """Yield a terminal's end for a process, and who sits at the other.

    Args:
        answers: what is typed, in order, each when its prompt shows.
    """
    master, slave = pty.openpty()
    typist = Typist(master, answers)
    try:
        yield slave, typist
    finally:
        os.close(master)


def at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[], object], *answers: tuple[str, str]
) -> str:
    """Run something in this process with a terminal as its standard streams.

    Returns:
        What the terminal showed.
    """
    lines = [(prompt, f"{answer}\n") for prompt, answer in answers]
    with terminal(lines) as (slave, typist):
        with monkeypatch.context() as patch:
            patch.setenv("COLUMNS", "80")
            patch.setenv("TERM", "dumb")
            streams = [os.fdopen(os.dup(slave), mode) for mode in ("r", "w", "w")]
            for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
                patch.setattr(sys, name, stream)
            try:
                run()
            finally:
                for stream in streams:
                    stream.close()
        os.close(slave)
        return typist.finish()
