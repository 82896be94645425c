"""Several at work on one bank: claims, processes that write at once, and readers meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa

from dspy_mux import SampleBank
from dspy_mux.bank.claims import CLAIM_LASTS_S
from dspy_mux.bank.storage.schema import claims

from ..support import kill
from ..support.fill import a_draw, a_program, fill, some_questions, write

# --- claims


def test_a_claim_of_a_live_process_is_not_given(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    assert bank.claims.take(units[:2], "one") == units[:2]
    assert bank.claims.take(units, "two") == units[2:]
    assert bank.claims.take(units, "one") == units[:2]


def test_released_claims_can_be_taken(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "one")
    with bank.writing() as connection:
        bank.claims.release(connection, "one", units[:1])
    assert bank.claims.take(units, "two") == units[:1]
    with bank.writing() as connection:
        bank.claims.release(connection, "one")
    assert bank.claims.take(units, "two") == units


def change_claims(bank, **values):
    with bank.writing() as connection:
        connection.execute(sa.update(claims).values(**values))


def a_dead_pid():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_a_claim_of_a_dead_process_on_this_host_is_given_at_once(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "one")
    change_claims(bank, pid=a_dead_pid())
    assert bank.claims.take(units, "two") == units


def test_a_claim_of_an_earlier_process_of_this_ones_number_is_given(bank):
    # As in a container, where the number is always the same.
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "one")
    change_claims(bank, owner="of an earlier process", pid=os.getpid())
    assert bank.claims.take(units, "two") == units


def test_what_an_owner_abandons_in_this_process_is_given_though_it_was_never_released(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "one")
    bank.claims.abandon("one")
    assert bank.claims.take(units, "two") == units


@pytest.mark.parametrize(
    ("age", "given"), [(CLAIM_LASTS_S - 30, False), (CLAIM_LASTS_S + 30, True)]
)
def test_a_claim_of_another_host_is_given_once_it_shows_no_life(bank, age, given):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "one")
    # The pid says nothing there: another host's processes cannot be seen.
    change_claims(
        bank, host=f"not-{socket.gethostname()}", pid=a_dead_pid(), beat=time.time() - age
    )
    assert bank.claims.take(units, "two") == (units if given else [])


def test_a_beat_keeps_a_claim(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "one")
    change_claims(bank, host="elsewhere", beat=time.time() - CLAIM_LASTS_S - 30)
    bank.claims.beat("one")
    assert bank.claims.take(units, "two") == []


# --- several at once


def write_a_share(url, start, step, count):
    """One of several processes: the same questions, its own draws, some of them shared."""
    bank = SampleBank(url)
    asked, made_by = some_questions(bank, count), a_program(bank)
    for question in asked:
        write(
            bank,
            *(a_draw(question, made_by, draw, f"of {start}") for draw in (start, start + step, 9)),
        )
        bank.claims.take([(question, made_by)], f"owner {start}")
    bank.close()


def test_two_processes_that_write_at_once_lose_nothing(bank_url):
    count = 15
    processes = [
        kill.context.Process(target=write_a_share, args=(bank_url, start, 2, count))
        for start in (0, 1)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0]
    rows = list(SampleBank(bank_url).rows())
    drawn = {(row["question_id"], row["draw"]): row["answer"] for row in rows}
    assert drawn.keys() == {(f"q{n}", draw) for n in range(count) for draw in (0, 1, 2, 3, 9)}
    assert len(rows) == count * 5
    assert all(answer == f"of {draw % 2}" for (_, draw), answer in drawn.items() if draw != 9)


def test_one_bank_can_read_while_another_writes(bank, bank_url):
    writer = bank
    asked, (made_by, _) = fill(writer)
    reader = SampleBank(bank_url)
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


def test_who_writes_has_read_what_the_writer_before_wrote(bank, bank_url):
    """Two writers that number classes at once would give one number to two answers."""
    question, made_by = some_questions(bank)[0], a_program(bank)

    def add_the_next_draw():
        own = SampleBank(bank_url)
        with own.writing() as connection:
            found = len(own.answers.latest(connection, [question])[1])
            time.sleep(0.1)
            own.add(connection, [a_draw(question, made_by, found, f"answer {found}", found)])
        own.close()

    threads = [threading.Thread(target=add_the_next_draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(row["draw"], row["answer_class"]) for row in bank.rows()] == [(n, n) for n in range(4)]


def test_a_record_is_of_one_moment_though_others_write_meanwhile(bank, bank_url):
    asked, made_by = fill(bank)
    reader, wrote = SampleBank(bank_url), []
    before = reader.record()

    def write_more(connection, cursor, statement, *_):
        if "mux_questions.name" in statement and not wrote:
            wrote.append(True)
            more = some_questions(bank, 9)[3:]
            write(bank, *(a_draw(q, made_by[0], 5, "new", 7, 0.5) for q in [*more, asked[0]]))

    sa.event.listen(reader.database._reader, "after_cursor_execute", write_more)
    found = reader.record()
    assert wrote
    assert (found.questions, found.votes.tolist()) == (before.questions, before.votes.tolist())
    assert reader.record().votes.shape == (9, 2, 6)
    reader.close()
