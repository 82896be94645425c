"""The rooms' contract in pyproject.toml: every import runs down the list, without a circle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


LINT = """
from importlinter.cli import lint_imports

raise SystemExit(lint_imports(no_cache=True, no_logo=True))
"""


def test_imports_run_down_the_rooms():
    pytest.importorskip("importlinter", reason="not for Python 3.10")
    # In a process of its own: it disables every logger that it finds.
    done = subprocess.run(
        [sys.executable, "-c", LINT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    # What is printed names each import that breaks a contract.
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_says_what_it_is_for():
    rooms = [path.parent.name for path in (ROOT / "dspy_mux").glob("*/__init__.py")]
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [room for room in rooms if f"`{room}/`" not in told] == []
