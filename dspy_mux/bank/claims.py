"""Claims: which collection draws which question of a member, so that no draw is made twice.

An owner is a random id with a heartbeat. Nothing is concluded from a host name or a process id,
which containers share, nor from a clock: a claim lapses once whoever wants it has watched it for
a while without seeing a beat.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sqlalchemy as sa

from .storage.database import Database
from .storage.schema import claims

#: (question, program) in the bank.
Unit: TypeAlias = tuple[int, int]

#: Seconds between an owner's beats, and at least between two looks at it.
BEAT_S = 4.0
#: An owner counts as dead after so many looks in a row without a new beat. Looks are counted rather
#: than seconds: whoever was paused together with the owner must not wake up as its heir.
LOOKS = 5
#: Owners of this process that have ended, even where they could not release their claims.
_ended: set[str] = set()


@dataclass
class _Watched:
    """What was last seen of another owner: its beat, when, and how often without a change."""

    beat: float
    at: float
    looks: int = 0
    lives: bool = False

    def look(self, beat: float) -> None:
        now = time.monotonic()
        if beat != self.beat:
            self.beat, self.at, self.looks, self.lives = beat, now, 0, True
        elif now - self.at >= BEAT_S:
            self.at, self.looks, self.lives = now, self.looks + 1, False


class Claims:
    """The claims recorded in a bank, on units of (question, program)."""

    def __init__(self, database: Database):
        self._database = database
        #: Changed in write transactions only, of which there is one at a time.
        self._watched: dict[str, _Watched] = {}

    def take(
        self,
        units: Sequence[Unit],
        owner: str,
        beat: float = 0,
        wanted: Callable[[], bool] = lambda: True,
    ) -> list[Unit]:
        """Claim units for an owner; return those that are its own now. Others hold the rest.

        Args:
            beat: of the owner; counts up while it lives.
            wanted: asked while another writer is waited for; False ends the wait.
        """
        with self._database.writing(wanted) as connection:
            for dead in self._look(connection, owner):
                connection.execute(sa.delete(claims).where(claims.c.owner == dead))
            rows = [
                {"question": question, "program": program, "owner": owner, "beat": beat}
                for question, program in units
            ]
            self._database.insert(connection, claims, rows)
            ours = self._held(connection, owner)
        return [unit for unit in units if unit in ours]

    def beat(self, connection: sa.Connection, owner: str, beat: float) -> set[Unit]:
        """Record a sign of life, a number not used before; return what the owner still holds."""
        connection.execute(sa.update(claims).where(claims.c.owner == owner).values(beat=beat))
        return self._held(connection, owner)

    def undecided(self, units: Collection[Unit]) -> bool:
        """Return whether one of these units is claimed by an owner that may be dead.

        Only further looks (`take`) can tell.
        """
        with self._database.reading() as connection:
            query = sa.select(claims.c.question, claims.c.program, claims.c.owner)
            holders = {(q, p): owner for q, p, owner in connection.execute(query)}
        watched = [self._watched.get(holders[unit]) for unit in units if unit in holders]
        return any(other is None or not other.lives for other in watched)

    def release(
        self, connection: sa.Connection, owner: str, units: Iterable[Unit] | None = None
    ) -> None:
        """Delete an owner's claims on `units`, or all of them.

        After the last one is written, `abandon` the owner too.
        """
        mine = claims.c.owner == owner
        if units is None:
            connection.execute(sa.delete(claims).where(mine))
        for question, program in units or ():
            this = (claims.c.question == question) & (claims.c.program == program)
            connection.execute(sa.delete(claims).where(mine & this))

    def abandon(self, owner: str) -> None:
        """Give up what the owner still claims, even where the database cannot be written."""
        _ended.add(owner)

    def _look(self, connection: sa.Connection, owner: str) -> list[str]:
        """Look at the other owners; return those whose claims have lapsed."""
        query = sa.select(claims.c.owner, sa.func.max(claims.c.beat)).group_by(claims.c.owner)
        beats = {other: beat for other, beat in connection.execute(query) if other != owner}
        for other in self._watched.keys() - beats.keys():
            del self._watched[other]
        for other, beat in beats.items():
            if other in self._watched:
                self._watched[other].look(beat)
            else:
                self._watched[other] = _Watched(beat, time.monotonic())
        return [other for other in beats if other in _ended or self._watched[other].looks >= LOOKS]

    @staticmethod
    def _held(connection: sa.Connection, owner: str) -> set[Unit]:
        query = sa.select(claims.c.question, claims.c.program).where(claims.c.owner == owner)
        return {(question, program) for question, program in connection.execute(query)}
