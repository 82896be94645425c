"""Tables of plain texts for a terminal or a Markdown file."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dspy_mux.cli.output import say, tables
from dspy_mux.layout import Cell, Table
from dspy_mux.replay.intervals import Estimate
from dspy_mux.text import in_markdown, signed as signed_number


@dataclass(frozen=True)
class Shown:
    """A table of texts.

    Attributes:
        rows: a cell of members' names is a tuple of them.
        words: how many of the first columns hold words, which are aligned left.
        strong: positions of the rows in bold, in a terminal.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int = 1
    strong: Collection[int] = ()

    def markdown(self) -> str:
        """Return the table as Markdown."""
        head = ["| " + " | ".join(map(in_markdown, self.columns)) + " |"]
        head.append("|" + "---|" * self.words + "---:|" * (len(self.columns) - self.words))
        body = ["| " + " | ".join(map(_markdown, row)) + " |" for row in self.rows]
        return f"### {in_markdown(self.title)}\n\n" + "\n".join([*head, *body]) + "\n"

    def laid_out(self) -> Table:
        """Return the table for a terminal."""
        key = min(max(self.words, 1), 2)
        return Table(self.title, self.columns, self.rows, self.words, self.strong, key)


def _markdown(cell: Cell) -> str:
    return in_markdown(" + ".join(cell) if isinstance(cell, tuple) else cell)


def show(shown: Sequence[Shown], notes: Sequence[str], *, as_markdown: bool) -> None:
    """Print the tables, then the notes, each a paragraph."""
    if as_markdown:
        print(
            "\n".join(
                [
                    *(each.markdown() for each in shown),
                    *(f"{in_markdown(note)}\n" for note in notes),
                ]
            )
        )
        return
    tables(*(each.laid_out() for each in shown))
    for note in notes:
        say(note)


def points(mean: float, low: float, high: float) -> str:
    """Return a difference in points, with its 95 % interval if there are enough questions."""
    return signed(mean) if math.isnan(low) else f"{signed(mean)} ({signed(low)} to {signed(high)})"


def p_value(p: float) -> str:
    """Return the p of a test."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float) -> str:
    """Return a difference of shares in points."""
    return signed_number(100 * value)


def estimated(estimate: Estimate) -> str:
    """Return a share in percent with its 95 % interval; a dash if nothing was counted."""
    return f"{estimate.percent()} ({estimate.interval()})" if estimate.n else "–"
