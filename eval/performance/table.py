"""The figures of the benchmarks, as cells and as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from dspy_mux.cli.output import say, tables
from dspy_mux.layout import Table
from dspy_mux.text import number

from .figures import Figure

COLUMNS = ("benchmark", "median", "min – max", "n", "target", "")


def cells(figure: Figure) -> list[str]:
    """Return the row's texts, one for each of `COLUMNS`."""
    unit = f" {figure.unit}" if figure.unit else ""
    spread = f"{_number(figure.low)} – {_number(figure.high)}" if figure.n > 1 else ""
    return [
        figure.name,
        f"{_number(figure.median)}{unit}",
        spread,
        str(figure.n),
        figure.target,
        figure.verdict,
    ]


def show(figures: Sequence[Figure], machine: str) -> None:
    """Print a table for each benchmark, and below them why targets are missed."""
    say(machine)
    reasons: dict[str, int] = {}
    shown = []
    for name, group in groupby(figures, key=lambda figure: figure.name.partition(": ")[0]):
        rows = []
        for figure in group:
            row = cells(figure)
            verdict, _, why = row.pop().partition(": ")
            note = f" ({reasons.setdefault(why, len(reasons) + 1)})" if why else ""
            rows.append([figure.name.partition(": ")[2] or name, *row[1:], verdict + note])
        shown.append(Table("", (name, *COLUMNS[1:-1], "verdict"), rows))
    tables(*shown)
    for why, at in reasons.items():
        say(f"({at}) {why}.")


def _number(value: float) -> str:
    return number(value, ",.0f" if abs(value) >= 100 else ".2f")
