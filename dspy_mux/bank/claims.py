"""Claims: which process draws which question of a member, so that no draw is made twice."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence

import sqlalchemy as sa

from .storage.database import Database
from .storage.schema import claims

#: A claim of a process on another machine lapses after this many seconds without a sign of life.
CLAIM_LASTS_S = 120.0
#: Owners at work in this process. A process id alone proves little: ids are used again.
_at_work: set[str] = set()


class Claims:
    """The claims recorded in a bank, on units of (question, program)."""

    def __init__(self, database: Database):
        self._database = database

    def take(
        self,
        units: Sequence[tuple[int, int]],
        owner: str,
        wanted: Callable[[], bool] = lambda: True,
    ) -> list[tuple[int, int]]:
        """Claim units for an owner; return those that are its own now. Others hold the rest.

        Args:
            wanted: asked while another writer is waited for; False ends the wait.
        """
        now, host = time.time(), socket.gethostname()
        _at_work.add(owner)
        with self._database.writing(wanted) as connection:
            for claim in connection.execute(sa.select(claims)).all():
                if _has_lapsed(claim, host, now):
                    connection.execute(sa.delete(claims).where(_is(claim.question, claim.program)))
            rows = [
                {
                    "question": question,
                    "program": program,
                    "owner": owner,
                    "host": host,
                    "pid": os.getpid(),
                    "beat": now,
                }
                for question, program in units
            ]
            self._database.insert(connection, claims, rows)
            query = sa.select(claims.c.question, claims.c.program).where(claims.c.owner == owner)
            ours = {(question, program) for question, program in connection.execute(query)}
        return [unit for unit in units if unit in ours]

    def beat(self, owner: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Record a sign of life for all claims of an owner; for `wanted` see `take`."""
        with self._database.writing(wanted) as connection:
            connection.execute(
                sa.update(claims).where(claims.c.owner == owner).values(beat=time.time())
            )

    def release(
        self, connection: sa.Connection, owner: str, units: Iterable[tuple[int, int]] | None = None
    ) -> None:
        """Delete an owner's claims on `units`, or all of them.

        After the last one is written, `abandon` the owner too.
        """
        mine = claims.c.owner == owner
        if units is None:
            connection.execute(sa.delete(claims).where(mine))
        for question, program in units or ():
            connection.execute(sa.delete(claims).where(mine & _is(question, program)))

    def abandon(self, owner: str) -> None:
        """Give up what the owner still claims, even where the database cannot be written."""
        _at_work.discard(owner)


def _is(question: int, program: int) -> sa.ColumnElement[bool]:
    return (claims.c.question == question) & (claims.c.program == program)


def _has_lapsed(claim: sa.Row[tuple[object, ...]], host: str, now: float) -> bool:
    """Whether a claim's owner is no longer at work."""
    if claim.host == host:
        if claim.pid == os.getpid():
            return claim.owner not in _at_work
        try:
            os.kill(claim.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives, as another user's
    return bool(claim.beat < now - CLAIM_LASTS_S)
