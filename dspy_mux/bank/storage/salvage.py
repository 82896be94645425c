"""Salvage a damaged SQLite bank: copy what can still be read into a new one."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ...errors import ConfigurationError, DataError
from . import sqlite
from .database import Database
from .schema import draws, programs, questions, scores

#: More rows than a page holds: when this many in a row cannot be read, the rest cannot either.
_MOST_ON_A_PAGE = 1000
_JSON = ("fields", "description", "answer", "outputs")


def salvage(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> int:
    """Copy every draw that can be read, with its question and program; return how many.

    Args:
        source: the damaged file; it and its write-ahead log stay as they are.
        target: a new file.

    Raises:
        ConfigurationError: the target exists already, or is not a file.
        DataError: there is no file `source`, or nothing of a bank can be read in it.
    """
    path, bank = Path(source), Database(target)
    if not path.is_file():
        raise DataError(f"There is no file {str(path)!r}.")
    if bank.path is None or bank.path.exists():
        # On a server, rows with ids of their own would not advance its counters.
        raise ConfigurationError(
            f"{bank.name!r} exists already, or is not a file: name a new file."
        )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "bank.sqlite"
        shutil.copyfile(path, copy)
        log = sqlite.wal_of(path)
        if log.exists() and log.stat().st_size:
            shutil.copyfile(log, sqlite.wal_of(copy))
        else:
            _fit_header(copy)
        connection = sqlite3.connect(copy)
        try:
            asked, made_by = list(_rows(connection, questions)), list(_rows(connection, programs))
            known, by = {row["id"] for row in asked}, {row["id"] for row in made_by}
            drawn = [
                row
                for row in _rows(connection, draws)
                if row["question"] in known and row["program"] in by
            ]
            saved = {row["id"] for row in drawn}
            others = [row for row in _rows(connection, scores) if row["draw"] in saved]
        finally:
            connection.close()
    if not drawn:
        raise DataError(f"Nothing can be read of {path}: put back a copy of it.")
    with bank.writing() as writing:
        for table, rows in (
            (questions, asked),
            (programs, made_by),
            (draws, drawn),
            (scores, others),
        ):
            bank.insert(writing, table, rows)
    bank.close()
    return len(drawn)


def _fit_header(path: Path) -> None:
    """Write the size of a file that was cut off into its header; else SQLite reads nothing."""
    with path.open("r+b") as file:
        page = int.from_bytes(file.read(100)[16:18], "big")
        page = 65536 if page == 1 else page
        if page >= 512:
            pages = path.stat().st_size // page
            file.seek(28)
            file.write(pages.to_bytes(4, "big"))
            file.truncate(pages * page)


def _rows(connection: sqlite3.Connection, table: sa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table that can be read whole, in the order of their ids."""
    last, missed = 0, 0
    while missed < _MOST_ON_A_PAGE:
        try:
            cursor = connection.execute(
                f"SELECT * FROM {table.name} NOT INDEXED WHERE id > ? ORDER BY id", (last,)
            )
            names = [column[0] for column in cursor.description]
            for values in cursor:
                row = dict(zip(names, values, strict=True))
                last, missed = row["id"], 0
                if _whole(row):
                    yield {name: value for name, value in row.items() if name in table.c}
            return
        except sqlite3.DatabaseError:
            last, missed = last + 1, missed + 1


def _whole(row: dict[str, Any]) -> bool:
    """Whether a row's texts are whole; SQLite reads a missing page as zeros."""
    try:
        for name in _JSON:
            if row.get(name) is not None:
                json.loads(row[name])
    except ValueError:
        return False
    return not any(isinstance(value, str) and "\0" in value for value in row.values())
