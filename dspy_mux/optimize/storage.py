"""Storages of studies: what a text names, and a lock among the processes that share one."""

from __future__ import annotations

import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import sqlalchemy as sa
from filelock import FileLock, Timeout

from ..errors import ConfigurationError, StorageError

if TYPE_CHECKING:
    import optuna

#: Seconds that a process waits for others at most; they hold the lock for milliseconds.
PATIENCE_S = 60
#: Seconds between two looks at a lock that another process holds.
_PAUSE_S = 0.02
_SQLITE_ENDINGS = (".db", ".sqlite", ".sqlite3")


def open_storage(
    storage: str | optuna.storages.BaseStorage | None,
) -> optuna.storages.BaseStorage | None:
    """Return what a text names as a storage; anything else as it is.

    A text with "://" is the URL of a database, any other the path of a journal file.

    Raises:
        ConfigurationError: a path that looks like an SQLite file's, which has a URL.
    """
    if not isinstance(storage, str):
        return storage
    import optuna

    if (path := journal_path(storage)) is not None:
        if path.name.endswith(_SQLITE_ENDINGS):
            raise ConfigurationError(
                f"The study's storage {storage!r} names no kind: write sqlite:///{storage} for a "
                "database, or a name such as study.log for a journal file."
            )
        backend = optuna.storages.journal.JournalFileBackend(str(path))
        return optuna.storages.JournalStorage(backend)
    url = database_url(storage)
    # A writer waits for another one; SQLite would give up after five seconds.
    sqlite = url.get_backend_name() == "sqlite" and "timeout" not in url.query
    settings = {"connect_args": {"timeout": PATIENCE_S}} if sqlite else {}
    return optuna.storages.RDBStorage(
        url.render_as_string(hide_password=False), engine_kwargs=settings
    )


def journal_path(storage: str) -> Path | None:
    """Return the journal file that a text names; None for a database."""
    return None if "://" in storage else Path(storage)


def database_url(storage: str) -> sa.URL:
    """Return a storage's URL; PostgreSQL's with the driver that banks use, if it names none."""
    url = sa.make_url(storage)
    plain = url.drivername in ("postgresql", "postgres")
    return url.set(drivername="postgresql+psycopg") if plain else url


class StudyLock:
    """One holder at a time, among the threads of all processes that share a study.

    Among threads of this process alone where the storage is neither a file nor PostgreSQL.

    Raises:
        StorageError: on use: another process has held it for a minute.
    """

    def __init__(self, storage: str | optuna.storages.BaseStorage | None, study_name: str):
        self._threads = threading.Lock()
        self._holder: int | None = None
        self._processes = _lock_of(storage, study_name) if isinstance(storage, str) else None

    def __enter__(self) -> StudyLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> None:
        self._threads.acquire()
        try:
            if self._processes is not None:
                self._processes.acquire()
        except BaseException:
            self._threads.release()
            raise
        self._holder = threading.get_ident()

    def release(self) -> None:
        """Release it; nothing happens in a thread that does not hold it."""
        if self._holder != threading.get_ident():
            return
        self._holder = None
        try:
            if self._processes is not None:
                self._processes.release()
        finally:
            self._threads.release()

    def close(self) -> None:
        if self._processes is not None:
            self._processes.close()


class _ProcessLock(Protocol):
    def acquire(self) -> None: ...

    def release(self) -> None: ...

    def close(self) -> None: ...


def _lock_of(storage: str, study_name: str) -> _ProcessLock | None:
    path = journal_path(storage)
    if path is None:
        url = database_url(storage)
        if url.get_backend_name() == "postgresql":
            return _ServerLock(url, study_name)
        named = url.database if url.get_backend_name() == "sqlite" else None
        if named in (None, "", ":memory:") or str(named).startswith("file:"):
            return None
        path = Path(str(named))
    if not path.parent.is_dir():
        return None  # the storage says so
    return _FileLock(path.with_name(f"{path.name}.dspy-mux.lock"))


class _FileLock:
    """A lock on a file beside the storage's, which stays there."""

    def __init__(self, path: Path):
        self._lock = FileLock(path, thread_local=False)

    def acquire(self) -> None:
        try:
            self._lock.acquire(timeout=PATIENCE_S, poll_interval=_PAUSE_S)
        except Timeout as error:
            raise _held() from error

    def release(self) -> None:
        self._lock.release()

    def close(self) -> None: ...


class _ServerLock:
    """An advisory lock of PostgreSQL; the server takes it back from a process that has died."""

    def __init__(self, url: sa.URL, study_name: str):
        # (7173496 is "mux" in ASCII; banks use it with another second number.)
        self._key = {"room": 7173496, "study": zlib.crc32(study_name.encode()) - 2**31}
        self._engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        self._connection: sa.Connection | None = None

    def acquire(self) -> None:
        if self._connection is None or self._connection.closed or self._connection.invalidated:
            self._connection = self._engine.connect()
        deadline = time.monotonic() + PATIENCE_S
        # Tried again and again: a wait inside the server would not see Ctrl-C.
        while not self._ask(self._connection, "pg_try_advisory_lock"):
            if time.monotonic() > deadline:
                raise _held()
            time.sleep(_PAUSE_S)

    def release(self) -> None:
        if self._connection is not None:
            self._ask(self._connection, "pg_advisory_unlock")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _ask(self, connection: sa.Connection, function: str) -> bool:
        return bool(
            connection.execute(sa.text(f"SELECT {function}(:room, :study)"), self._key).scalar()
        )


def _held() -> StorageError:
    return StorageError("Another process has held the study for a minute: go on when it has ended.")
