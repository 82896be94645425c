"""The rooms' contract in pyproject.toml: every import runs down the list, without a circle."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_imports_run_down_the_rooms(monkeypatch, capsys):
    linter = pytest.importorskip("importlinter.cli", reason="not for Python 3.10")
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT)
    code = linter.lint_imports(no_cache=True, no_logo=True)
    # What is printed names each import that breaks a contract.
    assert code == linter.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_room_says_what_it_is_for():
    rooms = [path.parent.name for path in (ROOT / "dspy_mux").glob("*/__init__.py")]
    told = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [room for room in rooms if f"`{room}/`" not in told] == []
