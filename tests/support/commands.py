"""Run a command in this process: a process of its own takes seconds to import DSPy."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock


def dspy_mux() -> None:
    from dspy_mux.cli.main import main

    main()


def python_m_eval() -> None:
    from dspy_mux.cli.main import one_line_errors
    from eval.__main__ import app

    with one_line_errors():
        app(prog_name="python -m eval")


def run_here(
    command: Callable[[], None], *arguments: object, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Return what a process with these arguments would end with."""
    words = [command.__name__, *map(str, arguments)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch("sys.argv", words),
        mock.patch("sys.stdin", io.StringIO(stdin)),
        mock.patch.dict(os.environ, environment),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            command()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
