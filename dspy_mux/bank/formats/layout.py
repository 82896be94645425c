"""How a file is laid out, as the user says it: its format, its columns, whose draws it holds."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path as FilePath
from typing import Any

from ...errors import ConfigurationError, StorageError
from ...text import first_line, whole

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The steps from a row to a value: names of an object, places in a list.
Path = tuple[str | int, ...]
_STEP = re.compile(r'"((?:[^"\\]|\\.)*)"|([^."]+)')


@dataclass(frozen=True)
class Layout:
    """How a file is laid out.

    Attributes:
        format: the format's name (`recognition.FORMATS`); None to find it by the content.
        columns: column of a bank's file → path to its value, such as `resp.text`; for rows in no
            known format.
        each: the path to a list, each of whose elements is a draw; None where each row is one.
        model: the member of draws that name none.
        score: which of several scores to read.
        questions: a file with the fields of the questions by `question_id`, above all their text
            and their right answer.
    """

    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    each: str | None = None
    model: str | None = None
    score: str | None = None
    questions: str | None = None


_NAMES = {one.name for one in fields(Layout)}


def parse_columns(text: str) -> dict[str, str]:
    """Return the columns of a text such as `answer=resp.text,model=meta.model`.

    Raises:
        ConfigurationError: it is not such a text.

    >>> parse_columns("answer=resp.text, model=meta.model")
    {'answer': 'resp.text', 'model': 'meta.model'}
    """
    columns: dict[str, str] = {}
    for part in _split(text, ","):
        column, equals, path = part.partition("=")
        column, path = column.strip(), path.strip()
        if not (equals and column and path):
            raise ConfigurationError(
                f"--map must be like answer=resp.text,model=meta.model, not {text!r}."
            )
        if column in columns:
            raise ConfigurationError(f"--map names the column {column!r} twice: {text!r}.")
        parse_path(path)
        columns[column] = path
    return columns


def parse_path(text: str) -> Path:
    """Return the steps of a path; `.` is the value itself.

    Raises:
        ConfigurationError: it is not a path.

    >>> parse_path('choices.0."finish.reason"')
    ('choices', 0, 'finish.reason')
    """
    if text == ".":
        return ()
    steps: list[str | int] = []
    at = 0
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None or (found.end() < len(text) and text[found.end()] != "."):
            break
        quoted, bare = found.groups()
        if quoted is not None:
            steps.append(re.sub(r"\\(.)", r"\1", quoted))
        else:
            steps.append(int(bare) if bare.isdecimal() else bare)
        at = found.end() + 1
    if not steps or at != len(text) + 1:
        raise ConfigurationError(
            f"{text!r} is not a path: write names and places with dots between, such as "
            'choices.0.text; a name with a dot in quotes, "a.b".'
        )
    return tuple(steps)


def load_layout(path: str | os.PathLike[str]) -> tuple[Layout, dict[str, str]]:
    """Return a saved layout, and what else was saved with it, such as the type of the answers.

    Raises:
        ConfigurationError: there is no such file, or it is not a saved layout.
    """
    try:
        with open(path, "rb") as file:
            said = tomllib.load(file)
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file {str(path)!r} with a layout.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{str(path)!r} is not a layout in TOML: {first_line(error)}."
        ) from error
    columns = said.pop("columns", {})
    named = {**said, **(columns if isinstance(columns, dict) else {"columns": None})}
    for name, value in named.items():
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} in the layout {str(path)!r} must be text.")
    for column in columns.values():
        parse_path(column)
    own = {name: value for name, value in said.items() if name in _NAMES}
    return Layout(columns=columns, **own), {k: v for k, v in said.items() if k not in _NAMES}


def save_layout(
    path: str | os.PathLike[str], layout: Layout, others: Mapping[str, str | None]
) -> None:
    """Write a layout to a new TOML file, with further settings beside it.

    Raises:
        ConfigurationError: the file is there already.
        StorageError: it cannot be written.
    """
    said: dict[str, Any] = {**asdict(layout), **others}
    columns = said.pop("columns")
    lines = [f"{key} = {_quoted(value)}" for key, value in said.items() if value is not None]
    if columns:
        lines += ["", "[columns]"]
        lines += [f"{_quoted(name)} = {_quoted(path)}" for name, path in columns.items()]
    try:
        with FilePath(path).open("x", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except FileExistsError as error:
        raise ConfigurationError(f"{str(path)!r} is there already: name a new file.") from error
    except OSError as error:
        raise StorageError(
            f"{str(path)!r} cannot be written: {error.strerror or error}."
        ) from error


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's, but for one character.
    return json.dumps(whole(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _split(text: str, separator: str) -> list[str]:
    """Split a text where no quotes are open."""
    parts, start, quoted = [], 0, False
    for at, character in enumerate(text):
        if character == '"':
            quoted = not quoted
        elif character == separator and not quoted:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]
