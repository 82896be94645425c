"""Watch every table that is printed: no line is too long, no word broken, no number folded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from rich.cells import cell_len

from dspy_mux.cli import output
from dspy_mux.layout import Cell, Sheet, Table
from dspy_mux.text import visible


def words(cell: Cell) -> list[str]:
    texts = cell if isinstance(cell, tuple) else (cell,)
    return [word for text in texts for word in visible(text).split()]


def checked(sheet: Sheet, tables: tuple[Table, ...], width: int) -> Iterator[tuple[str, bool]]:
    lines = list(sheet.lines())
    cells = [cell for each in tables for row in (each.columns, *each.rows) for cell in row]
    longest = max((cell_len(word) for cell in cells for word in words(cell)), default=0)
    if longest < width // 3:
        over = [line for line, _ in lines if cell_len(line) > width]
        # A word of a title, such as a path, may be wider than the terminal.
        assert [line for line in over if max(map(cell_len, line.split())) < width] == []
    shown = Counter(word.rstrip(",") for line, _ in lines for word in line.split())
    whole = Counter(
        word.rstrip(",")
        for each in tables
        for row in (each.columns, *each.rows)
        for cell in row
        for word in (words(cell) if isinstance(cell, str) else [])
    )
    assert {word: count for word, count in whole.items() if shown[word] < count} == {}
    names = {word for cell in cells if isinstance(cell, tuple) for word in words(cell)}
    assert {name for name in names if name.rstrip(",") not in shown} == set()
    numbers = [cell for each in tables for row in each.rows for cell in row[each.words :]]
    assert [cell for cell in numbers if not any(visible(cell) in at for at, _ in lines)] == []
    yield from lines


def watch(monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    """Check the tables that are printed from now on; return the list that they are added to."""
    met: list[Table] = []

    class Checked(Sheet):
        def __init__(self, tables, members, width):
            super().__init__(tables, members, width)
            self.given = (tables, width)

        def lines(self):
            met.extend(self.given[0])
            return checked(super(), *self.given)

    monkeypatch.setattr(output, "Sheet", Checked)
    return met
