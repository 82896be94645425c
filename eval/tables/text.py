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
    """A table: title, columns, and rows of texts; `words` columns are texts, which stand left."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1

    def markdown(self) -> str:
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


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def points(mean: float, low: float, high: float) -> str:
    """A difference in points, with its 95 % interval where there are questions enough for one."""
    return signed(mean) if math.isnan(low) else f"{signed(mean)} ({signed(low)} to {signed(high)})"


def signed(value: float) -> str:
    """A difference in points, never "-0.0"."""
    return f"{round(100 * value, 1) + 0.0:+.1f}"


def estimated(estimate: Estimate) -> str:
    """A share in percent with its 95 % interval; empty where there was nothing to count."""
    return f"{estimate.percent()} ({estimate.interval()})" if estimate.n else "–"
