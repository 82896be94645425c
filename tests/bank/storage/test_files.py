"""SQLite banks: reading changes nothing, and other files are refused in one sentence."""

from __future__ import annotations

import sqlite3

import pytest

from dspy_mux import BankError, SampleBank
from dspy_mux.bank.storage.sqlite import set_up

from ...support.fill import a_program, fill, some_questions

# --- reading alone


@pytest.fixture
def bank(tmp_path):
    made = SampleBank(tmp_path / "bank.sqlite")
    yield made
    made.close()


def read_everything(bank):
    bank.exists()
    bank.datasets()
    bank.info()
    bank.record()
    list(bank.rows())
    bank.drawn([1, 2], [1, 2, 3])
    bank.answers.unscored([1, 2], dict.fromkeys([1, 2, 3], "m"))


def test_reading_never_changes_the_file(bank, tmp_path):
    fill(bank)
    bank.close()
    before, stamp = bank.path.read_bytes(), bank.path.stat().st_mtime_ns
    reader = SampleBank(bank.path)
    read_everything(reader)
    reader.close()
    assert (bank.path.read_bytes(), bank.path.stat().st_mtime_ns) == (before, stamp)


def test_reading_makes_no_file(tmp_path):
    bank = SampleBank(tmp_path / "folder" / "none.sqlite")
    assert not bank.exists()
    for read in (
        bank.datasets,
        bank.info,
        bank.record,
        lambda: list(bank.rows()),
        lambda: bank.drawn([1], [1]),
    ):
        with pytest.raises(BankError, match=r"There is no bank .*none\.sqlite: collect or import"):
            read()
    assert list(tmp_path.iterdir()) == []


def test_a_bank_is_there_once_something_was_written(bank):
    some_questions(bank)
    assert bank.exists()
    assert SampleBank(bank.path).exists()
    assert repr(bank) == f"SampleBank({str(bank.path)!r})"


def test_an_empty_bank_says_that_it_holds_nothing(bank):
    with bank.writing():
        pass
    assert (bank.datasets(), bank.info(), list(bank.rows())) == ({}, [], [])
    for read in (
        bank.record,
        lambda: bank.record(dataset="d"),
        lambda: list(bank.rows(dataset="d")),
    ):
        with pytest.raises(BankError, match=r"bank\.sqlite holds no draws yet"):
            read()


def test_questions_alone_are_no_draws(bank):
    some_questions(bank)
    a_program(bank)
    with pytest.raises(BankError, match="holds no draws yet"):
        bank.record()


@pytest.mark.parametrize(
    "name",
    [
        "with space.sqlite",
        "50%25 off.sqlite",
        "a?mode=memory.sqlite",
        "a#b.sqlite",
        "ünï.db",
        "a;b&c=d",
    ],
)
def test_a_path_is_a_path_whatever_it_is_called(tmp_path, name):
    bank = SampleBank(tmp_path / name)
    fill(bank)
    bank.close()
    assert (tmp_path / name).is_file()
    assert len(SampleBank(tmp_path / name).record().questions) == 3


def test_a_url_of_sqlite_is_its_path(tmp_path):
    bank = SampleBank(f"sqlite:///{tmp_path / 'bank.sqlite'}")
    fill(bank)
    assert bank.path == tmp_path / "bank.sqlite"
    assert (
        SampleBank(tmp_path / "bank.sqlite").record().votes.tolist() == bank.record().votes.tolist()
    )


# --- what is no bank


def truncated(path, keep=0.5):
    bank = SampleBank(path)
    fill(bank, count=200)
    bank.close()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("create table invoices (id integer)")
        connection.execute("insert into invoices values (1)")
    connection.close()


def newer(path, version="999"):
    bank = SampleBank(path)
    fill(bank)
    bank.close()
    with sqlite3.connect(path) as connection:
        connection.execute("update mux_bank set value = ? where key = 'version'", (version,))
        connection.execute("pragma journal_mode=delete")
    connection.close()


NO_BANKS = {
    "truncated": (truncated, "damaged"),
    "cut in its header": (lambda path: truncated(path, 0.001), "damaged|not a sample bank"),
    "foreign": (foreign, "not a sample bank"),
    "text": (lambda path: path.write_text("question,answer\n" * 100), "not an SQLite database"),
    "empty file": (lambda path: path.write_bytes(b""), "not a sample bank"),
    "directory": (lambda path: path.mkdir(), "cannot be used|directory"),
    "newer": (newer, "newer dspy-mux"),
    "of an unknown version": (lambda path: newer(path, "two"), "newer dspy-mux"),
}


@pytest.mark.parametrize("what", NO_BANKS)
def test_what_is_no_bank_is_refused_in_one_sentence_with_its_path(tmp_path, what):
    make, told = NO_BANKS[what]
    path = tmp_path / "bank.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    bank = SampleBank(path)
    for read in (bank.record, bank.info, bank.datasets, lambda: list(bank.rows())):
        with pytest.raises(BankError, match=told) as caught:
            read()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize(
    "what", ["truncated", "foreign", "text", "directory", "newer", "of an unknown version"]
)
def test_what_is_no_bank_is_not_written_either(tmp_path, what):
    path = tmp_path / "bank.sqlite"
    NO_BANKS[what][0](path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(BankError) as caught:
        fill(SampleBank(path), count=300)
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_new_connection_waits_for_who_makes_or_closes_the_file_at_the_moment():
    """SQLite sometimes reports "locked" at once where many processes open a new bank."""

    class Cursor:
        tries = 0

        def execute(self, statement):
            self.tries += 1
            if self.tries < 4:
                raise sqlite3.OperationalError("database is locked")

        def close(self):
            pass

    class Connection:
        isolation_level = ""
        made = Cursor()

        def cursor(self):
            return self.made

    set_up(Connection(), None)
    assert Connection.made.tries == 5  # and what follows
