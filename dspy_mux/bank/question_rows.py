"""Write questions to a bank's table: new ones, further fields of known ones, corrected answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ..errors import DataError
from .answers import IMPORTED
from .statement import disagreement, shown_field
from .storage.database import Database
from .storage.faults import check_ids
from .storage.schema import draws, programs, questions, storable

#: (fingerprint, name, fields) of a question.
QuestionRow = tuple[str, str, Mapping[str, Any]]


def put_questions(
    database: Database,
    connection: sa.Connection,
    dataset: str,
    rows: Sequence[QuestionRow],
    source: str | None = None,
) -> list[int]:
    """Add questions, or update their fields where they are known; return their ids.

    Args:
        connection: a transaction to write in.
        source: the file that they come from, whose question ids may be those of others; None where
            the fingerprints are of inputs. Then a right answer that differs is corrected, and
            imported scores by the former one count as such.

    Raises:
        DataError: a known question has another text or right answer than the file's.
    """
    values = [
        {
            "dataset": dataset,
            "fingerprint": key,
            "name": name,
            "fields": json.dumps(fields, sort_keys=True),
        }
        for key, name, fields in rows
    ]
    database.insert(connection, questions, values)
    query = sa.select(questions.c.fingerprint, questions.c.id, questions.c.fields).where(
        questions.c.dataset == dataset
    )
    found = {key: (question, fields) for key, question, fields in connection.execute(query)}
    for key, name, fields in rows:
        question, before = found[storable(key)]
        known = json.loads(before)
        now = {**known, **json.loads(json.dumps(fields))}
        if now == known:
            continue
        if (differs := disagreement(known, now)) is not None:
            if source is not None:
                raise DataError(
                    f"{source} has the question {name!r} with the {shown_field(differs, now)}, and "
                    f"the bank {database.name} has it in the dataset {dataset!r}"
                    f"{_files(connection, question)} with the {shown_field(differs, known)}: "
                    "import the file under a dataset of its own (dataset=…, --dataset), or correct "
                    "it. Nothing was imported."
                )
            _doubt(connection, question)
        connection.execute(
            sa.update(questions)
            .where(questions.c.id == question)
            .values(fields=json.dumps(now, sort_keys=True))
        )
    ids = [found[storable(key)][0] for key, _, _ in rows]
    check_ids(ids)
    return ids


def _doubt(connection: sa.Connection, question: int) -> None:
    """Note that a question's right answer was another when its imported scores were made.

    So a collection scores these draws anew.
    """
    imported = (
        (draws.c.question == question)
        & draws.c.scored_by.is_(None)
        & draws.c.score.is_not(None)
        & draws.c.answer.is_not(None)
    )
    connection.execute(sa.update(draws).where(imported).values(scored_by=IMPORTED))


def _files(connection: sa.Connection, question: int) -> str:
    """Return which files a question's draws come from, for messages; "" where none is known."""
    query = sa.select(programs.c.description).join(draws).where(draws.c.question == question)
    made_by = [json.loads(one) for one in connection.execute(query.distinct()).scalars()]
    names = dict.fromkeys(one["imported"] for one in made_by if "imported" in one)
    return f" (imported from {', '.join(names)})" if names else ""
