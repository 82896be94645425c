"""The file of an SQLite bank: open it, and notice the damage that SQLite itself overlooks."""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from ...errors import DataError

#: Seconds that a writer waits for another one.
PATIENCE_S = 60
#: Seconds that it waits at a time: until it looks up, no signal is seen, Ctrl-C among them.
SLICE_S = 0.25


def wal_of(path: Path) -> Path:
    """Return the write-ahead log beside a file, which holds the last commits."""
    return path.with_name(path.name + "-wal")


def reader(path: Path) -> Callable[[], sqlite3.Connection]:
    """Return a function that opens the file and never writes."""

    def connect() -> sqlite3.Connection:
        # SQLite reads with a small file beside the bank. Where it cannot be made and nobody writes,
        # the bank is read as it stands. Checked each time, as another process may begin to write.
        settled = not os.access(path.parent, os.W_OK) and not _size(wal_of(path))
        uri = f"file:{quote(str(path))}?mode=ro{'&immutable=1' if settled else ''}"
        return sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None)

    return connect


def set_up(connection: Any, _: Any) -> None:
    """Set up a new connection to write with."""
    connection.isolation_level = None
    cursor = connection.cursor()
    _keep_log(cursor)
    cursor.execute("PRAGMA synchronous=FULL")  # what was paid for outlives a power loss
    cursor.close()


def _keep_log(cursor: Any) -> None:
    """Switch to a write-ahead log; wait while another process makes or closes the file."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def is_unfinished(path: Path) -> bool:
    """Return whether the file is being made, or the process that made it was killed."""
    return _size(path.with_name(path.name + "-journal")) > 0


def finish(path: Path) -> None:
    """Let SQLite undo what a killed process left half done; a read-only connection cannot."""
    with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as connection:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def refuse_lost(path: Path) -> None:
    """Refuse, before it is opened, a path where SQLite would destroy what is left of a bank.

    SQLite takes a file of a few bytes for an empty one and writes over it, and it deletes the
    write-ahead log of a file that is gone.

    Raises:
        DataError: it is such a path, or not a file.
    """
    log = wal_of(path)
    if path.exists() and not path.is_file():
        raise DataError(f"The bank {path} is a directory or a device: name a file.")
    if 0 < _size(path) < 512:
        raise DataError(
            f"{path} is not an SQLite database, or a damaged one ({_size(path)} bytes): name "
            "another file."
        )
    if not _size(path) and _size(log):
        raise DataError(
            f"The bank {path} is gone or empty, while {log.name} beside it holds what was recorded "
            "last: put the file back, or delete both to begin anew."
        )


def refuse_cut_off(path: Path, connection: sa.Connection) -> None:
    """Refuse a file whose end is missing, within a transaction that reads.

    SQLite checks the size only where there is no write-ahead log, and then by whole pages; what is
    missing it reads as zeros. The file must not be opened here: closing it would end all locks
    that SQLite holds on it for this process.

    Raises:
        DataError: the end is missing.
    """
    page = int(connection.exec_driver_sql("PRAGMA page_size").scalar_one())
    pages = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    size = _size(path)
    if size >= pages * page:
        return
    # While SQLite moves the log into the file, the file may lack pages that the log has.
    log = wal_of(path)
    if not _size(log) or not set(range(size // page + 1, pages + 1)) <= _pages_in(log, page):
        raise damaged(path, f"its end is missing after {size} bytes")


def damaged(path: Path, what: str) -> DataError:
    """Return the error to raise for a damaged bank."""
    return DataError(
        f"The bank {path} is damaged ({what}): put back a copy of it, or save what can be read of "
        f"it with `dspy-mux bank salvage {shlex.quote(str(path))} NEW`."
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _pages_in(log: Path, page: int) -> set[int]:
    """Return the numbers of the pages that a write-ahead log holds, up to its last commit."""
    pages: set[int] = set()
    committed: set[int] = set()
    with log.open("rb", buffering=0) as file:
        salts = file.read(32)[16:24]
        while len(frame := file.read(24)) == 24 and frame[8:16] == salts:
            pages.add(int.from_bytes(frame[:4], "big"))
            if frame[4:8] != bytes(4):
                committed |= pages
            file.seek(page, os.SEEK_CUR)
    return committed
