from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading

import pytest

from dspy_mux import ConfigurationError
from dspy_mux.errors import DataError, StorageError
from eval.compare.command import write_table
from eval.groupthink import table
from eval.report import write
from eval.runs.folder import VERSION, Run
from eval.tables.comparison import Comparison

from ...support.run_files import a_task, a_turn, an_answer, manifest, row, without


def test_rows_come_back_in_order(tmp_path):
    with Run.start(tmp_path / "run", manifest()) as run:
        for number in range(3):
            run.append(row(number, answer="é|\n"))
    assert list(Run.open(tmp_path / "run").rows()) == [
        row(number, answer="é|\n") for number in range(3)
    ]


def test_rows_of_many_threads_never_mix(tmp_path):
    with Run.start(tmp_path / "run", manifest()) as run:
        threads = [
            threading.Thread(
                target=lambda n=n: [run.append(row(f"{n}-{i}", text="x" * 5000)) for i in range(20)]
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({each["question_id"] for each in Run.open(tmp_path / "run").rows()}) == 160


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_cut_last_line_is_removed(tmp_path, cut):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0))
        run.append(row(1))
    rows = tmp_path / "run" / "results.jsonl"
    rows.write_bytes(rows.read_bytes()[:-cut])
    assert [each["question_id"] for each in Run.open(tmp_path / "run").rows()] == ["q0", "q1"][
        : 2 if cut == 1 else 1
    ]
    with Run.start(tmp_path / "run", manifest()) as run:
        assert {question for *_, question in run.done()} == {"q0"}
        run.append(row(1))
    assert rows.read_bytes().count(b"\n") == 2
    assert [each["question_id"] for each in Run.open(tmp_path / "run").rows()] == ["q0", "q1"]


@pytest.mark.parametrize("damage", ["no json\n", "[]\n", '{"task": "sums"}\n'])
def test_a_damaged_line_is_named_by_number(tmp_path, damage):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0))
    rows = tmp_path / "run" / "results.jsonl"
    rows.write_text(rows.read_text() + damage + json.dumps(row(1)) + "\n")
    with pytest.raises(DataError, match=r"Line 2 of .*results\.jsonl"):
        list(Run.open(tmp_path / "run").rows())


def test_rows_of_replaced_settings_are_left_out(tmp_path):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0, settings="old", score=0.0))
        run.append(row(0))
    assert [each["settings"] for each in Run.open(tmp_path / "run").rows()] == ["one"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(DataError, match="is not a run folder"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(DataError, match="is not a run folder"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(manifest(version=VERSION + 1)))
    with pytest.raises(DataError, match="newer version"):
        Run.open(tmp_path)


def test_reading_a_run_changes_nothing_in_it(tmp_path):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    list(Run.open(tmp_path / "run").rows())
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_two_processes_are_not_let_onto_one_run(tmp_path):
    ask = "import sys; from eval.runs.folder import Run; Run.start(sys.argv[1], {})"
    with Run.start(tmp_path / "run", manifest()):
        done = subprocess.run(
            [sys.executable, "-c", ask, str(tmp_path / "run")],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode != 0
    assert "Another process is at work" in done.stderr


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        Run.start(tmp_path / "file" / "run", manifest())


def test_a_new_task_may_have_longer_replies(tmp_path):
    longer = a_task(name="gsm8k", fingerprint="g", max_tokens={"a": 256}, settings={})
    with Run.start(tmp_path / "run", manifest()):
        pass
    pool = [{**manifest()["pool"][0], "max_tokens": 256}]
    with Run.start(tmp_path / "run", manifest(pool=pool, tasks=[longer])) as run:
        assert [task["name"] for task in run.manifest["tasks"]] == ["sums", "gsm8k"]
    with pytest.raises(ConfigurationError, match="sums max_tokens"):
        Run.start(tmp_path / "run", manifest(tasks=[a_task(max_tokens={"a": 99})]))


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        ({"version": 1}, "command: Field required"),
        (
            manifest(tasks=[a_task(), without(a_task(), "choices")]),
            r"tasks\[2\]\.choices: Field required",
        ),
        (
            manifest(tasks=[a_task(choices={"searched": {"members": "ab"}})]),
            r"tasks\[1\]\.choices\.searched\.members: .* list",
        ),
        (manifest(methods=[{"id": "slm_mux"}]), r"methods\[1\]\.title: Field required"),
        (manifest(pool=[]), "pool: .* at least 1 item"),
        (manifest(k="3"), "k: Input should be a valid integer"),
        (manifest(notes=None), "notes: Input should be a valid list"),
    ],
)
def test_a_damaged_manifest_names_the_missing_part(tmp_path, damaged, told):
    (tmp_path / "run.json").write_text(json.dumps(damaged))
    with pytest.raises(
        DataError,
        match=f"is not a run folder, or its run.json is damaged .it is wrong at {told}",
    ):
        Run.open(tmp_path)


@pytest.mark.parametrize(
    ("damaged", "told"),
    [
        (row(1, score=None), "score: Input should be a valid number"),
        (row(1, score=float("nan")), "score: Input should be a finite number"),
        (without(row(1), "inputs"), "inputs: Field required"),
        (without(row(1), "ballots"), "ballots: Field required"),
        (row(1, seconds="0.5"), "seconds: Input should be a valid number"),
        (
            row(
                1,
                ballots=[
                    {"member": "a", "votes": [1], "answers": [an_answer()], "abstentions": {}}
                ],
            ),
            "a vote is for none of",
        ),
        (
            row(
                1,
                ballots=[
                    {
                        "member": "a",
                        "votes": [0],
                        "answers": [without(an_answer(), "score")],
                        "abstentions": {},
                    }
                ],
            ),
            "score",
        ),
        (
            row(1, turns=[a_turn(), without(a_turn(), "group")]),
            r"turns\[2\]\.group: Field required",
        ),
        (
            row(1, turns=[a_turn(text=None)]),
            r"turns\[1\]\.text: Input should be an instance of str",
        ),
    ],
)
def test_every_table_names_the_damaged_line(tmp_path, damaged, told):
    (tmp_path / "run.json").write_text(json.dumps(manifest()))
    (tmp_path / "results.jsonl").write_text(
        "".join(json.dumps(each) + "\n" for each in (row(0), damaged, row(2)))
    )
    reads = (
        lambda: write(tmp_path, tmp_path / "report.html"),
        lambda: Comparison.of(Run.open(tmp_path)),
    )
    groupthink = {
        "task": None,
        "method": None,
        "judge": None,
        "as_json": True,
        "as_markdown": False,
    }
    for read in (
        *reads,
        lambda: table.run(tmp_path, **groupthink),
        lambda: Run.open(tmp_path).done(),
    ):
        with pytest.raises(
            DataError,
            match=rf"Line 2 of .*results\.jsonl. is not a row of a run .it .*{told}.*remove it",
        ):
            read()


def test_half_a_character_is_text(tmp_path):
    told = row(
        0,
        answer="\ud83d",
        member="\ud83d",
        turns=[a_turn(text="\ud83d", cause="\ud83d")],
        inputs={"\ud83d": "\ud83d"},
    )
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(told)
    assert list(Run.open(tmp_path / "run").rows()) == [told]


def test_keys_that_nobody_reads_are_left_alone(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(manifest(further=1, tasks=[a_task(further=1)])))
    told = row(0, further=1, turns=[a_turn(further=1)])
    (tmp_path / "results.jsonl").write_text(json.dumps(told) + "\n")
    assert list(Run.open(tmp_path).rows()) == [told]


def full_disk(monkeypatch, path):
    """Whatever is opened at this path to be written fails as on a full disk."""
    opened = type(path).open

    def fails(self, mode="r", *arguments, **options):
        if self == path and "r" not in mode.replace("r+", ""):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return opened(self, mode, *arguments, **options)

    monkeypatch.setattr(type(path), "open", fails)
    monkeypatch.setattr(
        type(path), "write_text", lambda self, text, **options: fails(self, "w").write(text)
    )


@pytest.mark.parametrize(
    "name", ["run.json.part", "results.jsonl", "table.md.part", "table.json.part"]
)
def test_a_full_disk_is_a_storage_error(tmp_path, monkeypatch, name):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0))
        full_disk(monkeypatch, tmp_path / "run" / name)

        def go_on():
            run.save()
            run.append(row(1))
            write_table(run)

        with pytest.raises(
            StorageError,
            match="could not be written.*No space left on device.: fix that and run again",
        ):
            go_on()
    monkeypatch.undo()
    assert next(Run.open(tmp_path / "run").rows()) == row(0)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with Run.start(tmp_path / "run", manifest()):
        pass
    (tmp_path / "run" / "results.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"results\.jsonl. cannot be read: Is a directory"):
        list(Run.open(tmp_path / "run").rows())
    with pytest.raises(StorageError, match="cannot be resumed .Is a directory.: fix that"):
        Run.start(tmp_path / "run", manifest())
