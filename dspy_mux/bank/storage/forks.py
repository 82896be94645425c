"""Let no connection cross a fork: a child on its parent's connections breaks both.

SQLite keeps its locks in the memory of the process, where a child finds them without holding them,
and two processes on one connection to a server read each other's replies. So a fork waits for what
other threads have under way in SQLite files, and closes the connections that are idle; a child
lets go of its parent's connections to servers. Both open their own again on use.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakSet

from ...errors import StorageError

#: Seconds that a fork waits for the transactions of other threads.
PATIENCE_S = 10.0


class Connected(Protocol):
    """What has connections: to an SQLite file (`path`), or to a server."""

    path: Path | None

    def close(self) -> None:
        """Close the idle ones."""

    def forget(self) -> object:
        """Let go of all without closing them; return what holds them."""


@dataclass(eq=False, frozen=True)
class _Use:
    """A transaction under way."""

    database: Connected
    thread: int


class Forks:
    """What must be known of connections where a process forks."""

    def __init__(self) -> None:
        self._begin_anew()
        self._databases: WeakSet[Connected] = WeakSet()
        self._to_servers: WeakSet[Any] = WeakSet()
        #: SQLite files that were in use when this process was forked.
        self._refused: set[Path] = set()
        #: The parent's, kept from the garbage collector, which would close them.
        self._inherited: list[object] = []

    def _begin_anew(self) -> None:
        self._changed = threading.Condition()
        self._uses: set[_Use] = set()
        self._forking: int | None = None  # the thread that does

    def watch(self, database: Connected) -> None:
        """Watch over a database's connections."""
        with self._changed:
            self._databases.add(database)

    def watch_server(self, connection: Any) -> None:
        """Watch over a connection of psycopg."""
        with self._changed:
            self._to_servers.add(connection)

    @contextmanager
    def transaction(self, database: Connected) -> Iterator[None]:
        """Have forks of other threads wait until the block ends.

        Raises:
            StorageError: the file cannot be opened, because it was in use when this process was
                forked.
        """
        if database.path is not None and _resolved(database.path) in self._refused:
            raise StorageError(
                f"The bank {database.path} was being read or written when this process was forked "
                "from another, so SQLite cannot open it here: fork at another moment, or start "
                "processes by multiprocessing's 'forkserver' or 'spawn'."
            )
        use = _Use(database, threading.get_ident())
        with self._changed:
            # One within another must not wait for a fork that waits for the outer one.
            while self._forking not in (None, use.thread) and use.thread not in {
                other.thread for other in self._uses
            }:
                self._changed.wait()
            self._uses.add(use)
        try:
            yield
        finally:
            with self._changed:
                self._uses.discard(use)
                self._changed.notify_all()

    def before(self) -> None:
        ours, until = threading.get_ident(), time.monotonic() + PATIENCE_S
        with self._changed:
            while self._forking is not None:
                self._changed.wait()
            self._forking = ours
            while any(
                use.thread != ours and use.database.path is not None for use in self._uses
            ) and self._changed.wait(max(0.0, until - time.monotonic())):
                pass
            busy = {use.database for use in self._uses}
            for database in self._databases:
                if database.path is not None and database not in busy:
                    database.close()

    def after_in_parent(self) -> None:
        with self._changed:
            self._forking = None
            self._changed.notify_all()

    def after_in_child(self) -> None:
        busy = {use.database.path for use in self._uses}
        self._begin_anew()
        self._refused.update(_resolved(path) for path in busy if path is not None)
        self._inherited += [database.forget() for database in self._databases]
        null = os.open(os.devnull, os.O_RDWR)
        for connection in self._to_servers:
            self._inherited.append(connection)
            # Not even a rollback by this process may reach the server, and the server must see it
            # when the parent is gone.
            with suppress(Exception):
                os.dup2(null, connection.fileno(), inheritable=False)
        os.close(null)
        self._to_servers = WeakSet()


def _resolved(path: Path) -> Path:
    return path.absolute() if not path.exists() else path.resolve()


forks = Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=forks.before,
        after_in_parent=forks.after_in_parent,
        after_in_child=forks.after_in_child,
    )
