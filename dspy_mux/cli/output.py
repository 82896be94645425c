"""What the verbs print: a table for people, or one JSON object for machines."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from ..text import visible

#: What JSON may hold as it is, and a terminal or a file may not: controls, turners of direction, halves of characters.
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """One JSON object, null where a number is none; text that any terminal and file can hold."""
    told = json.dumps(_finite(value), ensure_ascii=False, default=float, allow_nan=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", told)


def _finite(value: Any) -> Any:
    """`value` with null for what is not a number: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(text: str, **options: Any) -> None:
    """Print a line with control characters as signs: names of models and files may come from anywhere."""
    print(visible(text), **options)


def check_page(path: Path | None) -> None:
    """Raises ConfigurationError where a page cannot stand there, or not be drawn: before what it shows is worked out."""
    if path is not None:
        from ..optimize.figures import plotly

        plotly()
    if path is not None and (os.path.isdir(path) or not os.path.isdir(path.parent)):
        raise ConfigurationError(
            f"{str(path)!r} is no place for a page: name a file in a folder that is there."
        )


def write_page(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"The page cannot be written to {str(path)!r}: {error.strerror}."
        ) from error


def cell(name: str, value: Any) -> str:
    """A value of a bank's overview as text."""
    if value is None:
        return ""
    return (
        str(value)[:12] if name == "program" else f"${value:.4f}" if name == "cost" else str(value)
    )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table of plain texts; nothing in them is taken for markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Names and numbers are broken where they must be, and never cut: half a number is another number.
    shown = Table(title=Text(visible(title)))
    for column in columns:
        shown.add_column(Text(visible(column)), overflow="fold")
    for row in rows:
        shown.add_row(*(Text(visible(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no width of its own
    console.print(shown)
