"""Connections to a bank's database, an SQLite file or PostgreSQL, with clear errors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from ...errors import ConfigurationError, DataError, MissingExtra, MuxError, StorageError
from . import schema, sqlite as sqlite_file
from .failures import describe_failure, is_lock_held
from .faults import find_fault
from .forks import forks
from .schema import VERSION, about, metadata

#: One writer at a time, as in SQLite: who numbers answer classes must have read them all.
#: (7173496 is "mux" in ASCII.)
_LOCK = (
    f"SET LOCAL lock_timeout = '{sqlite_file.SLICE_S}s'",
    "SELECT pg_advisory_xact_lock(7173496, hashtext(coalesce(current_schema(), '')))",
    f"SET LOCAL lock_timeout = '{sqlite_file.PATIENCE_S}s'",
)
#: What a wrong value leads to where it is read.
_STUMBLES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Database:
    """A bank's connections. The first write makes its tables, or upgrades them.

    Args:
        url: a path of an SQLite file, or an SQLAlchemy URL of one or of a PostgreSQL database.

    Raises:
        ConfigurationError: `url` is neither.
        DataError: on use: not a bank, damaged, or of a newer version.
        StorageError: on use: read-only, full, locked, or out of reach.
        MissingExtra: on use: PostgreSQL without psycopg.
    """

    def __init__(self, url: str | os.PathLike[str]):
        if not isinstance(url, (str, os.PathLike)):
            raise ConfigurationError(
                f"A bank is a SampleBank, a file's path or a database URL, not {url!r}."
            )
        text = os.fspath(url)
        self.path: Path | None = None
        if "://" not in text:
            self.path = Path(text)
        else:
            try:
                parsed = sa.make_url(text)
            except (SQLAlchemyError, ValueError) as error:
                # The message leaves out the text, which may hold a password.
                raise ConfigurationError(
                    "The bank's URL is not a database URL such as postgresql://user@host/name."
                ) from error
            backend = parsed.get_backend_name()
            if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
                self.path = Path(str(parsed.database))
            elif backend in ("postgresql", "postgres"):
                self.url = parsed.set(drivername="postgresql+psycopg")
            else:
                raise ConfigurationError(
                    "A bank can be an SQLite file or a PostgreSQL database, not "
                    f"{without_password(parsed)}."
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
        forks.watch(self)

    def has_tables(self) -> bool:
        """Return whether something was ever written to it."""
        if self.path is not None and (
            not self.path.exists() or sqlite_file.is_unfinished(self.path)
        ):
            return False
        with self.reading(check=False) as connection:
            return _is_bank(connection)

    @contextmanager
    def reading(self, *, check: bool = True) -> Iterator[sa.Connection]:
        """Open a read-only connection to a snapshot: what is written meanwhile does not show."""
        with self._describing_failures(), forks.transaction(self):
            if self.path is not None:
                sqlite_file.refuse_lost(self.path)
                if not self.path.exists():
                    raise DataError(f"There is no bank {self.name}: collect or import draws first.")
                if check and sqlite_file.is_unfinished(self.path):
                    raise DataError(
                        f"The bank {self.name} was left in the middle of a change: collect or "
                        "import draws, which first undoes it."
                    )
            if self._reader is None:
                self._reader = self._read_only()
            with self._reader.connect() as connection:
                if self.path is not None:
                    sqlite_file.refuse_cut_off(self.path, connection)
                if check:
                    self.version(connection)
                with self._finding_faults(connection):
                    yield connection

    @contextmanager
    def writing(self, wanted: Callable[[], bool] = lambda: True) -> Iterator[sa.Connection]:
        """Open a transaction, the only writer at its time; it makes tables that are missing.

        Args:
            wanted: asked while another writer is waited for; False ends the wait.

        Raises:
            StorageError: among others, the other writer took too long, or longer than `wanted`.
        """
        with self._describing_failures(), forks.transaction(self):
            if self._writer is None:
                self._writer = self._prepared(wanted)
            with (
                self._transaction(self._writer, wanted) as connection,
                self._finding_faults(connection),
            ):
                yield connection

    def insert(
        self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Add the rows that are not there yet."""
        if rows:
            insert = sqlite.insert(table) if self.path is not None else postgresql.insert(table)
            connection.execute(insert.on_conflict_do_nothing(), list(rows))

    def close(self) -> None:
        """Close the connections; they open again on use."""
        for engine in (self._reader, self._writer):
            if engine is not None:
                engine.dispose()
        self._reader = self._writer = None

    def forget(self) -> tuple[sa.Engine | None, sa.Engine | None]:
        """Let go of all connections without closing them, and return what holds them."""
        engines = self._reader, self._writer
        self._reader = self._writer = None
        return engines

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

    @contextmanager
    def _transaction(
        self, engine: sa.Engine, wanted: Callable[[], bool]
    ) -> Iterator[sa.Connection]:
        """Open a transaction that holds the write lock.

        The lock is waited for in short slices: while a driver waits, no signal is seen.
        """
        deadline = time.monotonic() + sqlite_file.PATIENCE_S
        with engine.connect() as connection:
            while True:
                transaction = connection.begin()
                try:
                    self._lock(connection)
                    break
                except OperationalError as error:
                    transaction.rollback()
                    if not is_lock_held(error) or time.monotonic() > deadline:
                        raise
                    if not wanted():
                        raise StorageError(
                            f"Another process is writing to the bank {self.name}: go on when it "
                            "has ended."
                        ) from error
            with transaction:
                yield connection

    def _prepared(self, wanted: Callable[[], bool]) -> sa.Engine:
        """Return an engine to write with, whose tables exist and have this version."""
        if self.path is None:
            engine = self._server()
        else:
            sqlite_file.refuse_lost(self.path)
            if sqlite_file.is_unfinished(self.path):
                sqlite_file.finish(self.path)
            if self.path.exists() and self.path.stat().st_size:
                # Not yet open to write: files of others and newer banks stay untouched.
                with self.reading(check=False) as connection:
                    self._check_ours(connection)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(self.url, connect_args={"timeout": sqlite_file.SLICE_S})
            sa.event.listen(engine, "connect", sqlite_file.set_up)
        try:
            with self._transaction(engine, wanted) as connection:
                self._check_ours(connection)
                if _is_bank(connection):
                    schema.upgrade(connection, self.version(connection))
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
            engine = sa.create_engine(self.url, pool_pre_ping=True, connect_args=settings)
        except ImportError as error:
            raise MissingExtra(
                f"The bank {self.name} needs psycopg, which is not installed: pip install "
                "'dspy-mux[postgres]'."
            ) from error
        sa.event.listen(engine, "connect", lambda connection, _: forks.watch_server(connection))
        return engine

    def _lock(self, connection: sa.Connection) -> None:
        # pysqlite would begin at the first write; two writers that read before would block each
        # other.
        for statement in _LOCK if self.path is None else ("BEGIN IMMEDIATE",):
            connection.exec_driver_sql(statement)

    def _check_ours(self, connection: sa.Connection) -> None:
        if _is_bank(connection):
            self.version(connection)
        elif self.path is not None and sa.inspect(connection).get_table_names():
            raise DataError(
                f"{self.name} is another program's database, not a sample bank of dspy-mux: name "
                "another file."
            )

    def version(self, connection: sa.Connection) -> int:
        """Return the version of the bank's tables.

        Raises:
            DataError: it is not a bank, or of a newer version.
        """
        if not _is_bank(connection):
            if self.path is None:
                raise DataError(
                    f"The database {self.name} holds no sample bank yet: collect or import draws "
                    "first."
                )
            raise DataError(
                f"{self.name} is a database, but not a sample bank of dspy-mux: name the bank's "
                "file."
            )
        version = connection.execute(
            sa.select(about.c.value).where(about.c.key == "version")
        ).scalar()
        text = str(version)
        is_number = text.isascii() and text.isdecimal() and len(text) < 10
        if not is_number or int(text) > VERSION:
            raise DataError(
                f"The bank {self.name} was written by a newer dspy-mux (version {text[:20]}): "
                "update dspy-mux to use it."
            )
        return int(text)

    @contextmanager
    def _finding_faults(self, connection: sa.Connection) -> Iterator[None]:
        """Raise what a wrong value in the bank led to as a DataError that names the value."""
        try:
            yield
        except MuxError:
            raise
        except _STUMBLES as error:
            fault = find_fault(connection, self.name)
            if fault is None:
                raise
            raise fault from error

    @contextmanager
    def _describing_failures(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, OSError) as error:
            raise describe_failure(error, self.name, self.path) from error


def without_password(url: sa.URL) -> str:
    """Return a database's URL as it may be shown."""
    query = {name: value for name, value in url.query.items() if "pass" not in name.lower()}
    return url.set(query=query).render_as_string(hide_password=True)


def _is_bank(connection: sa.Connection) -> bool:
    return sa.inspect(connection).has_table(about.name)
