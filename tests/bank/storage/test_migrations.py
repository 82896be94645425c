"""Banks of older versions: read as they stand, upgraded whole or not at all by the first write."""

from __future__ import annotations

import os
import signal

import pytest
import sqlalchemy as sa

from dspy_mux import BankError, SampleBank
from dspy_mux.bank.answers import Unscored
from dspy_mux.bank.storage import schema
from dspy_mux.bank.storage.schema import VERSION, about, metadata

from ...support import kill, version1
from ...support.fill import a_draw, a_program, some_questions, write


@pytest.fixture
def older(bank_url):
    version1.make(bank_url)
    bank = SampleBank(bank_url)
    yield bank
    bank.close()


def shape(bank):
    """Columns, keys and indexes of all tables."""
    with bank.database.reading(check=False) as connection:
        inspector = sa.inspect(connection)
        return {
            name: (
                {
                    (column["name"], str(column["type"]), column["nullable"])
                    for column in inspector.get_columns(name)
                },
                inspector.get_pk_constraint(name)["constrained_columns"],
                {tuple(key["column_names"]) for key in inspector.get_unique_constraints(name)},
                {
                    (index["name"], *index["column_names"], _where(index))
                    for index in inspector.get_indexes(name)
                },
            )
            for name in metadata.tables
            if inspector.has_table(name)
        }


def _where(index):
    wheres = [
        str(value)
        for name, value in index.get("dialect_options", {}).items()
        if name.endswith("_where")
    ]
    return "".join(wheres).lower().replace("mux_draws.", "").replace("(", "").replace(")", "")


def version(bank):
    with bank.database.reading(check=False) as connection:
        return connection.execute(sa.select(about.c.value).where(about.c.key == "version")).scalar()


def read(bank):
    record = bank.record()
    return record.votes.tolist(), [row["answer"] for row in bank.rows()], bank.drawn([1], [1, 2])


READ = (
    [[[0, 1]], [[-1, -2]]],
    ["x", "y", ""],
    {(1, 1, 0), (1, 1, 1), (1, 2, 0)},
)


def test_there_is_a_step_from_every_version():
    assert sorted(schema.STEPS) == list(range(1, VERSION))


def test_an_older_bank_is_read_as_it_stands(older):
    before = older.path.read_bytes() if older.path is not None else shape(older)
    assert read(older) == READ
    assert version(older) == "1"
    older.close()
    assert (older.path.read_bytes() if older.path is not None else shape(older)) == before


def test_the_first_write_makes_an_older_bank_what_a_new_one_is(older):
    write(older, a_draw(2, 1, 1, "z", 0))
    assert version(older) == str(VERSION)
    upgraded = shape(older)
    assert [row["answer"] for row in older.rows()] == ["x", "y", "", "z"]
    assert older.answers.unscored([1], {1: "m", 2: "m"}) == [Unscored(2, 1, "y", {"answer": "y"})]
    with older.writing() as connection:
        metadata.drop_all(connection)
    older.close()
    some_questions(older)
    assert shape(older) == upgraded


def test_the_second_write_finds_nothing_to_do(older):
    some_questions(older)
    older.close()
    assert len(some_questions(older)) == 3
    assert version(older) == str(VERSION)


def test_a_step_that_fails_changes_nothing(older, monkeypatch):
    step = schema.STEPS[1]

    def halfway(connection):
        step(connection)
        raise ZeroDivisionError

    before = shape(older)
    monkeypatch.setitem(schema.STEPS, 1, halfway)
    with pytest.raises(ZeroDivisionError):
        some_questions(older)
    assert (version(older), shape(older)) == ("1", before)
    assert read(older) == READ
    monkeypatch.undo()
    a_program(older)
    assert version(older) == str(VERSION)


def killed_halfway(url):
    step = schema.STEPS[1]

    def halfway(connection):
        step(connection)
        os.kill(os.getpid(), signal.SIGKILL)

    schema.STEPS[1] = halfway
    some_questions(SampleBank(url))


def test_a_process_that_is_killed_in_a_step_leaves_the_bank_as_it_was(older, bank_url):
    before = shape(older)
    process = kill.context.Process(target=killed_halfway, args=(bank_url,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert (version(older), shape(older)) == ("1", before)
    assert read(older) == READ
    a_program(older)
    assert version(older) == str(VERSION)
    assert read(older) == READ


def write_at_once(url, barrier, number):
    bank = SampleBank(url)
    barrier.wait(60)
    asked, made_by = some_questions(bank, 4, f"of {number}"), a_program(bank)
    write(bank, a_draw(asked[0], made_by, number))
    bank.close()


@pytest.mark.parametrize("there", [True, False])
def test_processes_that_first_write_at_once_all_can(bank_url, there):
    if there:
        version1.make(bank_url)
    count = 6
    barrier = kill.context.Barrier(count)
    processes = [
        kill.context.Process(target=write_at_once, args=(bank_url, barrier, number))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * count
    bank = SampleBank(bank_url)
    assert version(bank) == str(VERSION)
    assert {f"of {number}" for number in range(count)} <= bank.datasets().keys()
    assert {row["draw"] for row in bank.rows()} >= set(range(count))
    bank.close()


@pytest.mark.parametrize("told", [str(VERSION + 1), "999", "two", "", "²"])
def test_a_bank_of_a_newer_version_is_neither_read_nor_written(bank_url, told):
    bank = SampleBank(bank_url)
    some_questions(bank)
    with bank.writing() as connection:
        connection.execute(sa.update(about).values(value=told))
    bank.close()
    before = shape(bank)
    for use in (
        bank.record,
        bank.info,
        lambda: list(bank.rows()),
        lambda: some_questions(bank, 30),
    ):
        with pytest.raises(
            BankError, match="written by a newer dspy-mux .*: update dspy-mux to use it"
        ):
            use()
    assert shape(bank) == before
    with bank.database.reading(check=False) as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM mux_questions")).scalar() == 3
    bank.close()
