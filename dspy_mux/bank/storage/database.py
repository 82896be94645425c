"""Where a bank is kept: an SQLite file or a PostgreSQL database, through SQLAlchemy, with one clear error for whatever fails."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ...errors import BankError, ConfigurationError
from . import schema, sqlite as sqlite_file
from .schema import VERSION, about, metadata

#: One writer at a time, as SQLite has it: who numbers the classes of answers has read them first. (7173496 is "mux" in ASCII.)
_LOCK = (
    f"SET LOCAL lock_timeout = '{sqlite_file.PATIENCE_S}s'",
    "SELECT pg_advisory_xact_lock(7173496, hashtext(coalesce(current_schema(), '')))",
)


class Database:
    """Connections to read and to write with; the tables are made, or brought up to date, at the first write.

    Args:
        url: a path of an SQLite file, or an SQLAlchemy URL of one or of a PostgreSQL database.

    Raises:
        ConfigurationError: it is neither.
        BankError: on use: no bank, damaged, read-only, of a newer version, or out of reach.
    """

    def __init__(self, url: str | os.PathLike[str]):
        text = os.fspath(url)
        self.path: Path | None = None
        if "://" not in text:
            self.path = Path(text)
        else:
            try:
                told = sa.make_url(text)
            except (SQLAlchemyError, ValueError) as error:
                # The text is not told: there may be a password in it.
                raise ConfigurationError(
                    "The bank's URL is no database URL such as postgresql://user@host/name."
                ) from error
            backend = told.get_backend_name()
            if backend == "sqlite" and told.database not in (None, "", ":memory:"):
                self.path = Path(str(told.database))
            elif backend in ("postgresql", "postgres"):
                self.url = told.set(drivername="postgresql+psycopg")
            else:
                raise ConfigurationError(
                    f"A bank can be an SQLite file or a PostgreSQL database, not {without_password(told)}."
                )
        if self.path is not None:
            if not self.path.name:
                raise ConfigurationError(
                    f"A bank is a file or a database URL, and {text!r} names neither."
                )
            self.url = sa.URL.create("sqlite", database=str(self.path))
        self.name = (
            str(self.path)
            if self.path is not None
            else without_password(self.url.set(drivername="postgresql"))
        )
        self._reader: sa.Engine | None = None
        self._writer: sa.Engine | None = None

    def has_tables(self) -> bool:
        """Whether something was ever written to it."""
        if self.path is not None and (
            not self.path.exists() or sqlite_file.is_unfinished(self.path)
        ):
            return False
        with self.reading(check=False) as connection:
            return _is_bank(connection)

    @contextmanager
    def reading(self, *, check: bool = True) -> Iterator[sa.Connection]:
        """A connection that sees the bank as it is now, whatever is written meanwhile, and changes nothing."""
        with self._telling():
            if self.path is not None:
                sqlite_file.refuse_none(self.path)
                if not self.path.exists():
                    raise BankError(f"There is no bank {self.name}: collect or import draws first.")
                if check and sqlite_file.is_unfinished(self.path):
                    raise BankError(
                        f"The bank {self.name} was left in the middle of a change: collect or import draws, which first undoes it."
                    )
            if self._reader is None:
                self._reader = self._read_only()
            with self._reader.connect() as connection:
                if self.path is not None:
                    sqlite_file.refuse_cut_off(self.path, connection)
                if check:
                    self._version(connection)
                yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction, the only one that writes at its time; the tables are made where they are missing."""
        with self._telling():
            if self._writer is None:
                self._writer = self._prepared()
            with self._writer.begin() as connection:
                self._lock(connection)
                yield connection

    def insert(
        self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add what is not there yet."""
        if rows:
            insert = sqlite.insert(table) if self.path is not None else postgresql.insert(table)
            connection.execute(insert.on_conflict_do_nothing(), list(rows))

    def close(self) -> None:
        """Close its connections; it opens them again when it is used."""
        for engine in (self._reader, self._writer):
            if engine is not None:
                engine.dispose()
        self._reader = self._writer = None

    def _read_only(self) -> sa.Engine:
        if self.path is None:
            return self._server().execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        engine = sa.create_engine(
            "sqlite://", creator=sqlite_file.reader(self.path), poolclass=sa.NullPool
        )
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        return engine

    def _prepared(self) -> sa.Engine:
        """An engine to write with, its tables there and of this version."""
        if self.path is None:
            engine = self._server()
        else:
            sqlite_file.refuse_none(self.path)
            if sqlite_file.is_unfinished(self.path):
                sqlite_file.finish(self.path)
            if self.path.exists() and self.path.stat().st_size:
                # Before it is opened to be written: what is not ours, or newer than we know, is left as it is.
                with self.reading(check=False) as connection:
                    self._check_ours(connection)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(self.url, connect_args={"timeout": sqlite_file.PATIENCE_S})
            sa.event.listen(engine, "connect", sqlite_file.set_up)
            # pysqlite would begin with the first write, and two writers that have read before would then block each other.
            sa.event.listen(
                engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")
            )
        try:
            with engine.begin() as connection:
                self._lock(connection)
                self._check_ours(connection)
                if _is_bank(connection):
                    schema.upgrade(connection, self._version(connection))
                else:
                    metadata.create_all(connection)
                    self.insert(connection, about, [{"key": "version", "value": str(VERSION)}])
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _server(self) -> sa.Engine:
        given = {"connect_timeout": 10, "application_name": "dspy-mux"}
        settings = {name: value for name, value in given.items() if name not in self.url.query}
        try:
            return sa.create_engine(self.url, pool_pre_ping=True, connect_args=settings)
        except ImportError as error:
            raise BankError(
                f"The bank {self.name} needs psycopg, which is not installed: pip install 'dspy-mux[postgres]'."
            ) from error

    def _lock(self, connection: sa.Connection) -> None:
        for statement in _LOCK if self.path is None else ():
            connection.exec_driver_sql(statement)

    def _check_ours(self, connection: sa.Connection) -> None:
        if _is_bank(connection):
            self._version(connection)
        elif self.path is not None and sa.inspect(connection).get_table_names():
            raise BankError(
                f"{self.name} is another program's database, no sample bank of dspy-mux: name another file."
            )

    def _version(self, connection: sa.Connection) -> int:
        if not _is_bank(connection):
            if self.path is None:
                raise BankError(
                    f"The database {self.name} holds no sample bank yet: collect or import draws first."
                )
            raise BankError(
                f"{self.name} is a database, but no sample bank of dspy-mux: name the bank's file."
            )
        version = connection.execute(
            sa.select(about.c.value).where(about.c.key == "version")
        ).scalar()
        if not str(version).isdecimal() or int(str(version)) > VERSION:
            raise BankError(
                f"The bank {self.name} was written by a newer dspy-mux (version {version}): update dspy-mux to use it."
            )
        return int(str(version))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, OSError) as error:
            raise as_bank_error(error, self.name, self.path) from error


def without_password(url: sa.URL) -> str:
    """A database's URL as it may be shown."""
    query = {name: value for name, value in url.query.items() if "pass" not in name.lower()}
    return url.set(query=query).render_as_string(hide_password=True)


def _is_bank(connection: sa.Connection) -> bool:
    return sa.inspect(connection).has_table(about.name)


#: (what the database says, what we say of {name}, given {what}), for an SQLite file …
_OF_A_FILE = (
    (
        "not a database",
        "{name} is no SQLite database, or a damaged one ({what}): name another file, or put back a copy of it.",
    ),
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
        "The bank {name} keeps what is recorded, but its disk is full, over a quota, or failing ({what}): make room and go on.",
    ),
    (
        "locked",
        "Another process has been writing to the bank {name} for a minute: go on when it has ended.",
    ),
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
    (
        'database ".*" does not exist',
        "The database of the bank {name} is not there ({what}): create it, as with `createdb`.",
    ),
    (
        "permission denied",
        "The user of the bank {name} lacks a permission ({what}): grant it, or name another user in the URL.",
    ),
    (
        "read-only",
        "The server of the bank {name} takes no writes ({what}): name the primary server to record draws.",
    ),
    (
        "No space|disk full",
        "The disk of the bank {name}'s server is full: it keeps what is recorded; make room and go on.",
    ),
    (
        "lock timeout",
        "Another process has been writing to the bank {name} for a minute: go on when it has ended.",
    ),
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
            return BankError(
                sentence.format(
                    name=name, what=what, log="" if path is None else sqlite_file.wal_of(path).name
                )
            )
    return BankError(f"The bank {name} cannot be used: {what}.")
