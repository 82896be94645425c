"""Rows of a file that do not say which draw they are: new ones stand behind what a bank holds, known ones where they are."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping

import sqlalchemy as sa

from .errors import ConfigurationError
from .rows import MOST_DRAWS, Row, answer_text
from .schema import draws

#: Whose draws are numbered together: (dataset, question's key, member, program).
Unit = tuple[str, str, str, str]


class Unnumbered:
    """The draws of a file whose rows have no `draw`; within the file they are numbered already, in order."""

    def __init__(self) -> None:
        # Draw and hash of its answer in turn, as a file may have millions.
        self._runs: dict[Unit, array[int]] = {}
        self._highest: dict[Unit, int] = {}

    def see(self, row: Row) -> None:
        """Take note of a row of the file."""
        if "draw" not in row.told:
            self._runs.setdefault(_unit(row), array("q")).extend((row.draw, hash(row.answer)))
        elif self._runs and (unit := _unit(row)) in self._runs:
            self._highest[unit] = max(row.draw, self._highest.get(unit, 0))

    def moved(
        self, connection: sa.Connection, questions: Mapping[tuple[str, str], int], programs: Mapping[tuple[str, str], int]
    ) -> dict[tuple[int, int], int]:
        """(question, program) → by how much its draws without a number are moved on.

        The file is one that was imported before where each of its runs of answers is recorded, or goes on from all that is; else
        its draws are new ones.

        Args:
            connection: a transaction, the same in which they are written.
            questions: the bank's ids, by dataset and key; programs: by member and program.

        Raises:
            ConfigurationError: more draws of a member for a question than a bank numbers.
        """
        ids = {unit: (questions[unit[:2]], programs[unit[2:]]) for unit in self._runs}
        recorded = _recorded(connection, set(ids.values()))
        places = {ids[unit]: _place(run, recorded[ids[unit]]) for unit, run in self._runs.items()}
        known = {place: by for place, by in places.items() if by is not None}
        if len(known) == len(places):
            return known
        return {ids[unit]: self._behind(unit, recorded[ids[unit]]) for unit in self._runs}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def _behind(self, unit: Unit, there: Mapping[int, int]) -> int:
        if not there:
            return 0
        run = self._runs[unit]
        by = max(run[0], max(there) + 1, self._highest.get(unit, 0) + 1) - run[0]
        if run[-2] + by >= MOST_DRAWS:
            raise ConfigurationError(
                f"The bank would have more than {MOST_DRAWS} draws of {unit[2]!r} for one question: import into another one."
            )
        return by


def _unit(row: Row) -> Unit:
    return row.dataset, row.key, row.member, row.program


def _recorded(connection: sa.Connection, wanted: set[tuple[int, int]]) -> dict[tuple[int, int], dict[int, int]]:
    """(question, program) → its draws with the hash of their answers."""
    recorded: dict[tuple[int, int], dict[int, int]] = {unit: {} for unit in wanted}
    query = sa.select(draws.c.question, draws.c.program, draws.c.draw, draws.c.answer)
    query = query.where(draws.c.program.in_({program for _, program in wanted}))
    for question, program, draw, answer in connection.execute(query):
        if (of_unit := recorded.get((question, program))) is not None:
            of_unit[draw] = hash(None if answer is None else answer_text(json.loads(answer)))
    return recorded


def _place(run: array[int], there: Mapping[int, int]) -> int | None:
    """By how much a run is moved on to stand where it is recorded, whole or begun; None where it is not."""
    numbered = dict(zip(run[::2], run[1::2], strict=True))
    if all(numbered.get(draw) == answer for draw, answer in there.items()):
        return 0
    for by in (draw - run[0] for draw in sorted(there) if draw >= run[0]):
        if all(there.get(draw + by) == answer for draw, answer in numbered.items()):
            return by
    return None
