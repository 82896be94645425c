"""`--help` in 80 columns."""

from __future__ import annotations

import re

import pytest
import typer

from dspy_mux.cli.main import app

_ROW = re.compile(r"│ (-{1,2}\S+(?: \S+)?|[a-zN]\S*)  +(?=[^\s│])")


def _verbs(command=None, path=()):
    command = command or typer.main.get_command(app)
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _verbs(inner, (*path, name))


VERBS = dict(_verbs())


@pytest.mark.parametrize("path", VERBS, ids=" ".join)
def test_help_is_readable_in_80_columns(dspy_mux, monkeypatch, path):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = dspy_mux(*path, "--help")
    assert code == 0
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [found for found in map(_ROW.match, lines) if found]
    assert {found[1].split()[0].rstrip(".,") for found in rows} >= {
        parameter.metavar if parameter.opts == ["into"] else parameter.opts[0]
        for parameter in VERBS[path].params
    }
    assert min(80 - 2 - found.end() for found in rows) >= 36  # characters of each description


def test_what_an_option_takes_is_short(dspy_mux, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = dspy_mux("serve", "--help")[1]
    assert "--port N " in out
    assert "[default: 8900; 0 to 65535]" in " ".join(out.split())
    assert "<" not in out  # flags take nothing, and no type is spelled out
