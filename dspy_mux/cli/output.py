"""What the verbs print: a table for people, or one JSON object for machines."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ..errors import ConfigurationError, StorageError
from ..layout import Cell, Sheet, Table, wrapped
from ..text import number, shortened, signed, visible

if TYPE_CHECKING:
    from rich.console import Console

#: Longest error line, in characters: it may repeat what a file or a server said.
_LONGEST = 2000
#: The width of tables in a pipe or a file.
_PIPE = 80

#: Characters that JSON may hold and a terminal or file may not: controls, direction marks, lone
#: surrogates.
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
#: A parameter with the option that sets it: `retry_failed (--retry-failed)`.
_NAMED_OPTION = re.compile(r"\b(\w{1,40}) \((--[\w-]{1,40})\)")


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
    """Print a sentence with control characters escaped: names may come from anywhere.

    A terminal gets it wrapped between words, and so does a pipe where COLUMNS is set. Otherwise it
    stays one line.
    """
    for line in visible(text).splitlines() or [""]:
        for part in _wrapped(line, sys.stdout if file is None else file):
            print(part, file=file)


def _wrapped(line: str, file: TextIO) -> list[str]:
    from rich.console import Console

    if not file.isatty() and not (file is sys.stdout and os.environ.get("COLUMNS", "").isdigit()):
        return [line]
    return wrapped(line, Console(file=file).width)


def one_line(text: str) -> str:
    """Return an error as one line, without the password of an address that it repeats."""
    from ..redact import masked_address

    line = masked_address(" ".join(options_alone(text[: 2 * _LONGEST]).split()))
    return shortened(line, _LONGEST)


def options_alone(text: str) -> str:
    """Return a sentence of the library's without the Python names of options that it names.

    >>> options_alone("max_risk (--max-risk) must lie between 0 and 1.")
    '--max-risk must lie between 0 and 1.'
    """
    return _NAMED_OPTION.sub(
        lambda found: found[2] if found[2] == f"--{found[1].replace('_', '-')}" else found[0], text
    )


def check_page(path: Path | None) -> None:
    """Check that a page can be drawn and written, before its figures are computed.

    Raises:
        MissingExtra: plotly is not installed.
        ConfigurationError: the path is a folder, or its folder does not exist.
    """
    if path is None:
        return
    from ..optimize.figure_style import plotly

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
    return number(100 * share, ".1f")


def percent_range(low: float, high: float) -> str:
    """Return an interval of shares in percent."""
    return f"{percent(low)} – {percent(high)}"


def points(mean: float, low: float, high: float) -> str:
    """Return a difference of shares in points, with its 95 % interval."""
    middle, least, most = (signed(100 * value) for value in (mean, low, high))
    return f"{middle} ({least} to {most})"


def table(
    title: str,
    columns: Sequence[Cell],
    rows: Sequence[Sequence[Cell]],
    *,
    words: int = 1,
) -> None:
    """Print one table; see `layout.Table`."""
    tables(Table(title, columns, rows, words))


def tables(*shown: Table, members: Sequence[str] = ()) -> None:
    """Print tables as wide as the terminal; in a pipe or file 80 wide, or as COLUMNS says.

    Args:
        members: in the order in which they are numbered, where their names leave no room.
    """
    from rich.text import Text

    console = _console()
    for line, strong in Sheet(shown, members, console.width).lines():
        # A word that is wider than the terminal is not cut: its window wraps it.
        console.print(
            Text(line),
            style="bold" if strong else None,
            no_wrap=True,
            overflow="ignore",
            crop=False,
        )
    console.print()


def line_width() -> int:
    """Return the characters of a line: the terminal's, else what COLUMNS says, else 80."""
    return _console().width


def _console() -> Console:
    from rich.console import Console

    console = Console()
    known = console.is_terminal or os.environ.get("COLUMNS", "").isdigit()
    return console if known else Console(width=_PIPE)
