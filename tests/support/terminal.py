"""A real process on a pseudo-terminal: what a person at a keyboard sees and types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

#: Makes its standard input the terminal that Ctrl-C comes from, and becomes the command.
_AT_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|\x1b[=>]")
#: Only a process that hangs takes so long, however loaded the machine is.
PATIENCE_S = 60.0


class Terminal:
    """A process and its terminal.

    Attributes:
        seen: all that the process has written, escape sequences included.
    """

    def __init__(self, process: subprocess.Popen[bytes], master: int):
        self.process, self._master = process, master
        self.seen = ""
        self._waited = 0  # characters of `text` that were waited for already

    @property
    def text(self) -> str:
        """All that the process has written, without escape sequences."""
        return plain(self.seen)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def until(self, pattern: str) -> str:
        """Return what follows the last wait, up to the pattern, without escape sequences."""
        end = time.monotonic() + PATIENCE_S
        while True:
            new = self.text[self._waited :]
            if found := re.search(pattern, new):
                self._waited += found.end()
                return new[: found.end()]
            assert time.monotonic() < end, f"no {pattern!r} in {new!r}"
            assert self._more(), f"ended without {pattern!r}: {new!r}"

    def end(self) -> int:
        """Read on until the process ends; return its exit code."""
        while self._more():
            pass
        return self.process.wait(PATIENCE_S)

    def _more(self) -> bool:
        """Read what there is; return False at the end."""
        ready, _, _ = select.select([self._master], [], [], PATIENCE_S)
        assert ready, f"nothing more came after {self.text!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: the last process that had the terminal open is gone
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


def plain(text: str) -> str:
    """Return a text without escape sequences and carriage returns."""
    return _ESCAPES.sub("", text).replace("\r", "")


@contextmanager
def terminal(
    command: Sequence[object], *, columns: int = 80, folder: Path | None = None, **environment: str
) -> Iterator[Terminal]:
    """Run a command on a terminal of its own; kill it at the end if it still runs."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    dropped = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    settings = {name: value for name, value in os.environ.items() if name not in dropped}
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_TERMINAL, *map(str, command)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        cwd=folder,
        env={**settings, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
