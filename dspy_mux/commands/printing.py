"""What the verbs print: a table for people, or one JSON object for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """One JSON object, null where a number is none."""
    return json.dumps(_finite(value), ensure_ascii=False, default=float, allow_nan=False)


def _finite(value: Any) -> Any:
    """`value` with null for what is not a number: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cell(name: str, value: Any) -> str:
    """A value of a bank's overview as text."""
    if value is None:
        return ""
    return str(value)[:12] if name == "program" else f"${value:.4f}" if name == "cost" else str(value)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of plain texts; nothing in them is taken for markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=Text(title))
    for column in columns:
        shown.add_column(Text(column))
    for row in rows:
        shown.add_row(*(Text(cell) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no width of its own
    console.print(shown)
