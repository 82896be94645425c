from __future__ import annotations

import json
import sys

import pytest

from dspy_mux import progress
from dspy_mux.cli.main import main

from ..support.printed_tables import watch
from ..support.rows import jsonl
from .rows import some_rows


@pytest.fixture(scope="session")
def bank(tmp_path_factory):
    return jsonl(tmp_path_factory.mktemp("bank") / "bank.jsonl", some_rows())


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """The tables that the verbs print, each of them checked."""
    return watch(monkeypatch)


@pytest.fixture(autouse=True)
def no_step_is_long(monkeypatch):
    """Nothing is said of how far a step is, however slow the machine."""
    monkeypatch.setattr(progress, "FIRST_S", 1e6)


@pytest.fixture
def dspy_mux(capsys, monkeypatch):
    """The command in this process: (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dspy-mux", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        told = capsys.readouterr()
        return caught.value.code or 0, told.out, told.err

    return run


@pytest.fixture
def as_json(dspy_mux):
    """What a verb prints with --json: one object, on one line, and nothing else."""

    def run(*arguments):
        code, out, err = dspy_mux(*arguments, "--json")
        assert code == 0, err
        assert len(out.splitlines()) == 1
        return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return run


@pytest.fixture
def refused(dspy_mux):
    """The one line of a mistake: on stderr, exit code 2, no traceback."""

    def run(*arguments):
        code, out, err = dspy_mux(*arguments)
        assert (code, out) == (2, ""), err
        assert err.startswith("dspy-mux: ")
        assert len(err.splitlines()) == 1
        assert "Traceback" not in err
        return err

    return run
