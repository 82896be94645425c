"""The page of captures: every verb is there, no line is too long, and recorded draws print that."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from rich.cells import cell_len

from dspy_mux.cli.main import app, main

from .captures import as_printed, captures, fill

#: What is run again. `bank info` and the others need what the first of them writes.
AGAIN = ("bank", "replay", "search", "accuracies", "risk", "drift")


def verbs() -> set[str]:
    found = set()
    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {each}" for each in inner} if inner else {name}
    return found


def test_every_verb_is_captured():
    shown = "\n".join(command for command, _ in captures())
    assert {verb for verb in verbs() if not re.search(rf"^dspy-mux {verb}\b", shown, re.M)} == set()


def test_no_line_is_over_80():
    lines = [line for _, out in captures() for line in out.splitlines()]
    assert [line for line in lines if cell_len(line) > 80] == []


def test_recorded_draws_print_what_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    Path("runs").mkdir()
    fill()
    again = [each for each in captures() if each[0].split()[1] in AGAIN]
    assert len(again) == len(AGAIN) + 3
    for command, out in again:
        monkeypatch.setattr(sys, "argv", shlex.split(command.replace("\\\n", "")))
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, command
        assert as_printed(capsys.readouterr().out) == as_printed(out), command
