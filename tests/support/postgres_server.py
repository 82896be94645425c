"""A PostgreSQL server of a test's own, which it may restart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: Where Linux distributions keep the server's programs, beside the PATH.
_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
_WHERE = os.pathsep.join([*map(str, reversed(_PROGRAMS)), os.environ.get("PATH", "")])

needs_postgres = pytest.mark.skipif(
    shutil.which("initdb", path=_WHERE) is None, reason="PostgreSQL is not installed"
)


class PostgresServer:
    """A server that listens on a socket in a folder.

    Attributes:
        url: of its database.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        # It refuses to run as root.
        self._as = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self._as:
            shutil.chown(folder, "postgres")
            for above in folder.parents:  # of pytest's folders, none is open to others
                if above.stat().st_uid == 0 and above != above.parent:
                    above.chmod(above.stat().st_mode | 0o011)

    def run(self, program: str, *arguments: str) -> None:
        found = shutil.which(program, path=_WHERE)
        assert found is not None
        with (self._folder.parent / "postgres.out").open("a") as out:
            subprocess.run(
                [*self._as, found, "--pgdata", str(self._folder / "data"), *arguments],
                stdout=out,
                stderr=out,
                check=True,
                cwd="/",
            )

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self._folder}' -c fsync=off"
        log = str(self._folder / "log")
        self.run("pg_ctl", "start", "--wait", "--log", log, "--options", options)

    def stop(self) -> None:
        """End it as a crash does."""
        self.run("pg_ctl", "stop", "--mode", "immediate")


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """Run a server in an empty folder, of a short path, for as long as the block lasts."""
    server = PostgresServer(folder)
    server.run(
        "initdb", "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--no-locale"
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()
