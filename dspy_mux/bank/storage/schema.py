"""The tables of a sample bank, and what a column can hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

#: Raised when a table changes, with a step in `migrations.py`; a bank says which one it was written with.
VERSION = 3
#: No draw takes as many calls or tokens; what says so is wrong, and kept as unknown.
_MOST = 10**9
_GREATEST = 1e300


def storable(text: str) -> str:
    """`text` with what no database holds, NUL and half a surrogate pair, written out as an escape such as `\\x00`."""
    return (
        text
        if text.isascii() and "\0" not in text
        else text.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode()
    )


class AnyText(TypeDecorator[str]):
    """Text of whatever characters a server or a file sent: one of them never costs a draw."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else storable(value)


class Count(TypeDecorator[int]):
    """A whole number; NULL, unknown, for what is none or cannot be."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> int | None:
        return int(value) if value is not None and -_MOST < value < _MOST else None


class Amount(TypeDecorator[float]):
    """A number; NULL, unknown, for NaN and what is beyond all measure."""

    impl = Float
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> float | None:
        return float(value) if value is not None and abs(value) < _GREATEST else None


class Moment(Amount):
    """Seconds since 1970; now for what is no time."""

    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> float:
        told = super().process_bind_param(value, dialect)
        return time.time() if told is None else told


metadata = MetaData()

about = Table(
    "mux_bank",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

questions = Table(
    "mux_questions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset", AnyText, nullable=False),
    Column("fingerprint", AnyText, nullable=False),  # of the inputs
    Column("name", AnyText, nullable=False),  # its question_id where it has one
    Column("fields", Text, nullable=False),  # JSON: what else is known of it
    UniqueConstraint("dataset", "fingerprint"),
)

programs = Table(
    "mux_programs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("member", AnyText, nullable=False),
    Column("fingerprint", AnyText, nullable=False),
    Column("description", Text, nullable=False),  # JSON: what the fingerprint is of
    UniqueConstraint("member", "fingerprint"),
)

draws = Table(
    "mux_draws",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("question", ForeignKey(questions.c.id), nullable=False),
    Column("program", ForeignKey(programs.c.id), nullable=False),
    Column("draw", Integer, nullable=False),
    Column("answer", Text),  # JSON; NULL for an abstention
    Column("answer_class", Integer),  # within its question; NULL for an abstention
    Column("score", Float),  # NULL where the metric has not told yet
    Column("cause", AnyText),  # of an abstention
    Column("outputs", Text),  # JSON: all fields of the prediction
    Column("calls", Count),
    Column("prompt_tokens", Count),
    Column("completion_tokens", Count),
    Column("seconds", Amount),
    Column("cost", Amount),  # US dollars
    Column("created", Moment, nullable=False),
    Column(
        "scored_by", Text
    ),  # fingerprint of the metric and the gold answer; NULL where they are unknown, as for imported scores
    UniqueConstraint("question", "program", "draw"),
)
# Whatever a record is made of, so that reading one does not go through the outputs, which are most of a bank.
Index(
    "mux_draws_numbers",
    *(draws.c.program, draws.c.question, draws.c.draw, draws.c.answer_class, draws.c.score),
    *(draws.c.calls, draws.c.prompt_tokens, draws.c.completion_tokens, draws.c.cost),
)
_unscored = draws.c.score.is_(None) & draws.c.answer.is_not(None)
Index(
    "mux_draws_unscored",
    draws.c.program,
    draws.c.question,
    sqlite_where=_unscored,
    postgresql_where=_unscored,
)
_known = draws.c.scored_by.is_not(None)
Index(
    "mux_draws_scored",
    draws.c.program,
    draws.c.question,
    draws.c.scored_by,
    sqlite_where=_known,
    postgresql_where=_known,
)

#: What a running collection is at work on: a question of a program belongs to one process at a time.
claims = Table(
    "mux_claims",
    metadata,
    Column("question", Integer, primary_key=True),
    Column("program", Integer, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("beat", Float, nullable=False),  # seconds since 1970
)


def _index_what_is_read_often(connection: sa.Connection) -> None:
    connection.execute(
        sa.text(
            "CREATE INDEX mux_draws_numbers ON mux_draws "
            "(program, question, draw, answer_class, score, calls, prompt_tokens, completion_tokens, cost)"
        )
    )
    connection.execute(
        sa.text(
            "CREATE INDEX mux_draws_unscored ON mux_draws (program, question) WHERE score IS NULL AND answer IS NOT NULL"
        )
    )


def _tell_what_scored(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE mux_draws ADD COLUMN scored_by TEXT"))
    connection.execute(
        sa.text(
            "CREATE INDEX mux_draws_scored ON mux_draws (program, question, scored_by) WHERE scored_by IS NOT NULL"
        )
    )


#: Version → the step that leads on from it.
STEPS: dict[int, Callable[[sa.Connection], None]] = {
    1: _index_what_is_read_often,
    2: _tell_what_scored,
}


def upgrade(connection: sa.Connection, version: int) -> None:
    """Take the steps from `version` on, in the transaction of `connection`, which must hold the bank's write lock."""
    for at in range(version, VERSION):
        STEPS[at](connection)
        connection.execute(
            sa.update(about).where(about.c.key == "version").values(value=str(at + 1))
        )
