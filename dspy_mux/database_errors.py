"""What a database says when it fails, as one sentence that says what to do."""

from __future__ import annotations

import re
from pathlib import Path

from . import sqlite_file
from .errors import BankError

#: (what the database says, what we say of {name}, given {what}), for an SQLite file …
_OF_A_FILE = (
    ("not a database", "{name} is no SQLite database, or a damaged one ({what}): name another file, or put back a copy of it."),
    ("readonly|read-only", "The bank {name} is read-only: give its file and folder write permission to record draws."),
    ("disk is full|No space", "The disk is full: the bank {name} keeps what is recorded; make room and go on."),
    (
        "disk I/O error",
        "The bank {name} keeps what is recorded, but its disk is full, over a quota, or failing ({what}): make room and go on.",
    ),
    ("locked", "Another process has been writing to the bank {name} for a minute: go on when it has ended."),
    (
        "unable to open",
        "The bank {name} cannot be opened ({what}): give its folder write permission, as it needs files beside it, or copy it, "
        "with {log} if there is one, to a folder of yours.",
    ),
)
#: … and for a server.
_OF_A_SERVER = (
    (
        "password authentication failed|no password supplied|role .* does not exist|no pg_hba.conf entry",
        "The server of the bank {name} refuses the user ({what}): mend the user and password in the URL, or in ~/.pgpass.",
    ),
    ('database ".*" does not exist', "The database of the bank {name} is not there ({what}): create it, as with `createdb`."),
    (
        "permission denied",
        "The user of the bank {name} lacks a permission ({what}): grant it, or name another user in the URL.",
    ),
    ("read-only", "The server of the bank {name} takes no writes ({what}): name the primary server to record draws."),
    ("No space|disk full", "The disk of the bank {name}'s server is full: it keeps what is recorded; make room and go on."),
    ("lock timeout", "Another process has been writing to the bank {name} for a minute: go on when it has ended."),
    (
        "connection|could not translate|timeout|terminat|server closed|starting up|shutting down|recovery",
        "The server of the bank {name} is out of reach ({what}): it keeps what is recorded; start it, or mend the URL, and go on.",
    ),
)


def as_bank_error(error: Exception, name: str, path: Path | None) -> BankError:
    """The error of the database (or of the file system) under the bank `name`, told."""
    what = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
    if path is not None and "malformed" in what:
        return sqlite_file.damaged(path, what)
    for pattern, sentence in _OF_A_SERVER if path is None else _OF_A_FILE:
        if re.search(pattern, what):
            return BankError(sentence.format(name=name, what=what, log="" if path is None else sqlite_file.wal_of(path).name))
    return BankError(f"The bank {name} cannot be used: {what}.")
