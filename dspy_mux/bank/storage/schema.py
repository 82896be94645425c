"""The tables of a sample bank, what a column can hold, and upgrades of older versions."""

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

#: The version of the tables. A change of them raises it and adds a step to `STEPS`.
VERSION = 6
#: The version since which draws have evidence.
EVIDENCE_SINCE = 6
#: No draw takes this many calls or tokens; such numbers are wrong, and kept as unknown.
_MOST = 10**9
_GREATEST = 1e300


def storable(text: str) -> str:
    """Escape what no database holds, NUL and lone surrogates, as in `\\x00`."""
    return (
        text
        if text.isascii() and "\0" not in text
        else text.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode()
    )


class AnyText(TypeDecorator[str]):
    """Text of any characters that a server or a file sent, escaped where it must be."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else storable(value)


class Count(TypeDecorator[int]):
    """A whole number; NULL, unknown, for impossible values."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> int | None:
        return int(value) if value is not None and -_MOST < value < _MOST else None


class Amount(TypeDecorator[float]):
    """A number; NULL, unknown, for NaN and impossible values."""

    impl = Float
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> float | None:
        return float(value) if value is not None and abs(value) < _GREATEST else None


class Moment(Amount):
    """Seconds since 1970; now for impossible values."""

    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> float:
        moment = super().process_bind_param(value, dialect)
        return time.time() if moment is None else moment


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
    Column("score", Float),  # NULL until the metric has run
    Column("cause", AnyText),  # of an abstention
    Column("outputs", Text),  # JSON: all fields of the prediction
    Column("calls", Count),
    Column("prompt_tokens", Count),
    Column("completion_tokens", Count),
    Column("seconds", Amount),
    Column("cost", Amount),  # US dollars
    Column("created", Moment, nullable=False),
    # Fingerprint of the metric and gold answer; NULL where unknown, as for imported scores.
    Column("scored_by", Text),
    # Evidence (`voting.evidence.Evidence`): natural logarithms of probabilities, and what else a
    # server reported beside the text.
    Column("answer_logprob", Amount),
    Column("answer_tokens", Count),
    Column("text_logprob", Amount),
    Column("lowest_logprob", Amount),
    Column("temperature", Amount),
    Column("finish_reason", AnyText),
    Column("stated_probability", Amount),
    UniqueConstraint("question", "program", "draw"),
)
#: Columns of draws that older banks lack.
EVIDENCE = (
    draws.c.answer_logprob,
    draws.c.answer_tokens,
    draws.c.text_logprob,
    draws.c.lowest_logprob,
    draws.c.temperature,
    draws.c.finish_reason,
    draws.c.stated_probability,
)
# All that a record needs, so that reading one skips the outputs, which are most of a bank.
Index(
    "mux_draws_numbers",
    *(draws.c.program, draws.c.question, draws.c.draw, draws.c.answer_class, draws.c.score),
    *(draws.c.calls, draws.c.prompt_tokens, draws.c.completion_tokens, draws.c.cost),
    *EVIDENCE[:5],
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

#: Scores by other metrics or gold answers than the draw's own score: each finds its own here.
scores = Table(
    "mux_scores",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("draw", ForeignKey(draws.c.id), nullable=False),
    Column("scored_by", Text, nullable=False),
    Column("score", Float, nullable=False),
    UniqueConstraint("draw", "scored_by"),
)

#: Which collection draws what: a question of a program belongs to one of them at a time.
claims = Table(
    "mux_claims",
    metadata,
    Column("question", Integer, primary_key=True),
    Column("program", Integer, primary_key=True),
    Column("owner", Text, nullable=False),  # a random id
    Column("beat", Float, nullable=False),  # counts up while the owner lives
)


def _add_indexes(connection: sa.Connection) -> None:
    connection.execute(
        sa.text(
            "CREATE INDEX mux_draws_numbers ON mux_draws "
            "(program, question, draw, answer_class, score, calls, prompt_tokens, "
            "completion_tokens, cost)"
        )
    )
    connection.execute(
        sa.text(
            "CREATE INDEX mux_draws_unscored ON mux_draws (program, question) "
            "WHERE score IS NULL AND answer IS NOT NULL"
        )
    )


def _add_scored_by(connection: sa.Connection) -> None:
    connection.execute(sa.text("ALTER TABLE mux_draws ADD COLUMN scored_by TEXT"))
    connection.execute(
        sa.text(
            "CREATE INDEX mux_draws_scored ON mux_draws (program, question, scored_by) "
            "WHERE scored_by IS NOT NULL"
        )
    )


def _add_scores(connection: sa.Connection) -> None:
    number = "INTEGER" if connection.dialect.name == "sqlite" else "SERIAL"
    connection.execute(
        sa.text(
            f"CREATE TABLE mux_scores (id {number} NOT NULL, draw INTEGER NOT NULL, "
            "scored_by TEXT NOT NULL, score FLOAT NOT NULL, PRIMARY KEY (id), "
            "UNIQUE (draw, scored_by), FOREIGN KEY (draw) REFERENCES mux_draws (id))"
        )
    )


def _name_owners_by_id_alone(connection: sa.Connection) -> None:
    # What is claimed belongs to collections of an older version, of which none can be at work.
    connection.execute(sa.text("DROP TABLE mux_claims"))
    connection.execute(
        sa.text(
            "CREATE TABLE mux_claims (question INTEGER NOT NULL, program INTEGER NOT NULL, "
            "owner TEXT NOT NULL, beat FLOAT NOT NULL, PRIMARY KEY (question, program))"
        )
    )


def _add_evidence(connection: sa.Connection) -> None:
    number = "FLOAT" if connection.dialect.name == "sqlite" else "DOUBLE PRECISION"
    for name, kind in (
        ("answer_logprob", number),
        ("answer_tokens", "INTEGER"),
        ("text_logprob", number),
        ("lowest_logprob", number),
        ("temperature", number),
        ("finish_reason", "TEXT"),
        ("stated_probability", number),
    ):
        connection.execute(sa.text(f"ALTER TABLE mux_draws ADD COLUMN {name} {kind}"))
    connection.execute(sa.text("DROP INDEX mux_draws_numbers"))
    connection.execute(
        sa.text(
            "CREATE INDEX mux_draws_numbers ON mux_draws "
            "(program, question, draw, answer_class, score, calls, prompt_tokens, "
            "completion_tokens, cost, answer_logprob, answer_tokens, text_logprob, "
            "lowest_logprob, temperature)"
        )
    )


#: Version → the step to the next one.
STEPS: dict[int, Callable[[sa.Connection], None]] = {
    1: _add_indexes,
    2: _add_scored_by,
    3: _add_scores,
    4: _name_owners_by_id_alone,
    5: _add_evidence,
}


def upgrade(connection: sa.Connection, version: int) -> None:
    """Upgrade from `version`, in a transaction that holds the bank's write lock."""
    for at in range(version, VERSION):
        STEPS[at](connection)
        connection.execute(
            sa.update(about).where(about.c.key == "version").values(value=str(at + 1))
        )
