"""A stranger's bank: any value in any column is read as data or refused in one sentence."""

from __future__ import annotations

import contextlib
import sqlite3
from uuid import uuid4

import dspy
import pytest
from hypothesis import given, strategies as st

from dspy_mux import DataError, MuxError, SLMMux, collect
from dspy_mux.bank.import_export import export_file
from dspy_mux.bank.selection import select_dataset
from dspy_mux.replay.replay import replay

from ..support.imports import a_bank
from ..support.limits import share
from ..support.scripted import scripted_lm

COLUMNS = {
    "mux_bank": ("key", "value"),
    "mux_questions": ("dataset", "fingerprint", "name", "fields"),
    "mux_programs": ("member", "fingerprint", "description"),
    "mux_draws": (
        *("question", "program", "draw", "answer", "answer_class", "score", "cause"),
        *("outputs", "calls", "prompt_tokens", "completion_tokens", "seconds", "cost"),
        *("created", "scored_by", "answer_logprob", "answer_tokens", "text_logprob"),
        *("lowest_logprob", "temperature", "finish_reason", "stated_probability"),
    ),
}
PLACES = [(table, column) for table, columns in COLUMNS.items() for column in columns]
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([-1, 0, 1, 10**9, 2**31, 10_000, 9_999, 2**62]),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.sampled_from(
        ["[]", "{}", '{"a":', '"cut off', "null", "1e999", "nan", "inf", "[" * 5000, "9" * 5000]
    ),
    st.sampled_from(
        [
            '{"model": 7}',
            '{"temperature": "hot"}',
            '{"temperature": 1e999}',
            '{"a": [1]}',
            "abc",
            "\x00",
            b"\xff\xfe",
            "1" * 400,
            '{"answer": 1e999}',
        ]
    ),
)
LM = scripted_lm("a", ["x"])


def filled(bank):
    """A bank of four draws of two questions, as collect writes them."""
    with bank.writing():
        pass
    questions = bank.add_questions("d", [(f"f{at}", f"q{at}", {"task": "t"}) for at in range(2)])
    (made_by,) = bank.add_programs([("a", "p", {"model": "m", "answer": ["text"]})])
    rows = [
        {
            "question": question, "program": made_by, "draw": draw, "answer": '"x"',
            "answer_class": 0, "score": 1.0, "cause": None, "outputs": '{"answer": "x"}',
            "calls": 1, "prompt_tokens": 5, "completion_tokens": 2, "seconds": 0.5, "cost": 0.1,
            "created": 1.0, "scored_by": None,
        }
        for question in questions
        for draw in range(2)
    ]  # fmt: skip
    with bank.writing() as connection:
        bank.add(connection, rows)
    bank.close()


def put(bank, table, column, value):
    """Put a value into a table's last row, as a stranger's program can."""
    with contextlib.closing(sqlite3.connect(bank.path)) as connection:
        # Without NOT NULL, UNIQUE and the rest, which a stranger's tables need not have.
        connection.execute(f"CREATE TABLE plain AS SELECT * FROM {table}")
        connection.execute(f"DROP TABLE {table}")
        names = [row[1] for row in connection.execute("PRAGMA table_info(plain)")]
        columns = ", ".join("id INTEGER PRIMARY KEY" if name == "id" else name for name in names)
        connection.execute(f"CREATE TABLE {table} ({columns})")
        connection.execute(f"INSERT INTO {table} SELECT * FROM plain")
        connection.execute("DROP TABLE plain")
        last = f"(SELECT max(rowid) FROM {table})"
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = {last}", (value,))
        connection.commit()


def readings(bank, folder):
    """All that reads a bank."""
    mux = SLMMux(dspy.Predict("question -> answer"), {"a": LM}, k=1)
    examples = [dspy.Example(question="?", answer="x").with_inputs("question")]
    return {
        "datasets": bank.datasets,
        "info": bank.info,
        "record": lambda: replay(bank.record(dataset="d"), "consistency"),
        "any record": bank.record,
        "rows": lambda: list(bank.rows()),
        "export": lambda: export_file(bank, folder / f"{uuid4()}.jsonl"),
        "choice": lambda: select_dataset("b", bank.datasets(), None),
        "answers": lambda: bank.answers.all([1, 2]),
        "unscored": lambda: bank.answers.unscored([1], {1: "m", 2: "m"}),
        "drawn": lambda: bank.drawn([1], [1, 2]),
        "failures": lambda: bank.failures([1], [1, 2]),
        "collect": lambda: collect(mux, examples, lambda *given: True, bank, dataset="d"),
    }


@share(0.3)
@given(st.sampled_from(PLACES), VALUES)
def test_any_value_in_any_column_is_data_or_one_sentence(place, value):
    with a_bank() as (bank, folder):
        filled(bank)
        put(bank, *place, value)
        for read in readings(bank, folder).values():
            with contextlib.suppress(MuxError):
                read()


WRONG = [
    ("mux_draws", "draw", 10**9),
    ("mux_draws", "draw", -1),
    ("mux_draws", "draw", "x"),
    ("mux_draws", "draw", 1.5),
    ("mux_draws", "answer", '{"cut'),
    ("mux_draws", "answer_class", -7),
    ("mux_draws", "answer_class", 2**40),
    ("mux_draws", "score", "good"),
    ("mux_draws", "score", 1e300),
    ("mux_draws", "score", float("inf")),
    ("mux_draws", "outputs", "[1"),
    ("mux_draws", "calls", "many"),
    ("mux_draws", "created", "yesterday"),
    ("mux_questions", "fields", "[]"),
    ("mux_questions", "fields", "9" * 5000),
    ("mux_questions", "dataset", b"d"),
    ("mux_programs", "description", "7"),
    ("mux_programs", "fingerprint", 7),
]


@pytest.mark.parametrize(("table", "column", "value"), WRONG)
def test_a_wrong_value_is_named_with_its_row_and_column(table, column, value):
    with a_bank() as (bank, folder):
        filled(bank)
        put(bank, table, column, value)
        refused = []
        for read in readings(bank, folder).values():
            try:
                read()
            except DataError as error:
                refused.append(str(error))
        assert any(f"as the {column} in row " in told and table in told for told in refused)
        assert all(str(bank.path) in told for told in refused)
