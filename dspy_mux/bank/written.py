"""Write rows to a file that is there only once it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import StorageError
from ..text import whole
from .files import parquet


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A file beside the target that replaces it once it is whole.

    Raises:
        StorageError: it cannot be written.
    """
    part = target.with_name(target.name + ".part")
    try:
        yield part
        part.replace(target)
    except OSError as error:
        raise StorageError(
            f"{str(target)!r} cannot be written: {error.strerror or error}."
        ) from error
    finally:
        with suppress(OSError):  # it may not have been made
            part.unlink(missing_ok=True)


def write_parquet(rows: list[dict[str, Any]], target: Path) -> int:
    arrow = parquet()
    cells = [{whole(key): _cell(value) for key, value in row.items()} for row in rows]
    names = dict.fromkeys(key for row in cells for key in row)
    columns = {name: [row.get(name) for row in cells] for name in names}
    # A column may hold answers of several types; as text they all fit.
    for name, values in columns.items():
        if len({type(value) for value in values if value is not None}) > 1:
            columns[name] = [
                None if value is None else value if isinstance(value, str) else json.dumps(value)
                for value in values
            ]
    with replacing(target) as part:
        arrow.parquet.write_table(arrow.table(columns), part)
    return len(rows)


def _cell(value: Any) -> Any:
    """Return a value for Parquet: structures and huge integers as JSON, text as UTF-8."""
    if isinstance(value, (dict, list)) or (
        isinstance(value, int) and not -(2**63) <= value < 2**63
    ):
        return json.dumps(value)
    return whole(value) if isinstance(value, str) else value
