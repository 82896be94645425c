"""Processes forked from one that has used a bank, in the midst of its collection or of a read."""

from __future__ import annotations

import multiprocessing
import os
import threading
import traceback
from contextlib import suppress

import pytest

from dspy_mux import SampleBank, StorageError
from dspy_mux.bank.collect import collect

from ..support.children import assert_ended
from ..support.fill import a_draw, fill, write
from ..support.skilled import a_member, a_mux, calls, metric, questions
from ..support.wait import PATIENCE_S

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def forked(act):
    """Run `act` in a forked child; return its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except BaseException:  # noqa: BLE001  (the exit code tells)
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_children_share_the_work_of_a_collection_under_way(bank):
    mux = a_mux(a_member("a", latency=0.004), a_member("b", latency=0.004))
    collect(mux, questions(2), metric, bank)
    bank.record()
    fork, beginning = multiprocessing.get_context("fork"), threading.Event()
    spent = fork.SimpleQueue()

    def judged(example, prediction, trace=None):
        beginning.set()
        return metric(example, prediction)

    def work(judge):
        before = sum(calls(mux))
        done = collect(mux, questions(60), judge, bank, num_threads=4)
        spent.put(done.calls if judge is metric else sum(calls(mux)) - before)

    parent = threading.Thread(target=work, args=(judged,))
    parent.start()
    assert beginning.wait(PATIENCE_S)
    children = [fork.Process(target=work, args=(metric,)) for _ in range(3)]
    for child in children:
        child.start()
    assert_ended(children)
    parent.join(PATIENCE_S)
    assert sum(spent.get() for _ in range(4)) == 360 - 12
    assert bank.record().drawn().tolist() == [[3, 3]] * 60


def test_a_child_in_the_midst_of_its_parents_read_does_the_parent_no_harm(bank, bank_url):
    asked, made_by = fill(bank, count=30)
    rows = bank.rows()
    found = [next(rows)]

    def act():
        for one in (bank, SampleBank(bank_url)):
            if one.path is None:
                write(one, a_draw(asked[0], made_by[0], 7))
                assert len(list(one.rows())) == 121
            else:
                with pytest.raises(StorageError, match="when this process was forked"):
                    one.record()
        with suppress(StorageError):
            rows.close()  # must not end the parent's transaction

    child = forked(act)
    assert exit_code(child) == 0
    found += rows
    assert len(found) == 120
    write(bank, a_draw(asked[0], made_by[0], 8))
    assert len(list(bank.rows())) == (121 if bank.path else 122)


def test_a_fork_waits_for_what_other_threads_write_to_a_file(tmp_path):
    bank = SampleBank(tmp_path / "bank.sqlite")
    asked, made_by = fill(bank)
    writing, go_on = threading.Event(), threading.Event()

    def slowly():
        with bank.writing() as connection:
            writing.set()
            assert go_on.wait(PATIENCE_S)
            bank.add(connection, [a_draw(asked[0], made_by[0], 7)])

    thread = threading.Thread(target=slowly)
    thread.start()
    assert writing.wait(PATIENCE_S)
    threading.Timer(0.2, go_on.set).start()
    child = forked(lambda: write(bank, a_draw(asked[0], made_by[0], len(list(bank.rows())))))
    thread.join()
    assert exit_code(child) == 0
    assert sorted(row["draw"] for row in bank.rows())[-2:] == [7, 13]
    bank.close()


def test_a_child_neither_writes_nor_releases_what_its_parent_has_in_hand(bank, monkeypatch):
    monkeypatch.setattr("dspy_mux.bank.storage.forks.PATIENCE_S", 0.1)
    mux, children = a_mux(a_member("a", latency=0.002)), []

    def metric_that_forks(example, prediction, trace=None):
        if len(children) < 5:
            children.append(forked(bank.close))
        return True

    done = collect(mux, questions(20), metric_that_forks, bank, num_threads=4)
    assert (done.drawn, done.missing, done.calls) == (60, 0, 60)
    assert [exit_code(child) for child in children] == [0] * len(children)
    assert bank.record().drawn().tolist() == [[3]] * 20
