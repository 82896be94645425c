"""Tables of plain texts for a terminal or a Markdown file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dspy_mux.cli.output import say, table
from dspy_mux.replay.intervals import Estimate
from dspy_mux.text import in_markdown


@dataclass(frozen=True)
class Shown:
    """A table of texts.

    Attributes:
        words: how many of the first columns hold words, which are aligned left.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1

    def markdown(self) -> str:
        """Return the table as Markdown."""
        head = ["| " + " | ".join(map(in_markdown, self.columns)) + " |"]
        head.append("|" + "---|" * self.words + "---:|" * (len(self.columns) - self.words))
        body = ["| " + " | ".join(map(in_markdown, row)) + " |" for row in self.rows]
        return f"### {in_markdown(self.title)}\n\n" + "\n".join([*head, *body]) + "\n"


def show(tables: Sequence[Shown], notes: Sequence[str], *, as_markdown: bool) -> None:
    """Print the tables, then the notes, each a paragraph."""
    if as_markdown:
        print(
            "\n".join(
                [
                    *(each.markdown() for each in tables),
                    *(f"{in_markdown(note)}\n" for note in notes),
                ]
            )
        )
        return
    for each in tables:
        table(each.title, each.columns, each.rows)
    for note in notes:
        say(note)


def points(mean: float, low: float, high: float) -> str:
    """Return a difference in points, with its 95 % interval if there are enough questions."""
    return signed(mean) if math.isnan(low) else f"{signed(mean)} ({signed(low)} to {signed(high)})"


def p_value(p: float) -> str:
    """Return the p of a test."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float) -> str:
    """Return a difference in points, never "-0.0"."""
    return f"{round(100 * value, 1) + 0.0:+.1f}"


def estimated(estimate: Estimate) -> str:
    """Return a share in percent with its 95 % interval; a dash if nothing was counted."""
    return f"{estimate.percent()} ({estimate.interval()})" if estimate.n else "–"
