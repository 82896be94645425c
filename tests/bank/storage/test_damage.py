"""A damaged SQLite bank is read right or refused in one sentence, never read wrong."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import sys

import pytest
import sqlalchemy as sa

from dspy_mux import ConfigurationError, DataError, SampleBank
from dspy_mux.bank.storage.salvage import salvage
from dspy_mux.bank.storage.schema import draws
from dspy_mux.bank.storage.sqlite import wal_of
from dspy_mux.cli.main import main

from ...support.fill import a_draw, a_program, some_questions, write

BATCHES, A_BATCH = 60, 4


def filled(folder, checkpoint_after=None):
    """Return what a power loss leaves of a bank, and what each batch had committed."""
    luck = random.Random(3)
    bank = SampleBank(folder / "live" / "bank.sqlite")
    asked, made_by = some_questions(bank, 20), [a_program(bank, name, name * 64) for name in "ab"]
    places = [
        (question, program, draw) for question in asked for program in made_by for draw in range(6)
    ]
    luck.shuffle(places)
    states = [{}]
    for number in range(BATCHES):
        batch = places[number * A_BATCH : (number + 1) * A_BATCH]
        # Long outputs go over several pages of the file.
        rows = [
            a_draw(*place, f"{number}", outputs=json.dumps({"answer": "x" * luck.randint(1, 9000)}))
            for place in batch
        ]
        write(bank, *rows)
        states.append(
            {
                **states[-1],
                **{place: row["outputs"] for place, row in zip(batch, rows, strict=True)},
            }
        )
        if number == checkpoint_after:
            with bank.database._writer.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            ) as connection:
                connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    left = folder / "left"
    left.mkdir()
    for path in (bank.path, wal_of(bank.path)):
        shutil.copyfile(path, left / path.name)
    bank.close()
    return bank.path, left / "bank.sqlite", states


def cut(path, to, size):
    """A copy of a bank's files of which one, `path`, is cut off."""
    folder = to / f"cut{size}"
    folder.mkdir()
    for file in path.parent.iterdir():
        if not file.name.endswith("-shm"):
            shutil.copyfile(file, folder / file.name)
    os.truncate(folder / path.name, size)
    return folder / "bank.sqlite"


def recorded(path):
    bank = SampleBank(path)
    with bank.database.reading() as connection:
        rows = connection.execute(
            sa.select(draws.c.question, draws.c.program, draws.c.draw, draws.c.outputs)
        ).all()
    if rows:
        assert int((bank.record().votes >= 0).sum()) == len(rows)
    assert len(list(bank.rows())) == len(rows)
    bank.close()
    return {(question, program, draw): outputs for question, program, draw, outputs in rows}


def some_sizes(path, count):
    size, luck = path.stat().st_size, random.Random(4)
    return sorted(
        {size - 1, size - 4095, 1, 100, *(luck.randrange(1, size) for _ in range(count))}
        & set(range(1, size))
    )


def test_a_closed_bank_that_was_cut_off_anywhere_is_neither_read_nor_written(tmp_path):
    path, _, _ = filled(tmp_path)
    for size in some_sizes(path, 25):
        found = cut(path, tmp_path, size)
        before = found.read_bytes()
        for use in (recorded, lambda found: some_questions(SampleBank(found), 30)):
            with pytest.raises(DataError, match="damaged") as caught:
                use(found)
            assert str(found) in str(caught.value)
        assert found.read_bytes() == before


def test_commits_before_a_cut_log_are_read(
    tmp_path,
):
    _, left, states = filled(tmp_path)
    for size in some_sizes(wal_of(left), 15):
        path = cut(wal_of(left), tmp_path, size)
        found = recorded(path) if SampleBank(path).exists() else {}
        assert found in states
        bank = SampleBank(path)
        asked, made_by = (
            some_questions(bank, 20),
            [a_program(bank, name, name * 64) for name in "ab"],
        )
        rows = [
            a_draw(*place, outputs=outputs)
            for place, outputs in states[-1].items()
            if place not in found
        ]
        write(bank, *rows)
        assert (asked, made_by) == (list(range(1, 21)), [1, 2])
        assert recorded(path) == states[-1]


@pytest.mark.parametrize("checkpoint_after", [None, 30, BATCHES - 1])
def test_a_file_cut_off_while_its_write_ahead_log_is_there_is_read_whole_or_not_at_all(
    tmp_path, checkpoint_after
):
    _, left, states = filled(tmp_path, checkpoint_after)
    outcomes = []
    for size in some_sizes(left, 12):
        try:
            outcomes.append(recorded(cut(left, tmp_path, size)))
        except DataError as error:
            outcomes.append(str(error))
    damaged = [outcome for outcome in outcomes if outcome != states[-1]]
    assert all("damaged" in outcome for outcome in damaged)
    assert damaged if checkpoint_after is not None else states[-1] in outcomes


@pytest.mark.parametrize("gone", [True, False])
def test_a_write_ahead_log_without_its_file_is_never_deleted(tmp_path, gone):
    _, left, states = filled(tmp_path)
    file, log = left.read_bytes(), wal_of(left).read_bytes()
    left.unlink() if gone else os.truncate(left, 0)
    for use in (lambda: SampleBank(left).record(), lambda: some_questions(SampleBank(left))):
        with pytest.raises(
            DataError,
            match="gone or empty, while bank.sqlite-wal beside it holds what was recorded last",
        ):
            use()
    assert wal_of(left).read_bytes() == log
    left.write_bytes(file)
    assert recorded(left) == states[-1]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.99])
def test_what_is_left_of_a_damaged_bank_can_be_saved(tmp_path, share):
    path, _, states = filled(tmp_path)
    damaged = cut(path, tmp_path, int(path.stat().st_size * share))
    saved = salvage(damaged, tmp_path / "saved.sqlite")
    found = recorded(tmp_path / "saved.sqlite")
    assert found.items() <= states[-1].items()
    assert saved == len(found) >= (share - 0.15) * len(states[-1])
    bank = SampleBank(tmp_path / "saved.sqlite")
    some_questions(bank, 20)
    write(bank, *(a_draw(*place, outputs=outputs) for place, outputs in states[-1].items()))
    assert recorded(bank.path) == states[-1]


def test_what_is_left_with_a_write_ahead_log_can_be_saved(tmp_path):
    _, left, states = filled(tmp_path, checkpoint_after=30)
    damaged = cut(left, tmp_path, left.stat().st_size // 2)
    with pytest.raises(DataError, match="damaged"):
        recorded(damaged)
    salvage(damaged, tmp_path / "saved.sqlite")
    found = recorded(tmp_path / "saved.sqlite")
    assert found.items() <= states[-1].items()
    assert len(found) > len(states[-1]) / 3


def test_a_page_in_the_middle_that_is_lost_costs_its_own_draws_alone(tmp_path):
    path, _, states = filled(tmp_path)
    content = bytearray(path.read_bytes())
    at = next(
        at for at in range(30 * 4096, len(content), 4096) if content[at] == 0x0D
    )  # a page of a table's rows
    content[at : at + 4096] = os.urandom(4096)
    path.write_bytes(content)
    salvage(path, tmp_path / "saved.sqlite")
    found = recorded(tmp_path / "saved.sqlite")
    assert found.items() <= states[-1].items()
    assert len(found) > 0.9 * len(states[-1])


def test_what_cannot_be_saved_is_told(tmp_path):
    (tmp_path / "text.sqlite").write_text("no bank " * 1000)
    with pytest.raises(DataError, match=r"Nothing can be read of .*text\.sqlite"):
        salvage(tmp_path / "text.sqlite", tmp_path / "saved.sqlite")
    with pytest.raises(DataError, match=r"There is no file .*none\.sqlite"):
        salvage(tmp_path / "none.sqlite", tmp_path / "saved.sqlite")
    path, _, _ = filled(tmp_path)
    for target in (path, "postgresql://127.0.0.1:1/db"):
        with pytest.raises(ConfigurationError, match="exists already, or is not a file"):
            salvage(path, target)
    assert not (tmp_path / "saved.sqlite").exists()


def test_what_the_message_of_a_damaged_bank_says_to_run_saves_it(tmp_path, capsys, monkeypatch):
    path, _, states = filled(tmp_path / "a folder")
    damaged = cut(path, tmp_path, path.stat().st_size // 2)
    with pytest.raises(DataError) as caught:
        SampleBank(damaged).record()
    command = shlex.split(re.search("`(.*)`", str(caught.value)).group(1))
    assert command[-1] == "NEW"
    new = tmp_path / "new.sqlite"
    monkeypatch.setattr(sys, "argv", [*command[:-1], str(new)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    found = recorded(new)
    assert f"{new}: {len(found)} draws saved" in capsys.readouterr().out
    assert found.items() <= states[-1].items()
