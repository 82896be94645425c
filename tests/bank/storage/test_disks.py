"""Banks on full and read-only disks: nothing committed is lost, and a sentence says what to do."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
import time

import dspy
import pytest

from dspy_mux import BankError, SampleBank
from dspy_mux.bank.collect import collect
from dspy_mux.bank.storage import sqlite
from dspy_mux.bank.storage.sqlite import wal_of

from ...support import full_disk, kill
from ...support.fill import fill


def sandboxed(*arguments):
    """Return what a module prints in a sandbox whose disk even root cannot write."""
    done = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def module(name, *arguments):
    return (sys.executable, "-m", f"tests.support.{name}", *arguments)


def test_on_a_full_disk_what_was_committed_is_kept_and_collecting_goes_on_once_there_is_room(
    tmp_path,
):
    small = tmp_path / "small"
    small.mkdir()
    told = sandboxed(
        "--size", full_disk.SIZE, "--tmpfs", small, *module("full_disk", small, tmp_path / "notes")
    )
    assert len(told["told"]) == 2
    for message in told["told"]:
        assert message.startswith(
            f"The disk is full: the bank {small / 'bank.sqlite'} keeps what is recorded; make room "
            "and go on."
        )
    assert told["committed"] > 0
    assert told["kept"]
    assert told["already"]
    assert (told["missing"], told["calls"], told["last"]) == (0, 720, 720)


def test_draws_that_could_not_be_written_are_counted_and_come_back_from_the_cache_of_dspy(
    tmp_path, monkeypatch
):
    bank, mux = SampleBank(tmp_path / "bank.sqlite"), kill.a_mux()
    examples = [dspy.Example(question=f"q{n}", answer="").with_inputs("question") for n in range(3)]
    with monkeypatch.context() as patched:

        def full(self, connection, rows):
            raise BankError("The disk is full.")

        patched.setattr(SampleBank, "add", full)
        with pytest.raises(
            BankError,
            match=r"The disk is full\. Lost: (\d+) draws that had arrived; DSPy's cache",
        ) as caught:
            collect(mux, examples, lambda *_: 1.0, bank)
    time.sleep(0.5)  # calls that were under way end
    made = [member.lm.engine.calls for member in mux.members]
    assert 1 <= int(re.search(r"Lost: (\d+)", str(caught.value)).group(1)) <= sum(made)
    done = collect(mux, examples, lambda *_: 1.0, bank)
    assert (done.drawn, done.missing) == (36, 0)
    assert [member.lm.engine.calls for member in mux.members] == [12, 12, 12]


def collect_within(url, notes, size, told):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        kill.collect_and_note(url, notes, 20)
    except BankError as error:
        told.send(str(error))


def test_a_quota_on_files_is_told_and_costs_nothing_that_was_committed(tmp_path):
    here, there = kill.context.Pipe()
    url, notes = str(tmp_path / "bank.sqlite"), tmp_path / "notes"
    process = kill.context.Process(target=collect_within, args=(url, notes, 300_000, there))
    process.start()
    assert here.poll(60)
    assert "full, over a quota, or failing (disk I/O error): make room and go on" in here.recv()
    process.join()
    committed = kill.noted(notes)
    assert (
        committed.items()
        <= {key: answer for key, (answer, _) in kill.recorded(SampleBank(url)).items()}.items()
    )
    assert len(committed) > 0


@pytest.fixture
def closed(tmp_path):
    """A bank in a folder of its own."""
    folder = tmp_path / "closed"
    bank = SampleBank(folder / "bank.sqlite")
    fill(bank)
    bank.close()
    return bank.path


@pytest.fixture
def killed(tmp_path):
    """Return the files of a killed bank, whose last commits are in its write-ahead log."""
    bank = SampleBank(tmp_path / "live" / "bank.sqlite")
    fill(bank)
    folder = tmp_path / "killed"
    shutil.copytree(bank.path.parent, folder)
    bank.close()
    return folder / "bank.sqlite"


FILE, FOLDER = (
    "is read-only: give its file and folder write permission to record draws",
    "give its folder write permission",
)


def test_a_closed_bank_on_a_read_only_disk_is_read_and_not_written(closed):
    read, written = sandboxed(
        "--ro-bind", closed.parent, closed.parent, *module("read_only", closed)
    )
    assert read == 12
    assert FOLDER in written


def test_a_file_alone_that_cannot_be_written_is_read_and_not_written(closed):
    read, written = sandboxed("--ro-bind", closed, closed, *module("read_only", closed))
    assert read == 12
    assert FILE in written


def test_what_a_killed_process_committed_can_be_read_on_a_read_only_disk_or_it_is_said_how(
    killed, tmp_path
):
    read, written = sandboxed(
        "--ro-bind", killed.parent, killed.parent, *module("read_only", killed)
    )
    assert read == 12
    assert FILE in written
    killed.with_name("bank.sqlite-shm").unlink()
    read, written = sandboxed(
        "--ro-bind", killed.parent, killed.parent, *module("read_only", killed)
    )
    assert "or copy it, with bank.sqlite-wal if there is one, to a folder of yours" in read
    shutil.copy(killed, tmp_path)
    shutil.copy(wal_of(killed), tmp_path)
    assert len(list(SampleBank(tmp_path / "bank.sqlite").rows())) == 12


def test_a_bank_copied_to_a_read_only_disk_after_it_was_read_can_be_read(closed):
    # A reader leaves an empty write-ahead log.
    wal_of(closed).touch()
    read, _ = sandboxed("--ro-bind", closed.parent, closed.parent, *module("read_only", closed))
    assert read == 12


def test_what_another_process_begins_to_write_is_seen_where_this_one_may_only_read(
    closed, monkeypatch
):
    may_write = sqlite.os.access
    bank, of_another = SampleBank(closed), SampleBank(closed)
    with monkeypatch.context() as patched:
        patched.setattr(
            sqlite.os, "access", lambda path, mode: path != closed.parent and may_write(path, mode)
        )
        assert len(list(bank.rows())) == 12
        fill(of_another, members="c")
        assert wal_of(closed).stat().st_size > 0
        assert len(list(bank.rows())) == 18
        of_another.close()
        assert len(list(bank.rows())) == 18
