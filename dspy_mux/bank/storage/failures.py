"""Describe what a database or disk reports, as one error that says what to do."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import BankError, DataError, StorageError
from . import sqlite

#: What a server reports → the sentence, given the bank's {name} and the report, {what}.
_SERVER = (
    (
        "password authentication failed|no password supplied|role .* does not exist"
        "|no pg_hba.conf entry",
        "The server of the bank {name} refuses the user ({what}): correct the user and password in "
        "the URL, or in ~/.pgpass.",
    ),
    (
        'database ".*" does not exist',
        "The database of the bank {name} does not exist ({what}): create it, as with `createdb`.",
    ),
    (
        "permission denied",
        "The user of the bank {name} lacks a permission ({what}): grant it, or name another user "
        "in the URL.",
    ),
    (
        "read-only",
        "The server of the bank {name} takes no writes ({what}): name the primary server to record "
        "draws.",
    ),
    (
        "No space|disk full",
        "The disk of the bank {name}'s server is full: it keeps what is recorded; make room and "
        "go on.",
    ),
    (
        "lock timeout",
        "Another process has been writing to the bank {name} for a minute: go on when it has "
        "ended.",
    ),
    (
        "connection|could not translate|timeout|terminat|server closed|starting up|shutting down"
        "|recovery",
        "The server of the bank {name} is out of reach ({what}): it keeps what is recorded; start "
        "it, or correct the URL, and go on.",
    ),
)
#: Likewise for an SQLite file, whose write-ahead log is called {log}.
_FILE = (
    (
        "readonly|read-only",
        "The bank {name} is read-only: give its file and folder write permission to record draws.",
    ),
    (
        "disk is full|No space",
        "The disk is full: the bank {name} keeps what is recorded; make room and go on.",
    ),
    (
        "disk I/O error",
        "The bank {name} keeps what is recorded, but its disk is full, over a quota, or failing "
        "({what}): make room and go on.",
    ),
    (
        "locked",
        "Another process has been writing to the bank {name} for a minute: go on when it has "
        "ended.",
    ),
    (
        "unable to open",
        "The bank {name} cannot be opened ({what}): give its folder write permission, as it needs "
        "files beside it, or copy it, with {log} if there is one, to a folder of yours.",
    ),
)


def is_lock_held(error: Exception) -> bool:
    """Return whether a database reports that another writer holds its lock."""
    cause = getattr(error, "orig", error)
    return getattr(cause, "sqlstate", None) == "55P03" or "database is locked" in str(cause)


def describe_failure(error: Exception, name: str, path: Path | None) -> BankError:
    """Return the error to raise for what the database or the file system reports.

    Args:
        name: the bank's.
        path: its file; None for a server.
    """
    lines = str(getattr(error, "orig", None) or error).splitlines()
    what = lines[0] if lines else type(error).__name__
    log = "" if path is None else sqlite.wal_of(path).name
    if path is not None and "malformed" in what:
        return sqlite.damaged(path, what)
    if path is not None and "not a database" in what:
        return DataError(
            f"{name} is not an SQLite database, or a damaged one ({what}): name another file, or "
            "put back a copy of it."
        )
    for pattern, sentence in _SERVER if path is None else _FILE:
        if re.search(pattern, what):
            return StorageError(sentence.format(name=name, what=what, log=log))
    return StorageError(f"The bank {name} cannot be used: {what}.")
