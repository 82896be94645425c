"""Recorded answers: those that new ones are compared with, and those that lack a score."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from .storage.database import Database
from .storage.schema import draws, programs

#: Questions in one query: databases limit its parameters.
_AT_ONCE = 400


class Unscored(NamedTuple):
    """A recorded answer without a score by the metric at hand.

    Attributes:
        outputs: the fields of its prediction, as far as they are known.
    """

    draw: int
    question: int
    answer: Any
    outputs: dict[str, Any]


class Answered(NamedTuple):
    """A recorded answer.

    Attributes:
        id: of its row.
        draw: its number, within its question and program.
    """

    id: int
    question: int
    program: int
    draw: int
    answer: Any
    answer_class: int


class Answers:
    """The answers recorded in a bank."""

    def __init__(self, database: Database):
        self._database = database

    def all(self, question_ids: Sequence[int]) -> list[Answered]:
        """Return these questions' answers, in the order recorded."""
        wanted = set(question_ids)
        with self._database.reading() as connection:
            return [one for one in self._read(connection, sa.true()) if one.question in wanted]

    def latest(
        self, connection: sa.Connection, question_ids: Sequence[int]
    ) -> tuple[int, list[Answered]]:
        """Return the id of the bank's last draw, and these questions' answers in order."""
        last = connection.execute(sa.select(sa.func.max(draws.c.id))).scalar() or 0
        return last, self._read(connection, draws.c.question.in_(list(question_ids)))

    def came_after(self, connection: sa.Connection, question_ids: Sequence[int], last: int) -> bool:
        """Return whether a draw after the one of id `last` answers one of these questions."""
        where = (
            (draws.c.id > last)
            & draws.c.question.in_(list(question_ids))
            & draws.c.answer.is_not(None)
        )
        return connection.execute(sa.select(draws.c.id).where(where).limit(1)).first() is not None

    def comparisons(self, connection: sa.Connection) -> dict[int, list[str] | None]:
        """Return program → how its answers are compared (`fingerprint.describe_comparison`).

        None where that is unknown, as for imported draws.
        """
        rows = connection.execute(sa.select(programs.c.id, programs.c.description))
        return {program: json.loads(description).get("answer") for program, description in rows}

    def unscored(self, program_ids: Sequence[int], scored_by: Mapping[int, str]) -> list[Unscored]:
        """Return answers without a score, or with one by another metric or gold answer.

        Args:
            scored_by: question → the fingerprint of the metric and gold answer
                (`fingerprint_score`). Scores of unknown origin, such as imported ones, stay.
        """
        ours = draws.c.program.in_(list(program_ids))
        known = ours & draws.c.scored_by.is_not(None)
        missing = ours & draws.c.score.is_(None) & draws.c.answer.is_not(None)
        sources = sa.select(draws.c.question, draws.c.scored_by).where(known).distinct()
        query = sa.select(
            draws.c.id, draws.c.question, draws.c.scored_by, draws.c.answer, draws.c.outputs
        ).order_by(draws.c.id)
        with self._database.reading() as connection:
            found = [
                row for row in connection.execute(query.where(missing)) if row.question in scored_by
            ]
            stale = sorted(
                {q for q, by in connection.execute(sources) if scored_by.get(q, by) != by}
            )
            for at in range(0, len(stale), _AT_ONCE):
                batch = known & draws.c.question.in_(stale[at : at + _AT_ONCE])
                rows = connection.execute(query.where(batch))
                found += (row for row in rows if row.scored_by != scored_by[row.question])
        return [
            Unscored(row.id, row.question, json.loads(row.answer), json.loads(row.outputs or "{}"))
            for row in found
        ]

    def score(self, scores: Mapping[int, tuple[float, str]]) -> None:
        """Write scores, also over older ones.

        Args:
            scores: draw (its id) → (score, fingerprint of the metric and gold answer).
        """
        with self._database.writing() as connection:
            for draw, (value, by) in scores.items():
                connection.execute(
                    sa.update(draws).where(draws.c.id == draw).values(score=value, scored_by=by)
                )

    def renumber(self, connection: sa.Connection, classes: Mapping[int, int]) -> None:
        """Give recorded draws, by id, other classes."""
        for draw, answer_class in classes.items():
            connection.execute(
                sa.update(draws).where(draws.c.id == draw).values(answer_class=answer_class)
            )

    def _read(self, connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[Answered]:
        query = sa.select(
            draws.c.id,
            draws.c.question,
            draws.c.program,
            draws.c.draw,
            draws.c.answer,
            draws.c.answer_class,
        )
        query = query.where(where & draws.c.answer.is_not(None)).order_by(draws.c.id)
        return [
            Answered(row.id, row.question, row.program, row.draw, json.loads(row.answer), row[-1])
            for row in connection.execute(query)
        ]
