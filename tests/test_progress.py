"""Progress: a bar on a terminal, lines in a log, nothing of a short step."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from dspy_mux import progress
from dspy_mux.progress import Step, counted

from .support.wait import until


def test_a_log_has_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr(progress, "FIRST_S", 0.01)
    monkeypatch.setattr(progress, "EVERY_S", 0.01)
    log = io.StringIO()
    with Step("drawing", console=Console(file=log), unit="draws", total=1200, done=30) as step:
        until(lambda: "drawing: 30 of 1,200 draws (2 %), 0 s\n" in log.getvalue())
        step.at(300, "7 calls")
        until(lambda: "300 of 1,200 draws (25 %), 7 calls, " in log.getvalue())
        until(lambda: " left\n" in log.getvalue())
    lines = log.getvalue().splitlines()
    assert lines[-1].startswith("drawing: 300 of 1,200 draws (25 %), 7 calls, ")
    assert "\x1b" not in log.getvalue()


def test_a_terminal_has_a_bar(monkeypatch):
    monkeypatch.setattr(progress, "BAR_S", 0.0)
    shown = io.StringIO()
    with Step("tuning", console=Console(file=shown, force_terminal=True, width=80)) as step:
        assert list(counted(range(3), "trials")) == [0, 1, 2]
        until(lambda: "tuning" in shown.getvalue())
        list(counted((n for n in range(40)), "rows"))
        assert step.line.startswith("tuning: 40 rows, ")
        until(lambda: "40 rows" in shown.getvalue())


def test_the_outer_of_two_loops_counts():
    step = Step("replaying", console=None)
    with step:
        for _ in counted("ab", "rules"):
            assert list(counted(range(5), "repeats")) == [0, 1, 2, 3, 4]
    assert step.line.startswith("replaying: 2 of 2 rules (100 %), ")
    assert list(counted("ab", "rules")) == ["a", "b"]  # and nothing is shown


def test_a_short_step_shows_nothing():
    log, terminal = io.StringIO(), io.StringIO()
    for console in (Console(file=log), Console(file=terminal, force_terminal=True)):
        with pytest.raises(ValueError, match="over"), Step("searching", console=console):
            raise ValueError("over")
    assert (log.getvalue(), terminal.getvalue()) == ("", "")
