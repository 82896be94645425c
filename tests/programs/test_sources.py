"""Rows of a task from files in every form, and what is said where they are wrong."""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import dspy
import pytest

from dspy_mux import ConfigurationError, DataError
from programs import sources

ROWS = [
    {"question": f"What is {n} + {n}?", "answer": str(2 * n), "note": 'é, "quoted"\nand broken'}
    for n in range(10)
]


def written(path: Path) -> Path:
    """`ROWS` in the form that the file's name says."""
    plain = path.name.removesuffix(".gz")
    if plain.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    with (
        gzip.open(path, "wt", newline="")
        if path.suffix == ".gz"
        else path.open("w", newline="") as stream
    ):
        if plain.endswith(".jsonl"):
            stream.write("".join(json.dumps(row) + "\n" for row in ROWS))
        elif plain.endswith(".json"):
            json.dump(ROWS, stream)
        else:
            writer = csv.DictWriter(stream, list(ROWS[0]))
            writer.writeheader()
            writer.writerows(ROWS)
    return path


@pytest.mark.parametrize(
    "name", ["r.jsonl", "r.jsonl.gz", "r.json", "r.json.gz", "r.csv", "r.csv.gz", "r.parquet"]
)
def test_every_form_of_file_holds_the_same_rows(tmp_path, name):
    assert [dict(row.columns) for row in sources.read_rows(written(tmp_path / name))] == ROWS


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.txt", "", "has an unknown format"),
        ("x.jsonl", '{"a": 1}\nnot json\n', "Line 2 of .* is not JSON"),
        ("x.json", '{"a": 1}', "must hold a list of objects"),
        ("x.json", "[1]", "Row 1 of .* is not a JSON object"),
        ("x.json", "[" * 100_000, "cannot be read as JSON"),
        ("x.csv", "a,b\n1,2,3\n", "Row 1 of .* has more values than columns"),
        ("x.jsonl.gz", "no gzip", "cannot be read"),
        ("x.parquet", "no parquet", "x.parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, told):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises((ConfigurationError, DataError), match=told):
        list(sources.read_rows(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="There is no file"):
        list(sources.read_rows(tmp_path / "none.jsonl"))


def made(row: sources.Row) -> dspy.Example:
    question = row.text("question")
    return dspy.Example(
        question=question,
        answer=row.text("answer"),
        question_id=sources.question_id("sum", question),
    ).with_inputs("question")


def examples(path, split=None, **arguments):
    return sources.examples("sum", made, sources.Hub("none/none"), split, file=path, **arguments)


def test_a_row_added_later_moves_few_others(tmp_path):
    rows = [{"question": f"q{n}", "answer": "a"} for n in range(200)]
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(rows))
    after.write_text(json.dumps([*rows, {"question": "new", "answer": "a"}]))
    validation = [{e.question for e in examples(path, "validation")} for path in (before, after)]
    assert len(validation[0]) == 40
    assert len(validation[0] ^ validation[1]) <= 2


def test_a_repeated_question_counts_once(tmp_path):
    path = tmp_path / "twice.json"
    path.write_text(json.dumps([*ROWS, ROWS[0]]))
    assert len(examples(path)) == 10
    path.write_text(json.dumps([*ROWS, {**ROWS[0], "answer": "7"}]))
    with pytest.raises(
        DataError,
        match="Row 11 of .* asks the question of row 1 of .* with another answer",
    ):
        examples(path)


def test_wrong_columns_splits_and_limits_are_told(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps([{"question": "?"}] * 5))
    with pytest.raises(DataError, match="Row 1 of .* lacks the column 'answer'; it has question"):
        examples(path)
    path.write_text(json.dumps([{"question": None, "answer": "1"}] * 5))
    with pytest.raises(DataError, match="has None in the column 'question', which must be text"):
        examples(path)
    good = written(tmp_path / "r.json")
    with pytest.raises(
        ConfigurationError, match="sum has no split 'train': choose one of validation, test"
    ):
        examples(good, "train")
    with pytest.raises(ConfigurationError, match="limit is 0"):
        examples(good, limit=0)
    path.write_text(json.dumps(ROWS[:4]))
    with pytest.raises(DataError, match="has 4 questions: at least 5 are needed"):
        examples(path)


def in_a_process(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


def test_without_datasets_the_hub_names_the_extra():
    code = """
import sys
sys.modules["datasets"] = None
from programs import gsm8k
try:
    gsm8k.examples("test", limit=1)
except Exception as error:
    print(type(error).__name__, error)
"""
    told = in_a_process(code)
    assert told.startswith("MissingExtra openai/gsm8k comes from the Hugging Face hub")
    assert "pip install 'dspy-mux[datasets]', or name a local file with --file." in told


def test_a_hub_out_of_reach_is_one_sentence(tmp_path):
    code = """
from programs import gpqa
try:
    gpqa.examples("test", limit=1)
except Exception as error:
    print(type(error).__name__, error)
"""
    told = in_a_process(code, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert told.startswith("DataError Idavidrein/gpqa could not be read from the Hugging Face hub")
    assert "hf auth login" in told
    assert "name a local file with --file." in told
