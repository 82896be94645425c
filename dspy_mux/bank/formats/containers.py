"""The files around rows and documents: lines of JSON, one JSON document, CSV, Parquet, archives."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

from ...errors import DataError
from ...text import first_line
from ..files import parquet, parquet_rows

Container = Literal["lines", "document", "csv", "parquet", "archive"]

_GZIP, _PARQUET, _ZIP, _SQLITE = b"\x1f\x8b", b"PAR1", b"PK\x03\x04", b"SQLite format 3\0"
_ENDINGS: dict[str, Container] = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".jsonlines": "lines",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".eval": "archive",
}
_DELIMITERS = ",\t;|"


def container_of(path: str | os.PathLike[str]) -> Container:
    """Return what a file is, by its first bytes, its ending and its first line.

    Raises:
        DataError: it cannot be read, or is something else.
    """
    name = str(path)
    bare = name[:-3] if name.endswith(".gz") else name
    by_ending = _ENDINGS.get(Path(bare).suffix.lower())
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {name!r}.") from error
    except OSError as error:
        raise DataError(f"{name!r} cannot be read: {error.strerror or error}.") from error
    if head.startswith(_SQLITE):
        raise DataError(
            f"{name!r} is a bank itself: `dspy-mux bank export` writes its draws to a file."
        )
    if head.startswith(_PARQUET):
        return "parquet"
    if head.startswith(_ZIP):
        return "archive"
    return by_ending or _by_first_line(path)


def _by_first_line(path: str | os.PathLike[str]) -> Container:
    """Return what a text is: a line that is an object, with others below it, is one of rows."""
    with opened(path) as file:
        first = ""
        while not first and (line := file.readline()):
            first = line.strip()
        if first.startswith("{"):
            try:
                json.loads(first)
            except (ValueError, RecursionError):
                return "document"
            more = any(line.strip() for line in file)
            return "lines" if more else "document"
    if first.startswith("[") or not first:
        return "document"
    return "csv" if any(mark in first for mark in _DELIMITERS) else "document"


class opened:  # noqa: N801  (used like `open`)
    """A context in which a text is read, gzipped or not; errors name the file.

    Raises:
        DataError: on use.
    """

    def __init__(self, path: str | os.PathLike[str], newline: str | None = None):
        self.path, self.newline = path, newline

    def __enter__(self) -> IO[str]:
        try:
            with open(self.path, "rb") as raw:
                packed = raw.read(2) == _GZIP
            opener = gzip.open if packed else open
            self.file: IO[str] = opener(self.path, "rt", encoding="utf-8-sig", newline=self.newline)
        except FileNotFoundError as error:
            raise DataError(f"There is no file {str(self.path)!r}.") from error
        except OSError as error:
            raise DataError(f"{str(self.path)!r} cannot be read: {first_line(error)}.") from error
        return self.file

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.file.close()
        if isinstance(error, UnicodeDecodeError):
            raise DataError(f"{str(self.path)!r} is not UTF-8 text.") from error
        if isinstance(error, (OSError, EOFError, zlib.error)):
            raise DataError(f"{str(self.path)!r} cannot be read: {first_line(error)}.") from error


def document(path: str | os.PathLike[str]) -> Any:
    """Return a JSON document, which is held in memory as a whole.

    Raises:
        DataError: it cannot be read as one.
    """
    with opened(path) as file:
        try:
            return json.load(file)
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError) as error:
            raise DataError(f"{str(path)!r} is not JSON: {first_line(error)}.") from error


def csv_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row, its columns as text) of a CSV file, whose first line names the columns.

    The columns are separated by commas, tabs, semicolons or bars, as in the first line.

    Raises:
        DataError: it cannot be read as one, or a row has other columns than the first line.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # replies are longer than the 128 KiB of csv
    with opened(path, newline="") as file:
        delimiter, names = _head(file.readline(), path)
        reader = csv.reader(file, delimiter=delimiter)
        number = 0
        try:
            for number, values in enumerate(reader, 1):
                if len(values) != len(names) and any(values):
                    raise DataError(
                        f"Row {number} of {str(path)!r} (up to line {reader.line_num + 1}) has "
                        f"{len(values)} columns, and the first line names {len(names)}."
                    )
                if any(values):
                    yield number, _cells(names, values)
        except csv.Error as error:
            raise DataError(
                f"Row {number + 1} of {str(path)!r} is not CSV: {first_line(error)}."
            ) from error


def csv_head(path: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """Return what separates the columns of a CSV file, and their names, as they are written.

    Raises:
        DataError: it cannot be read, or names none, or one twice.
    """
    with opened(path, newline="") as file:
        return _head(file.readline(), path)


def _head(line: str, path: str | os.PathLike[str]) -> tuple[str, list[str]]:
    delimiter = max(_DELIMITERS, key=line.count)
    names = next(csv.reader([line], delimiter=delimiter), [])
    if not any(name.strip() for name in names):
        raise DataError(f"{str(path)!r} names no columns in its first line.")
    named = [name.strip() for name in names if name.strip()]
    if len(set(named)) < len(named):
        raise DataError(f"{str(path)!r} names a column twice in its first line.")
    return delimiter, names


def _cells(names: list[str], values: list[str]) -> dict[str, Any]:
    """Return the filled cells of a row; an empty answer is an abstention."""
    return {
        name.strip(): value
        for name, value in zip(names, values, strict=True)
        if name.strip() and (value != "" or name.strip() == "answer")
    }


def parquet_names(path: str | os.PathLike[str]) -> list[str]:
    """Return the columns of a Parquet file.

    Raises:
        DataError: it is not a Parquet file.
        MissingExtra: pyarrow is not installed.
    """
    arrow = parquet()
    try:
        names: list[str] = arrow.parquet.read_schema(path).names
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{str(path)!r} is not a Parquet file: {first_line(error)}.") from error
    return names


def parquet_table(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row, its filled columns) of a Parquet file.

    Raises:
        DataError: it cannot be read as one.
    """
    for number, row in enumerate(parquet_rows(path), 1):
        yield number, {k: v for k, v in row.items() if v is not None or k == "answer"}
