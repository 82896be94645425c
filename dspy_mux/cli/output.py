"""What the verbs print: a table for people, or one JSON object for machines."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from ..errors import ConfigurationError, StorageError
from ..text import visible

#: Characters that JSON may hold and a terminal or file may not: controls, direction marks, lone
#: surrogates.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def print_json(value: object) -> None:
    """Print one JSON object on stdout."""
    print(json_text(value))


def json_text(value: object) -> str:
    """Return one JSON object that any terminal and file can hold; NaN becomes null."""
    text = json.dumps(_finite(value), ensure_ascii=False, default=float, allow_nan=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _finite(value: object) -> object:
    """Return `value` with null in place of NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print a line with control characters escaped: names may come from anywhere."""
    print(visible(text), file=file)


def check_page(path: Path | None) -> None:
    """Check that a page can be drawn and written, before its figures are computed.

    Raises:
        MissingExtra: plotly is not installed.
        ConfigurationError: the path is a folder, or its folder does not exist.
    """
    if path is None:
        return
    from ..optimize.figures import plotly

    plotly()
    check_place(path)


def check_place(path: Path) -> None:
    """Raise ConfigurationError if the path is a folder, or its folder does not exist."""
    if os.path.isdir(path) or not os.path.isdir(path.parent):
        raise ConfigurationError(
            f"{str(path)!r} cannot hold a page: name a file in a folder that exists."
        )


def write_page(path: Path, text: str) -> None:
    """Write a page; raise StorageError if the disk refuses it."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"The page cannot be written to {str(path)!r}: {error.strerror}."
        ) from error


def percent(share: float) -> str:
    """Return a share in percent, with one decimal."""
    return f"{100 * share:.1f}"


def percent_range(low: float, high: float) -> str:
    """Return an interval of shares in percent."""
    return f"{percent(low)} – {percent(high)}"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of plain texts; markup in them stays text."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Long names and numbers are folded, never cut: half a number is another number.
    shown = Table(title=Text(visible(title)))
    for column in columns:
        shown.add_column(Text(visible(column)), overflow="fold")
    for row in rows:
        shown.add_row(*(Text(visible(text)) for text in row))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no width of its own
    console.print(shown)
