from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from dspy_mux import ConfigurationError
from eval.runs import VERSION, Run


def manifest(**changes):
    return {
        "version": VERSION,
        "command": "python -m eval compare",
        "versions": {},
        "seed": 0,
        "split": "test",
        "limit": None,
        "validation_limit": None,
        "k": 3,
        "temperature": 0.5,
        "pool": [{"name": "a", "model": "m/a", "adapter": None, "temperature": 0.5, "max_tokens": 16}],
        "tasks": [{"name": "sums", "fingerprint": "f", "context": None, "max_tokens": {"a": 16}, "settings": {"slm_mux": "one"}}],
        "methods": [{"id": "slm_mux", "settings": {"k": 3}}],
        "notes": [],
        **changes,
    }


def row(number, **changes):
    return {"task": "sums", "method": "slm_mux", "settings": "one", "question_id": f"q{number}", "score": 1.0, **changes}


def test_rows_come_back_in_the_order_they_were_added(tmp_path):
    with Run.start(tmp_path / "run", manifest()) as run:
        for number in range(3):
            run.append(row(number, answer="é|\n"))
    assert list(Run.open(tmp_path / "run").rows()) == [row(number, answer="é|\n") for number in range(3)]


def test_rows_of_many_threads_never_mix(tmp_path):
    with Run.start(tmp_path / "run", manifest()) as run:
        threads = [
            threading.Thread(target=lambda n=n: [run.append(row(f"{n}-{i}", text="x" * 5000)) for i in range(20)]) for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len({each["question_id"] for each in Run.open(tmp_path / "run").rows()}) == 160


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_last_line_that_was_cut_short_is_left_out_and_then_mended(tmp_path, cut):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0))
        run.append(row(1))
    rows = tmp_path / "run" / "results.jsonl"
    rows.write_bytes(rows.read_bytes()[:-cut])
    assert [each["question_id"] for each in Run.open(tmp_path / "run").rows()] == ["q0", "q1"][: 2 if cut == 1 else 1]
    with Run.start(tmp_path / "run", manifest()) as run:
        assert {question for *_, question in run.done()} == {"q0"}
        run.append(row(1))
    assert rows.read_bytes().count(b"\n") == 2
    assert [each["question_id"] for each in Run.open(tmp_path / "run").rows()] == ["q0", "q1"]


@pytest.mark.parametrize("damage", ["no json\n", "[]\n", '{"task": "sums"}\n'])
def test_a_damaged_line_in_the_middle_is_told_with_its_number(tmp_path, damage):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0))
    rows = tmp_path / "run" / "results.jsonl"
    rows.write_text(rows.read_text() + damage + json.dumps(row(1)) + "\n")
    with pytest.raises(ConfigurationError, match=r"Line 2 of .*results\.jsonl"):
        list(Run.open(tmp_path / "run").rows())


def test_rows_of_settings_that_were_replaced_are_left_out(tmp_path):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0, settings="old", score=0.0))
        run.append(row(0))
    assert [each["settings"] for each in Run.open(tmp_path / "run").rows()] == ["one"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is no run folder"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="is no run folder"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(manifest(version=VERSION + 1)))
    with pytest.raises(ConfigurationError, match="newer version"):
        Run.open(tmp_path)


def test_reading_a_run_changes_nothing_in_it(tmp_path):
    with Run.start(tmp_path / "run", manifest()) as run:
        run.append(row(0))
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    list(Run.open(tmp_path / "run").rows())
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_two_processes_are_not_let_onto_one_run(tmp_path):
    ask = "import sys; from eval.runs import Run; Run.start(sys.argv[1], {})"
    with Run.start(tmp_path / "run", manifest()):
        done = subprocess.run([sys.executable, "-c", ask, str(tmp_path / "run")], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "Another process is at work" in done.stderr


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Run.start(tmp_path / "file" / "run", manifest())


def test_a_run_goes_on_with_longer_replies_for_a_new_task_alone(tmp_path):
    longer = {"name": "gsm8k", "fingerprint": "g", "context": None, "max_tokens": {"a": 256}, "settings": {}}
    with Run.start(tmp_path / "run", manifest()):
        pass
    pool = [{**manifest()["pool"][0], "max_tokens": 256}]
    with Run.start(tmp_path / "run", manifest(pool=pool, tasks=[longer])) as run:
        assert [task["name"] for task in run.manifest["tasks"]] == ["sums", "gsm8k"]
    with pytest.raises(ConfigurationError, match="sums max_tokens"):
        Run.start(tmp_path / "run", manifest(tasks=[{**manifest()["tasks"][0], "max_tokens": {"a": 99}}]))


def test_a_manifest_that_lacks_a_part_is_damaged(tmp_path):
    (tmp_path / "run.json").write_text('{"version": 1}')
    with pytest.raises(ConfigurationError, match="is no run folder, or its run.json is damaged"):
        Run.open(tmp_path)
