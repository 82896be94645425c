"""Read rows from JSONL files, gzipped or not, and from Parquet files."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import DataError, extra_module
from ..text import first_line

_ROWS_AT_ONCE = 1000


def json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSONL file.

    Raises:
        DataError: the file cannot be read, or a line is not a JSON object.
    """
    opener = gzip.open if str(path).endswith(".gz") else open
    number = 0
    try:
        with opener(Path(path), "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(
                        f"Line {number} of {path} is not JSON: {first_line(error)}."
                    ) from error
                if not isinstance(row, dict):
                    raise DataError(f"Line {number} of {path} is not a JSON object.")
                yield number, row
    except FileNotFoundError as error:
        raise DataError(f"There is no bank {str(path)!r}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text after line {number}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path} cannot be read after line {number}: {first_line(error)}."
        ) from error


def parquet() -> ModuleType:
    """Return pyarrow with its Parquet reader.

    Raises:
        MissingExtra: it is not installed.
    """
    need = "Parquet needs pyarrow"
    extra_module("pyarrow.parquet", need, "parquet")  # which `pyarrow` has once it is imported
    return extra_module("pyarrow", need, "parquet")


def parquet_rows(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file, some of which are held at a time.

    Raises:
        DataError: it cannot be read as one.
    """
    arrow = parquet()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                yield from batch.to_pylist()
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r}.") from error
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{str(path)!r} is not a Parquet file: {first_line(error)}.") from error
    # Such as text that is not UTF-8, or a time before the year 1.
    except (ArithmeticError, TypeError, ValueError) as error:
        raise DataError(
            f"{str(path)!r} holds values that cannot be read: {first_line(error)}."
        ) from error
