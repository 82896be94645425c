"""Collections killed at any moment: what was committed stays, and the rest is drawn next."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import time
from contextlib import suppress

import pytest
import sqlalchemy as sa

from dspy_mux import BankError, SampleBank
from dspy_mux.bank import claims
from dspy_mux.bank.storage import schema

from ..support import kill
from ..support.databases import BACKENDS, a_place
from ..support.fill import a_draw, fill, some_questions, write

QUESTIONS, PROCESSES, BANKS, ROUNDS = 40, 3, 5, 5  # two moments a round: 50 in all
#: Seconds between beats, so that what a killed one had claimed is free after a few tenths.
BEAT_S = 0.05


@pytest.mark.real_seeds
@pytest.mark.parametrize("backend", BACKENDS)
def test_whenever_collections_are_killed_every_committed_draw_is_there_once(
    backend, tmp_path, monkeypatch
):
    monkeypatch.setattr(claims, "BEAT_S", BEAT_S)
    luck = random.Random(6)
    kept = 0
    for number in range(BANKS):
        folder = tmp_path / str(number)
        folder.mkdir()
        with a_place(backend, folder) as url:
            kept += _killed_and_finished(url, folder / "notes", luck)
    assert kept > BANKS * ROUNDS  # the kills came in the midst of it


def _killed_and_finished(url, notes, luck):
    bank, before = SampleBank(url), {}
    for _ in range(ROUNDS):
        running = [
            kill.context.Process(target=kill.collect_and_note, args=(url, notes, QUESTIONS, BEAT_S))
            for _ in range(PROCESSES)
        ]
        for process in running:
            process.start()
        for killed in (luck.sample(running, luck.randint(1, PROCESSES - 1)), running):
            _let_pass(luck, notes)
            for process in killed:
                _kill(process)
            for process in killed:
                process.join()
                assert process.exitcode in (0, -signal.SIGKILL)
            if bank.exists():
                before = _check(bank, notes, before)
    mux = kill.a_mux()
    done = kill.collect_all(bank, QUESTIONS, mux)
    total = QUESTIONS * len(kill.MEMBERS) * kill.K
    assert (done.already, done.missing) == (len(before), 0)
    assert sum(member.lm.engine.calls for member in mux.members) == total - len(before)
    assert len(_check(bank, notes, before)) == total
    with bank.writing() as connection:
        assert connection.execute(sa.select(schema.claims)).all() == []
    bank.close()
    return len(before)


def _let_pass(luck, notes):
    """A little time: since they were started, or since the next draw is committed."""
    if luck.random() < 0.6:
        noted, deadline = _size(notes), time.monotonic() + 10
        while _size(notes) == noted and time.monotonic() < deadline:
            time.sleep(0.005)
    time.sleep(luck.uniform(0.0, 0.12))


def _size(path):
    return path.stat().st_size if path.exists() else 0


def _kill(process):
    with suppress(ProcessLookupError):  # it has ended meanwhile
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)


def _check(bank, notes, before):
    committed = kill.noted(notes)
    found = kill.recorded(bank)
    assert before.items() <= found.items()
    assert committed.items() <= {key: answer for key, (answer, _) in found.items()}.items()
    if bank.path is not None:
        with sqlite3.connect(bank.path) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        connection.close()
    return found


def make(url):
    some_questions(SampleBank(url))
    time.sleep(60)


def test_a_bank_whose_making_was_killed_is_made_by_the_next_process(tmp_path):
    luck = random.Random(7)
    for number in range(30):
        bank = SampleBank(tmp_path / f"{number}.sqlite")
        process = kill.context.Process(target=make, args=(bank.name,))
        process.start()
        time.sleep(luck.uniform(0.01, 0.06))
        _kill(process)
        process.join()
        assert bank.exists() in (True, False)
        assert len(some_questions(bank)) == 3
        bank.close()


def test_a_change_that_was_killed_before_there_was_a_write_ahead_log_is_undone_by_the_next_write(
    tmp_path,
):
    bank = SampleBank(tmp_path / "live" / "bank.sqlite")
    asked, made_by = fill(bank, count=200)
    bank.close()
    connection = sqlite3.connect(bank.path, isolation_level=None)
    for statement in (
        "PRAGMA journal_mode=DELETE",
        "PRAGMA cache_size=1",
        "BEGIN",
        "UPDATE mux_draws SET outputs = 'lost'",
    ):
        connection.execute(statement)
    shutil.copytree(bank.path.parent, tmp_path / "left")
    connection.close()
    left = SampleBank(tmp_path / "left" / "bank.sqlite")
    with pytest.raises(BankError, match="left in the middle of a change: collect or import draws"):
        left.record()
    write(left, a_draw(asked[0], made_by[0], 7))
    assert len(list(left.rows())) == 801
    with left.writing() as written:
        assert (
            written.exec_driver_sql(
                "SELECT count(*) FROM mux_draws WHERE outputs = 'lost'"
            ).scalar()
            == 0
        )
    left.close()
