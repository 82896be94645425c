"""Recorded answers: those that new ones are compared with, and those that lack a score."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from .storage.database import Database
from .storage.schema import draws, programs, scores

#: Questions in one query: databases limit its parameters.
_AT_ONCE = 400
#: Stands for the unknown metric of imported scores by a right answer that was corrected since.
IMPORTED = "imported"


class Unscored(NamedTuple):
    """A recorded answer without a score by the metric at hand.

    Attributes:
        outputs: the fields of its prediction, as far as they are known.
        score: the one by this metric that another metric's replaced; None where there is none.
    """

    draw: int
    question: int
    answer: Any
    outputs: dict[str, Any]
    score: float | None = None


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
        missing = ours & draws.c.score.is_(None) & draws.c.answer.is_not(None)
        columns = draws.c.id, draws.c.question, draws.c.answer, draws.c.outputs
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(*columns).where(missing).order_by(draws.c.id))
            found = [Unscored(*_parsed(row)) for row in rows if row.question in scored_by]
            for row, score in self._by_others(connection, program_ids, scored_by, columns):
                found.append(Unscored(*_parsed(row), score))
        return found

    def scores_by(
        self, connection: sa.Connection, program_ids: Sequence[int], scored_by: Mapping[int, str]
    ) -> dict[tuple[int, int, int], float]:
        """Return (question, program, draw) → score by this metric, of draws last scored by another.

        NaN where this metric never scored the draw.

        Args:
            scored_by: as for `unscored`.
        """
        columns = draws.c.question, draws.c.program, draws.c.draw
        return {
            (row.question, row.program, row.draw): float("nan") if score is None else score
            for row, score in self._by_others(connection, program_ids, scored_by, columns)
        }

    def _by_others(
        self,
        connection: sa.Connection,
        program_ids: Sequence[int],
        scored_by: Mapping[int, str],
        columns: Sequence[sa.Column[Any]],
    ) -> Iterator[tuple[Any, float | None]]:
        """Yield draws last scored by another metric or gold answer, and their score by this one."""
        known = draws.c.program.in_(list(program_ids)) & draws.c.scored_by.is_not(None)
        sources = sa.select(draws.c.question, draws.c.scored_by).where(known).distinct()
        stale = sorted({q for q, by in connection.execute(sources) if scored_by.get(q, by) != by})
        for at in range(0, len(stale), _AT_ONCE):
            batch = stale[at : at + _AT_ONCE]
            wanted = known & draws.c.question.in_(batch)
            kept = (
                sa.select(scores.c.draw, scores.c.scored_by, scores.c.score)
                .join(draws)
                .where(wanted)
            )
            ours = {(row.draw, row.scored_by): row.score for row in connection.execute(kept)}
            query = sa.select(*columns, draws.c.id.label("at"), draws.c.scored_by.label("by"))
            for row in connection.execute(query.where(wanted).order_by(draws.c.id)):
                by = scored_by[row.question]
                if row.by != by:
                    yield row, ours.get((row.at, by))

    def score(self, values: Mapping[int, tuple[float, str]]) -> None:
        """Write scores; those by another metric or gold answer are kept beside them.

        Args:
            values: draw (its id) → (score, fingerprint of the metric and gold answer).
        """
        ids = list(values)
        kept = sa.select(draws.c.id, draws.c.scored_by, draws.c.score).where(
            draws.c.scored_by.is_not(None) & draws.c.score.is_not(None)
        )
        with self._database.writing() as connection:
            for at in range(0, len(ids), _AT_ONCE):
                before = kept.where(draws.c.id.in_(ids[at : at + _AT_ONCE]))
                rows = [
                    {"draw": draw, "scored_by": by, "score": score}
                    for draw, by, score in connection.execute(before)
                ]
                self._database.insert(connection, scores, rows)
            connection.execute(
                sa.update(draws).where(draws.c.id == sa.bindparam("at")),
                [{"at": at, "score": score, "scored_by": by} for at, (score, by) in values.items()],
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


def _parsed(row: Any) -> tuple[int, int, Any, dict[str, Any]]:
    return row.id, row.question, json.loads(row.answer), json.loads(row.outputs or "{}")
