"""A bank as dspy-mux 0.1 before its tables changed wrote it: the DDL as it was, in SQLite's words
and in PostgreSQL's."""

from __future__ import annotations

import sqlalchemy as sa

from dspy_mux.bank.storage.database import Database

TABLES = """
CREATE TABLE mux_bank (key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key));
CREATE TABLE mux_claims (
    question INTEGER NOT NULL, program INTEGER NOT NULL, owner TEXT NOT NULL, host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    beat FLOAT NOT NULL, PRIMARY KEY (question, program)
);
CREATE TABLE mux_programs (
    id {number} NOT NULL, member TEXT NOT NULL, fingerprint TEXT NOT NULL,
    description TEXT NOT NULL, PRIMARY KEY (id),
    UNIQUE (member, fingerprint)
);
CREATE TABLE mux_questions (
    id {number} NOT NULL, dataset TEXT NOT NULL, fingerprint TEXT NOT NULL, name TEXT NOT NULL,
    fields TEXT NOT NULL,
    PRIMARY KEY (id), UNIQUE (dataset, fingerprint)
);
CREATE TABLE mux_draws (
    id {number} NOT NULL, question INTEGER NOT NULL, program INTEGER NOT NULL,
    draw INTEGER NOT NULL, answer TEXT,
    answer_class INTEGER, score FLOAT, cause TEXT, outputs TEXT, calls INTEGER,
    prompt_tokens INTEGER, completion_tokens INTEGER,
    seconds FLOAT, cost FLOAT, created FLOAT NOT NULL, PRIMARY KEY (id),
    UNIQUE (question, program, draw),
    FOREIGN KEY (question) REFERENCES mux_questions (id),
    FOREIGN KEY (program) REFERENCES mux_programs (id)
);
INSERT INTO mux_bank VALUES ('version', '1');
INSERT INTO mux_questions (dataset, fingerprint, name, fields) VALUES
    ('d', 'key0', 'q0', '{{"n": 0, "task": "a"}}'), ('d', 'key1', 'q1', '{{"n": 1, "task": "b"}}');
INSERT INTO mux_programs (member, fingerprint, description) VALUES
    ('a', 'ffff', '{{"model": "openai/a"}}');
INSERT INTO mux_draws
    (question, program, draw, answer, answer_class, score, cause, outputs, calls, created) VALUES
    (1, 1, 0, '"x"', 0, 1.0, NULL, '{{"answer": "x"}}', 1, 1e9),
    (1, 1, 1, '"y"', 1, NULL, NULL, '{{"answer": "y"}}', 1, 1e9),
    (2, 1, 0, NULL, NULL, NULL, 'no answer', NULL, 1, 1e9);
"""


def make(url: str) -> None:
    database = Database(url)
    if database.path is not None:
        database.path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(database.url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        if database.path is not None:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        for statement in TABLES.format(
            number="INTEGER" if database.path is not None else "SERIAL"
        ).split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
