"""The tables of a sample bank."""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Integer, MetaData, Table, Text, UniqueConstraint

#: Raised when a table changes; a bank says which one it was written with.
VERSION = 1

metadata = MetaData()

about = Table("mux_bank", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

questions = Table(
    "mux_questions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of the inputs
    Column("name", Text, nullable=False),  # its question_id where it has one
    Column("fields", Text, nullable=False),  # JSON: what else is known of it
    UniqueConstraint("dataset", "fingerprint"),
)

programs = Table(
    "mux_programs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("member", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
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
    Column("cause", Text),  # of an abstention
    Column("outputs", Text),  # JSON: all fields of the prediction
    Column("calls", Integer),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("seconds", Float),
    Column("cost", Float),  # US dollars
    Column("created", Float, nullable=False),  # seconds since 1970
    UniqueConstraint("question", "program", "draw"),
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
