"""A sample bank on its own: what was written comes back, once; a file that is no bank is refused in one sentence."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dspy_mux import BankError, MuxError, SampleBank
from dspy_mux import fingerprint as fingerprints
from dspy_mux.bank import CLAIM_LASTS_S
from dspy_mux.record import MISSING
from dspy_mux.tally import ABSTAINED


@pytest.fixture
def bank(tmp_path):
    made = SampleBank(tmp_path / "bank.sqlite")
    yield made
    made.close()


def a_draw(question, program, draw, answer="x", answer_class=0, score=1.0, **more):
    usable = answer is not None
    return {
        "question": question,
        "program": program,
        "draw": draw,
        "answer": json.dumps(answer) if usable else None,
        "answer_class": answer_class if usable else None,
        "score": score if usable else None,
        "cause": None if usable else "no answer",
        "outputs": json.dumps({"answer": answer}) if usable else None,
        "calls": 1,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "seconds": 0.5,
        "cost": 0.25,
        "created": 1e9,
        **more,
    }


def write(bank, *rows):
    with bank.writing() as connection:
        bank.add(connection, rows)


def some_questions(bank, count=3, dataset="d"):
    return bank.questions_of(dataset, [(f"key{n}", f"q{n}", {"task": "ab"[n % 2], "n": n}) for n in range(count)])


def a_program(bank, member="a", key="f" * 64, **description):
    return bank.programs_of([(member, key, {"model": f"openai/{member}", **description})])[0]


def fill(bank, members="ab", count=3, k=2):
    """Members by questions by draws; member b answers wrongly, and abstains at its last draw."""
    asked, made_by = some_questions(bank, count), [a_program(bank, name, name * 64) for name in members]
    write(
        bank,
        *(
            a_draw(q, p, d, *(("x", 0, 1.0) if at == 0 else (None if d == k - 1 else "y", 1, 0.0)))
            for q in asked
            for at, p in enumerate(made_by)
            for d in range(k)
        ),
    )
    return asked, made_by


# --- written and read


def test_what_was_written_comes_back_as_arrays(bank):
    fill(bank)
    record = bank.record()
    assert (record.members, record.questions, record.keys) == (("a", "b"), ("q0", "q1", "q2"), ("key0", "key1", "key2"))
    assert record.votes.tolist() == [[[0, 0], [1, ABSTAINED]]] * 3
    assert record.scores.tolist() == [[[1, 1], [0, 0]]] * 3
    assert record.fields == {"task": ("a", "b", "a"), "n": ("0", "1", "2")}
    assert (record.calls.sum(), record.tokens.sum(), record.cost.sum()) == (12, 180, 3)


def test_an_answer_without_a_score_is_nan_and_a_draw_never_made_is_missing(bank):
    (first, second), made_by = some_questions(bank, 2), a_program(bank)
    write(bank, a_draw(first, made_by, 0, score=None), a_draw(first, made_by, 2), a_draw(second, made_by, 1))
    record = bank.record()
    assert record.votes.tolist() == [[[0, MISSING, 0]], [[MISSING, 0, MISSING]]]
    assert np.isnan(record.scores[0, 0, 0])
    assert record.scores[0, 0, 2] == 1
    assert record.drawn().tolist() == [[1], [0]]


def test_costs_that_were_never_recorded_are_none(bank):
    write(bank, a_draw(some_questions(bank)[0], a_program(bank), 0, calls=None, prompt_tokens=None, cost=None))
    record = bank.record()
    assert (record.calls, record.tokens, record.cost) == (None, None, None)


def test_a_draw_written_twice_stays_as_it_was_first(bank):
    question, made_by = some_questions(bank)[0], a_program(bank)
    write(bank, a_draw(question, made_by, 0, "first"))
    write(bank, a_draw(question, made_by, 0, "second", 1, 0.0), a_draw(question, made_by, 1, "third"))
    assert [(row["draw"], row["answer"], row["score"]) for row in bank.rows()] == [(0, "first", 1.0), (1, "third", 1.0)]


def test_questions_and_programs_keep_their_ids(bank):
    assert some_questions(bank, 2) == some_questions(bank, 3)[:2]
    assert a_program(bank) == a_program(bank)
    assert a_program(bank, key="e" * 64) != a_program(bank)


def test_the_same_question_of_two_datasets_is_two_questions(bank):
    assert not set(some_questions(bank, dataset="d")) & set(some_questions(bank, dataset="e"))


def test_rows_are_plain_and_in_the_order_recorded(bank):
    fill(bank)
    rows = list(bank.rows())
    assert [(row["question_id"], row["model"], row["draw"]) for row in rows] == [
        (q, m, d) for q in ("q0", "q1", "q2") for m in "ab" for d in (0, 1)
    ]
    assert json.loads(json.dumps(rows)) == rows
    assert (rows[0]["answer"], rows[0]["task"], rows[0]["n"], rows[0]["dataset"]) == ("x", "a", 0, "d")
    assert (rows[3]["answer"], rows[3]["score"], rows[3]["cause"]) == ("", None, "no answer")


def test_info_counts_what_each_program_drew_and_took(bank):
    fill(bank)
    assert bank.info()[1] == {
        "dataset": "d",
        "member": "b",
        "program": "b" * 64,
        "model": "openai/b",
        "questions": 3,
        "draws": 6,
        "abstentions": 3,
        "calls": 6,
        "tokens": 90,
        "cost": 1.5,
        "latest": 1e9,
    }


def test_what_is_drawn_is_told_for_few_questions_and_for_many(bank):
    made_by = a_program(bank)
    asked = some_questions(bank, 900)
    write(bank, *(a_draw(q, made_by, 0) for q in asked))
    for wanted in (asked[:3], asked[:800]):
        assert bank.drawn([made_by], wanted) == {(made_by, q, 0) for q in wanted}


# --- scores added later


def test_scores_are_added_only_where_they_are_missing(bank):
    (first, second, _), made_by = some_questions(bank), a_program(bank)
    write(bank, a_draw(first, made_by, 0, score=None), a_draw(second, made_by, 0, score=0.5))
    unscored = bank.unscored([made_by], [first, second])
    assert [(q, json.loads(outputs)) for _, q, outputs in unscored] == [(first, {"answer": "x"})]
    ids = [row[0] for row in sqlite3.connect(bank.path).execute("select id from mux_draws order by id")]
    bank.score(dict.fromkeys(ids, 1.0))
    assert [row["score"] for row in bank.rows()] == [1.0, 0.5]
    assert bank.unscored([made_by], [first, second]) == []


def test_failed_draws_can_be_forgotten_and_no_others(bank):
    (first, second, _), made_by = some_questions(bank), a_program(bank)
    unusable = json.dumps({"answer": ""})
    write(
        bank,
        a_draw(first, made_by, 0, None),
        a_draw(first, made_by, 1, None, outputs=unusable),
        a_draw(first, made_by, 2),
        a_draw(second, made_by, 0, None),
    )
    bank.forget_failures([made_by], [first])
    assert bank.drawn([made_by], [first, second]) == {(made_by, first, 1), (made_by, first, 2), (made_by, second, 0)}


# --- which draws


@pytest.fixture
def twice(bank):
    """One member recorded with two programs, the second one last."""
    question = some_questions(bank)[0]
    for key, answer in (("1111" * 16, "old"), ("2222" * 16, "new")):
        write(bank, a_draw(question, a_program(bank, "a", key), 0, answer, int(answer == "new")))
    return bank


def test_two_programs_of_a_member_never_mix(twice):
    with pytest.raises(BankError, match="'a' by 2 programs") as caught:
        twice.record()
    assert "111111111111" in str(caught.value)
    assert "222222222222" in str(caught.value)


@pytest.mark.parametrize(("program", "vote"), [("latest", 1), ("1111", 0), ("2222", 1), ("1111" * 16, 0)])
def test_a_program_is_chosen_by_latest_or_by_the_start_of_its_fingerprint(twice, program, vote):
    assert twice.record(program=program).votes.tolist() == [[[vote]]]


def test_the_very_programs_can_be_named(twice):
    assert twice.record(programs=[("a", "1111" * 16)]).votes.tolist() == [[[0]]]


def test_a_fingerprint_that_is_not_there_is_refused(twice):
    with pytest.raises(BankError, match="no program '3333'"):
        twice.record(program="3333")


def test_latest_is_the_program_that_drew_last(twice):
    old = a_program(twice, "a", "1111" * 16)
    write(twice, a_draw(some_questions(twice)[1], old, 0, "again"))
    record = twice.record(program="latest")
    assert (record.questions, record.votes.tolist()) == (("q0", "q1"), [[[0]], [[0]]])


def test_choosing_one_members_program_keeps_the_other_members(twice):
    write(twice, a_draw(some_questions(twice)[0], a_program(twice, "b", "b" * 64), 0))
    assert twice.record(program="latest").members == ("a", "b")
    assert twice.record(program="1111").members == ("a", "b")


def test_datasets_are_read_apart(bank):
    made_by = a_program(bank)
    for name, count in (("d", 2), ("e", 3)):
        write(bank, *(a_draw(q, made_by, 0) for q in some_questions(bank, count, name)))
    assert bank.datasets() == {"d": 2, "e": 3}
    assert len(bank.record(dataset="e").questions) == 3
    assert len(list(bank.rows(dataset="d"))) == 2
    assert [(row["dataset"], row["draws"]) for row in bank.info()] == [("d", 2), ("e", 3)]
    with pytest.raises(BankError, match=r"several datasets: choose one of d, e"):
        bank.record()
    with pytest.raises(BankError, match=r"no dataset 'f'; it has d, e"):
        bank.record(dataset="f")


# --- claims


def test_a_claim_of_a_live_process_is_not_given(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    assert bank.claim(units[:2], "one") == units[:2]
    assert bank.claim(units, "two") == units[2:]
    assert bank.claim(units, "one") == units[:2]


def test_released_claims_can_be_taken(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claim(units, "one")
    with bank.writing() as connection:
        bank.release(connection, "one", units[:1])
    assert bank.claim(units, "two") == units[:1]
    with bank.writing() as connection:
        bank.release(connection, "one")
    assert bank.claim(units, "two") == units


def change_claims(bank, **values):
    bank.close()
    with sqlite3.connect(bank.path) as connection:
        for name, value in values.items():
            connection.execute(f"update mux_claims set {name} = ?", (value,))
    connection.close()


def a_dead_pid():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_claim_of_a_dead_process_on_this_host_is_given_at_once(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claim(units, "one")
    change_claims(bank, pid=a_dead_pid())
    assert bank.claim(units, "two") == units


@pytest.mark.parametrize(("age", "given"), [(CLAIM_LASTS_S - 30, False), (CLAIM_LASTS_S + 30, True)])
def test_a_claim_of_another_host_is_given_once_it_shows_no_life(bank, age, given):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claim(units, "one")
    # The pid says nothing there: another host's processes cannot be seen.
    change_claims(bank, host=f"not-{socket.gethostname()}", pid=a_dead_pid(), beat=time.time() - age)
    assert bank.claim(units, "two") == (units if given else [])


def test_a_beat_keeps_a_claim(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claim(units, "one")
    change_claims(bank, host="elsewhere", beat=time.time() - CLAIM_LASTS_S - 30)
    bank.beat("one")
    assert bank.claim(units, "two") == []


# --- reading alone


def read_everything(bank):
    bank.exists()
    bank.datasets()
    bank.info()
    bank.record()
    list(bank.rows())
    bank.drawn([1, 2], [1, 2, 3])
    bank.unscored([1, 2], [1, 2, 3])


def test_reading_never_changes_the_file(bank, tmp_path):
    fill(bank)
    bank.close()
    before, stamp = bank.path.read_bytes(), bank.path.stat().st_mtime_ns
    reader = SampleBank(bank.path)
    read_everything(reader)
    reader.close()
    assert (bank.path.read_bytes(), bank.path.stat().st_mtime_ns) == (before, stamp)


def test_a_bank_copied_to_a_folder_that_cannot_be_written_can_be_read(bank, tmp_path):
    # A WAL database needs a -shm file to be read, which cannot be made here (skipped as root, who may write anywhere).
    fill(bank)
    bank.close()
    folder = tmp_path / "shelf"
    folder.mkdir()
    shutil.copy(bank.path, folder / "bank.sqlite")
    (folder / "bank.sqlite").chmod(0o444)
    folder.chmod(0o555)
    try:
        if os.access(folder, os.W_OK):
            pytest.skip("this user may write everywhere")
        assert len(SampleBank(folder / "bank.sqlite").record().questions) == 3
    finally:
        folder.chmod(0o755)


def test_reading_makes_no_file(tmp_path):
    bank = SampleBank(tmp_path / "folder" / "none.sqlite")
    assert not bank.exists()
    for read in (bank.datasets, bank.info, bank.record, lambda: list(bank.rows()), lambda: bank.drawn([1], [1])):
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
    for read in (bank.record, lambda: bank.record(dataset="d"), lambda: list(bank.rows(dataset="d"))):
        with pytest.raises(BankError, match=r"bank\.sqlite holds no draws yet"):
            read()


def test_questions_alone_are_no_draws(bank):
    some_questions(bank)
    a_program(bank)
    with pytest.raises(BankError, match="holds no draws yet"):
        bank.record()


@pytest.mark.parametrize(
    "name", ["with space.sqlite", "50%25 off.sqlite", "a?mode=memory.sqlite", "a#b.sqlite", "ünï.db", "a;b&c=d"]
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
    assert SampleBank(tmp_path / "bank.sqlite").record().votes.tolist() == bank.record().votes.tolist()


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
    "cut in its header": (lambda path: truncated(path, 0.001), "damaged|no sample bank"),
    "foreign": (foreign, "no sample bank"),
    "text": (lambda path: path.write_text("question,answer\n" * 100), "no SQLite database"),
    "empty file": (lambda path: path.write_bytes(b""), "no sample bank"),
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


@pytest.mark.parametrize("what", ["truncated", "text", "directory", "newer"])
def test_what_is_no_bank_is_not_written_either(tmp_path, what):
    path = tmp_path / "bank.sqlite"
    NO_BANKS[what][0](path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(BankError) as caught:
        fill(SampleBank(path), count=300)
    assert str(path) in str(caught.value)
    if what != "newer":  # its journal's mode is in its header
        assert (path.read_bytes() if path.is_file() else b"") == before


def test_another_programs_database_gets_no_tables_of_ours(tmp_path):
    foreign(tmp_path / "invoices.db")
    with pytest.raises(BankError, match="no sample bank"):
        some_questions(SampleBank(tmp_path / "invoices.db"))


# --- databases by URL


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@127.0.0.1:1/db",
        "postgresql+nodriver://user:hunter2@127.0.0.1:1/db",
        "nodatabase://user:hunter2@127.0.0.1/db",
        "postgresql://user:hunter2@127.0.0.1:port/db",
        "postgre sql://user:hunter2@127.0.0.1/db",
        "postgresql://127.0.0.1:1/db?user=user&password=hunter2",
    ],
)
def test_a_password_is_never_shown(url):
    told = []
    try:
        bank = SampleBank(url)
        told += [bank.name, repr(bank)]
        bank.record()
    except MuxError as error:
        told.append(str(error))
    assert told
    assert "hunter2" not in "".join(told)


# --- several at once


def write_a_share(path, start, step, count):
    """What one of several processes does: the same questions, its own draws, some of them another's too."""
    bank = SampleBank(path)
    asked, made_by = some_questions(bank, count), a_program(bank)
    for question in asked:
        write(bank, *(a_draw(question, made_by, draw, f"of {start}") for draw in (start, start + step, 9)))
        bank.claim([(question, made_by)], f"owner {start}")
    bank.close()


def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    context, path, count = multiprocessing.get_context("spawn"), tmp_path / "bank.sqlite", 15
    processes = [context.Process(target=write_a_share, args=(path, start, 2, count)) for start in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    drawn = {(row["question_id"], row["draw"]): row["answer"] for row in SampleBank(path).rows()}
    assert drawn.keys() == {(f"q{n}", draw) for n in range(count) for draw in (0, 1, 2, 3, 9)}
    assert all(answer == f"of {draw % 2}" for (_, draw), answer in drawn.items() if draw != 9)
    with sqlite3.connect(path) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        assert connection.execute("select count(*) from mux_draws").fetchone() == (count * 5,)
    connection.close()


def test_one_bank_can_read_while_another_writes(tmp_path):
    writer = SampleBank(tmp_path / "bank.sqlite")
    asked, (made_by, _) = fill(writer)
    reader = SampleBank(tmp_path / "bank.sqlite")
    with writer.writing() as connection:
        writer.add(connection, [a_draw(asked[0], made_by, 7)])
        assert len(list(reader.rows())) == 12  # not before it is committed
    assert len(list(reader.rows())) == 13


def test_a_transaction_that_fails_writes_nothing(bank):
    asked, (made_by, _) = fill(bank)

    def fail():
        with bank.writing() as connection:
            bank.add(connection, [a_draw(asked[0], made_by, 7)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(list(bank.rows())) == 12


# --- fingerprints


@given(st.dictionaries(st.text(max_size=4), st.one_of(st.text(max_size=4), st.integers(), st.none()), max_size=5))
@settings(max_examples=50)
def test_a_fingerprint_of_inputs_knows_no_order_and_no_two_inputs_share_one(inputs):
    backwards = dict(reversed(inputs.items()))
    assert fingerprints.of_inputs(inputs) == fingerprints.of_inputs(backwards)
    assert fingerprints.of_inputs({**inputs, "another": 1}) != fingerprints.of_inputs(inputs) or inputs.get("another") == 1


def test_values_without_a_json_form_are_told_without_an_address():
    class Image:
        pass

    assert fingerprints.of_inputs({"image": Image()}) == fingerprints.of_inputs({"image": Image()})


@pytest.mark.parametrize("name", ["api_key", "OPENAI_API_KEY", "aws_secret_access_key", "extra_headers", "Authorization"])
def test_names_of_secrets_are_known(name):
    assert fingerprints.is_secret(name)
    assert not fingerprints.is_secret("temperature")
