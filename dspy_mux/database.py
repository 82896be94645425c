"""Where a bank is kept: an SQLite file or a PostgreSQL database, through SQLAlchemy, with one clear error for whatever fails."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from .errors import BankError, ConfigurationError
from .schema import VERSION, about, metadata


class Database:
    """Connections to read and to write with; the tables are made at the first write.

    Args:
        url: a path of an SQLite file, or an SQLAlchemy URL.

    Raises:
        ConfigurationError: it is neither.
        BankError: on use: no bank, damaged, read-only, of a newer version, or out of reach.
    """

    def __init__(self, url: str | os.PathLike[str]):
        text = os.fspath(url)
        self.path: Path | None = None
        if "://" not in text:
            self.path = Path(text)
            self.url = sa.URL.create("sqlite", database=str(self.path))
        else:
            try:
                self.url = sa.make_url(text)
            except (SQLAlchemyError, ValueError) as error:
                # The text is not told: there may be a password in it.
                raise ConfigurationError("The bank's URL is no database URL such as postgresql://user@host/name.") from error
            if self.url.get_backend_name() == "sqlite" and self.url.database not in (None, "", ":memory:"):
                self.path = Path(str(self.url.database))
        self.name = str(self.path) if self.path is not None else without_password(self.url)
        self._engines: dict[bool, sa.Engine] = {}

    def has_tables(self) -> bool:
        """Whether something was ever written to it."""
        if self.path is not None and not self.path.exists():
            return False
        with self.reading(check=False) as connection:
            return sa.inspect(connection).has_table(about.name)

    @contextmanager
    def reading(self, *, check: bool = True) -> Iterator[sa.Connection]:
        if self.path is not None and not self.path.exists():
            raise BankError(f"There is no bank {self.name}: collect or import draws first.")
        try:
            with self._engine(read_only=self.path is not None).connect() as connection:
                if check:
                    self._check_version(connection)
                yield connection
        except (DBAPIError, OSError) as error:
            raise self._told(error) from error

    def _engine(self, *, read_only: bool) -> sa.Engine:
        engine = self._engines.get(read_only)
        if engine is None:
            try:
                engine = self._made(read_only)
            except (ModuleNotFoundError, SQLAlchemyError) as error:
                if isinstance(error, DBAPIError):
                    raise
                raise BankError(f"The bank {self.name} cannot be opened: {str(error).splitlines()[0]}.") from error
            self._engines[read_only] = engine
        return engine

    def _made(self, read_only: bool) -> sa.Engine:
        if self.url.get_backend_name() != "sqlite":
            engine = sa.create_engine(self.url, pool_pre_ping=True)
        elif read_only:
            assert self.path is not None  # an SQLite bank in memory is never read-only
            # Reading a bank takes a small file beside it; where none can be made, and nobody writes, it is read as it stands.
            settled = not os.access(self.path.parent, os.W_OK) and not self.path.with_name(self.path.name + "-wal").exists()
            uri = f"file:{quote(str(self.path))}?mode=ro{'&immutable=1' if settled else ''}"
            return sa.create_engine("sqlite://", creator=lambda: sqlite3.connect(uri, uri=True, timeout=60), poolclass=sa.NullPool)
        else:
            engine = sa.create_engine(self.url, connect_args={"timeout": 60})
            sa.event.listen(engine, "connect", _set_up_sqlite)
            # pysqlite would begin with the first write, and two writers that have read before would then block each other.
            sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        with engine.begin() as connection:
            if sa.inspect(connection).has_table(about.name):
                self._check_version(connection)
            elif self.path is not None and sa.inspect(connection).get_table_names():
                raise BankError(f"{self.name} is another program's database, no sample bank of dspy-mux: name another file.")
            else:
                metadata.create_all(connection, checkfirst=True)
                self.insert(connection, about, [{"key": "version", "value": str(VERSION)}])
        return engine

    def _check_version(self, connection: sa.Connection) -> None:
        if not sa.inspect(connection).has_table(about.name):
            raise BankError(f"{self.name} is a database, but no sample bank of dspy-mux.")
        version = connection.execute(sa.select(about.c.value).where(about.c.key == "version")).scalar()
        if not str(version).isdigit() or int(str(version)) > VERSION:
            raise BankError(
                f"The bank {self.name} was written by a newer dspy-mux (version {version}): update dspy-mux to read it."
            )

    def insert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            return
        name = connection.dialect.name
        if name not in ("sqlite", "postgresql"):
            raise BankError(f"A bank can be an SQLite or a PostgreSQL database, not {name}.")
        insert = sqlite.insert(table) if name == "sqlite" else postgresql.insert(table)
        connection.execute(insert.on_conflict_do_nothing(), list(rows))

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction; the tables are made where they are missing."""
        try:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            engine = self._engine(read_only=False)
            with engine.begin() as connection:
                yield connection
        except (DBAPIError, OSError) as error:
            raise self._told(error) from error

    def close(self) -> None:
        """Close its connections; it opens them again when it is used."""
        while self._engines:
            self._engines.popitem()[1].dispose()

    def _told(self, error: Exception) -> BankError:
        what = str(getattr(error, "orig", None) or error).splitlines()[0]
        if "not a database" in what or "malformed" in what:
            return BankError(f"{self.name} is no SQLite database, or a damaged one ({what}).")
        if "readonly" in what or "read-only" in what:
            return BankError(f"The bank {self.name} is read-only: give its file and folder write permission to record draws.")
        if "disk is full" in what or "No space" in what:
            return BankError(f"The disk is full: the bank {self.name} keeps what is recorded; make room and go on.")
        return BankError(f"The bank {self.name} cannot be used: {what}.")


def without_password(url: sa.URL) -> str:
    """A database's URL as it may be shown."""
    query = {name: value for name, value in url.query.items() if "pass" not in name.lower()}
    return url.set(query=query).render_as_string(hide_password=True)


def _set_up_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # what was paid for outlives a power loss
    cursor.close()
