"""Number imported draws whose rows say no `draw`, and recognise a file that was imported before."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable

import sqlalchemy as sa

from ..errors import DataError
from ..sampling.members import MOST_DRAWS
from .rows import Row, Unit
from .storage.database import Database
from .storage.schema import about, draws

#: Before the digest of an imported file, in the table `about`.
_IMPORT = "import "


class Unnumbered:
    """The rows of a file without `draw`, which become each member's next draws, in file order.

    A bank keeps a digest of the rows of every such file: whose draws they are, and the answers. A
    file that begins with the rows of a known one adds only the rows behind them.
    """

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        self._digests: array[int] = array("Q")  # of the file up to each row
        self._highest: dict[Unit, int] = {}  # draws of numbered rows, where they can clash
        self._last: dict[tuple[int, int], int] = {}  # recorded draws
        self._moved: dict[tuple[int, int], int] = {}
        self._known = self._seen = 0

    def __bool__(self) -> bool:
        return bool(self._digests)

    def see(self, row: Row) -> None:
        """Take note of a row of the file."""
        if not row.has_number:
            self._hash.update(repr((row.unit, row.said)).encode("utf-8", "surrogatepass"))
            self._digests.append(int.from_bytes(self._hash.digest(), "big"))
        elif self._digests:
            self._highest[row.unit] = max(row.draw, self._highest.get(row.unit, 0))

    def start(self, connection: sa.Connection, programs: Iterable[int]) -> None:
        """Look up known files and recorded draws, in the transaction that writes the new ones."""
        query = sa.select(about.c.key, about.c.value).where(about.c.key.startswith(_IMPORT))
        for key, value in connection.execute(query):
            count = int(value)
            if count <= len(self._digests) and key == self._key(count):
                self._known = max(self._known, count)
        unit = draws.c.question, draws.c.program
        last = sa.select(*unit, sa.func.max(draws.c.draw)).group_by(*unit)
        rows = connection.execute(last.where(draws.c.program.in_(list(programs))))
        self._last = {(question, program): draw for question, program, draw in rows}

    def number(self, row: Row, question: int, program: int) -> int | None:
        """Return the draw that a row becomes; None where the bank has it already.

        Raises:
            DataError: the bank would have more draws of a member for a question than it can number.
        """
        self._seen += 1
        if self._seen <= self._known:
            return None
        unit = question, program
        if unit not in self._moved:
            last = max(self._last.get(unit, -1), self._highest.get(row.unit, -1))
            self._moved[unit] = max(0, last + 1 - row.draw)
        draw = row.draw + self._moved[unit]
        if draw >= MOST_DRAWS:
            raise DataError(
                f"The bank would have more than {MOST_DRAWS} draws of {row.member!r} for one "
                "question: import into another one."
            )
        return draw

    def finish(self, connection: sa.Connection, database: Database) -> None:
        """Remember the file, in the same transaction."""
        count = len(self._digests)
        database.insert(connection, about, [{"key": self._key(count), "value": str(count)}])

    def _key(self, count: int) -> str:
        return f"{_IMPORT}{self._digests[count - 1]:016x}"
