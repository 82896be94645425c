"""Several at work on one bank: claims, processes that write at once, and readers meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from dspy_mux import SampleBank
from dspy_mux.bank.claims import BEAT_S, LOOKS
from dspy_mux.bank.heartbeat import ClaimLost, Heartbeat
from dspy_mux.bank.storage.schema import claims
from dspy_mux.bank.units import Units
from dspy_mux.sampling.interrupt import Interrupt

from ..support import kill
from ..support.databases import is_being_written
from ..support.fill import a_draw, a_program, fill, some_questions, write
from ..support.wait import PATIENCE_S, until

# --- claims


class Clock:
    """Stands for the clocks of claims."""

    def __init__(self):
        self.now = 0.0

    def pass_(self, seconds):
        self.now += seconds

    def monotonic(self):
        return self.now

    time = monotonic


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("dspy_mux.bank.claims.time", made)
    monkeypatch.setattr("dspy_mux.bank.heartbeat.time", made)
    return made


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


def looks(bank, clock, units, owner, times):
    """Take with a look's pause before each time; return what the last one got."""
    for _ in range(times):
        clock.pass_(BEAT_S)
        got = bank.claims.take(units, owner)
    return got


def test_a_claim_lapses_once_it_was_watched_without_a_beat(bank, clock):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "killed")
    assert bank.claims.take(units, "next") == []
    assert looks(bank, clock, units, "next", LOOKS - 1) == []
    assert looks(bank, clock, units, "next", 1) == units


def test_a_beat_keeps_claims_however_long_they_are_watched(bank, clock):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "slow")
    for number in range(1, 4):
        assert looks(bank, clock, units, "waiting", LOOKS - 1) == []
        with bank.writing() as connection:
            assert bank.claims.beat(connection, "slow", number) == set(units)
    assert looks(bank, clock, units, "waiting", 1) == []


def test_who_was_paused_with_an_owner_does_not_take_it_for_dead(bank, clock):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "paused too")
    bank.claims.take(units, "next")
    clock.pass_(3600)
    assert bank.claims.take(units, "next") == []
    assert looks(bank, clock, units, "next", LOOKS - 2) == []


def test_looks_in_quick_succession_prove_nothing(bank, clock):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "alive")
    for _ in range(10 * LOOKS):
        assert bank.claims.take(units, "hasty") == []
        clock.pass_(BEAT_S / 20)


def test_whether_an_owner_lives_is_known_after_the_next_beat(bank, clock):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "alive")
    bank.claims.take(units, "next")
    assert bank.claims.undecided(units)
    with bank.writing() as connection:
        bank.claims.beat(connection, "alive", 1)
    bank.claims.take(units, "next")
    assert not bank.claims.undecided(units)
    looks(bank, clock, units, "next", 1)
    assert bank.claims.undecided(units)


def test_what_an_owner_abandons_in_this_process_is_given_though_it_was_never_released(bank):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    bank.claims.take(units, "ended")
    bank.claims.abandon("ended")
    assert bank.claims.take(units, "two") == units


def test_a_heartbeat_keeps_claims_and_notices_that_they_are_gone(bank, monkeypatch):
    monkeypatch.setattr("dspy_mux.bank.claims.BEAT_S", 0.05)
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    with Heartbeat(bank, Interrupt()) as heart:
        assert heart.take(units) == units

        def beat():
            with bank.database.reading() as connection:
                return connection.execute(sa.select(sa.func.max(claims.c.beat))).scalar()

        until(lambda: beat() > 3)
        heart.confirm(units[0])
        with bank.writing() as connection:
            connection.execute(sa.delete(claims).where(claims.c.question == units[0][0]))
        until(lambda: units[0] not in heart._held)
        with pytest.raises(ClaimLost):
            heart.confirm(units[0])
        heart.confirm(units[1])


def test_a_unit_that_is_forgotten_once_it_is_done_is_not_looked_up_again(bank):
    program = a_program(bank)
    one, two, three = [(question, program) for question in some_questions(bank)]
    write(bank, a_draw(*two, 0))
    units = Units(bank, [], {program: 1}, retry_failed=False)
    units.assign([one, two, three], [])
    units.on_done = units.drop  # as a worker of a cluster does
    with Heartbeat(bank, Interrupt()) as heart:
        found = [claimed.unit for claimed in units.claim(heart, [one, two, three])]
    assert found == [one, three]


def test_who_was_paused_asks_before_it_pays(bank, clock):
    units = [(q, a_program(bank)) for q in some_questions(bank)]
    heart = Heartbeat(bank, Interrupt())  # its thread is as good as paused
    heart.take(units)
    heart.confirm(units[0])
    with bank.writing() as connection:
        connection.execute(sa.update(claims).values(owner="heir"))
    clock.pass_(2 * BEAT_S)
    with pytest.raises(ClaimLost):
        heart.confirm(units[0])


def stop(pid):
    """Stop a process, and wait until its threads have stopped, which a signal does not."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(map(has_stopped, Path("/proc", str(pid), "task").iterdir())))


def has_stopped(task):
    try:
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:  # it has ended
        return True
    return state == "T"


def test_a_paused_collection_wakes_up_and_pays_nothing_that_another_has_taken_over(
    tmp_path, bank_url
):
    quick, questions, notes = 0.1, 30, [tmp_path / "first", tmp_path / "second"]
    first, second = (
        kill.context.Process(target=kill.collect_and_count, args=(bank_url, note, questions, quick))
        for note in notes
    )
    first.start()
    until(lambda: notes[0].exists() and notes[0].stat().st_size > 20)
    stop(first.pid)
    while is_being_written(bank_url):  # stopped there, it would keep all others from writing
        os.kill(first.pid, signal.SIGCONT)
        time.sleep(0.003)
        stop(first.pid)
    paid = notes[0].stat().st_size
    second.start()
    second.join(PATIENCE_S)
    assert second.exitcode == 0
    os.kill(first.pid, signal.SIGCONT)
    first.join(PATIENCE_S)
    assert first.exitcode == 0
    assert notes[0].stat().st_size <= paid + kill.AT_ONCE  # what was under way
    bank = SampleBank(bank_url)
    assert len(kill.recorded(bank)) == questions * len(kill.MEMBERS) * kill.K
    bank.close()


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
    assert reader.record().votes.shape == (9, 2, 3)
    reader.close()
