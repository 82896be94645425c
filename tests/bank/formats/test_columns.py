"""Values of columns as tables and logs hold them: pandas' numbers, CSV's text, scorers' letters."""

from __future__ import annotations

import codecs
import gzip
import json
from datetime import datetime, timezone

import pytest

from dspy_mux import DataError, read_jsonl
from dspy_mux.bank.columns import plain
from dspy_mux.bank.formats.layout import Layout
from dspy_mux.bank.import_export import import_file

from ...support.limits import within
from ...support.records import same, some_rows
from ...support.rows import a_row, jsonl

NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ({"draw": 0.0}, {"draw": 0}),
        ({"draw": "3.0"}, {"draw": 3}),
        ({"draw": float("nan")}, {}),
        ({"draw": ""}, {}),
        ({"draw": 0.5}, {"draw": 0.5}),
        ({"draw": True}, {"draw": True}),
        ({"question_id": 7.0}, {"question_id": 7}),
        ({"question_id": 7.5}, {"question_id": "7.5"}),
        ({"question_id": "007"}, {"question_id": "007"}),
        ({"correct": "C"}, {"correct": True}),
        ({"correct": "I"}, {"correct": False}),
        ({"score": "P"}, {"score": 0.5}),
        ({"score": "N"}, {"score": False}),
        ({"correct": "True"}, {"correct": True}),
        ({"score": "0.25"}, {"score": 0.25}),
        ({"correct": "yes"}, {"correct": "yes"}),
        ({"created": "2026-01-31T12:00:00Z"}, {"created": NOON}),
        ({"created": "2026-01-31 12:00:00"}, {"created": NOON}),
        ({"created": "2026-01-31T13:00:00+01:00"}, {"created": NOON}),
        ({"created": datetime(2026, 1, 31, 12)}, {"created": NOON}),
        ({"created": NOON * 1000}, {"created": NOON}),
        ({"created": "soon"}, {"created": "soon"}),
        ({"prompt_tokens": "12", "cost": "1e-4"}, {"prompt_tokens": 12, "cost": 1e-4}),
        ({"cost": float("nan")}, {}),
        ({"token_logprobs": "[-0.5, -1]"}, {"token_logprobs": [-0.5, -1]}),
        ({"level": "7", "answer": "8.0"}, {"level": "7", "answer": "8.0"}),
    ],
)
def test_a_column_is_read_in_the_forms_of_tables(said, read):
    found = plain(said)
    assert found == read
    assert [type(value) for value in found.values()] == [type(value) for value in read.values()]


def test_pandas_rows_are_those_that_it_read(bank, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    rows = some_rows()
    frame = pandas.DataFrame(rows)
    # A cell that is empty makes its column one of floats.
    frame = pandas.concat([frame, pandas.DataFrame([a_row("q9", "a", None, "x", None)])])
    frame.to_parquet(tmp_path / "rows.parquet")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    path = jsonl(tmp_path / "rows.jsonl", [*rows, a_row("q9", "a", 0, "x", None)])
    import_file(bank, tmp_path / "rows.parquet", dataset="parquet")
    import_file(bank, tmp_path / "rows.csv", dataset="csv")
    for dataset in ("parquet", "csv"):
        assert same(bank.record(dataset=dataset), read_jsonl(path), fields=False)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "json"])
def test_a_byte_order_mark_is_no_part_of_the_first_name(bank, tmp_path, ending):
    texts = {
        "jsonl": json.dumps(a_row()) + "\n",
        "csv": "question_id,model,answer,correct\nq0,a,x,true\n",
        "json": json.dumps([a_row()]),
    }
    (tmp_path / f"rows.{ending}").write_bytes(codecs.BOM_UTF8 + texts[ending].encode())
    import_file(bank, tmp_path / f"rows.{ending}")
    assert bank.record().scores.tolist() == [[[1.0]]]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_csv_is_separated_as_its_first_line_is(bank, tmp_path, mark):
    head = mark.join(["question", "model", "answer", "correct"])
    row = mark.join(['"What is\n9 + 9?"', "a", '"1,8; | \t"', "C"])
    with gzip.open(tmp_path / "rows.csv.gz", "wt", newline="") as file:
        file.write(f"{head}\n{row}\n")
    import_file(bank, tmp_path / "rows.csv.gz")
    (drawn,) = bank.rows()
    assert (drawn["answer"], drawn["question"]) == ("1,8; | \t", "What is\n9 + 9?")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("question_id,model,answer\nq0,a\n", r"Row 1 of .* has 2 columns"),
        ("question_id,model,answer\nq0,a,x\nq1,a,x,y\n", r"Row 2 of .* has 4 columns"),
        ("question_id,answer,answer\nq0,a,x\n", "names a column twice"),
        ("question_id,answer,answer \nq0,a,x\n", "names a column twice"),
        ("question_id,model,answer,draw\nq0,a,x,first\n", r"Row 1 of .* draw 'first'"),
        ("question_id,model,answer,score\nq0,a,x,good\n", r"Row 1 of .* score 'good'"),
        ("question_id,answer\nq0,x\n", r"Row 1 of .* needs a model.* --model NAME"),
        (
            "question,reply,llm\n9 + 9?,18,small\n",
            r"needs a model.* --model NAME; its columns are question, reply, llm: .*"
            r"--map question=COLUMN,answer=COLUMN,model=COLUMN\.$",
        ),
        ("question,reply,model\n9 + 9?,18,a\n", r"has no answer; its columns are .* as in --map"),
    ],
)
def test_a_row_of_csv_that_is_not_understood_is_named(bank, tmp_path, text, told):
    (tmp_path / "rows.csv").write_text(text)
    with pytest.raises(DataError, match=told):
        import_file(bank, tmp_path / "rows.csv")
    assert not bank.exists()


def test_a_reply_longer_than_csv_allows_by_itself_is_read(bank, tmp_path):
    long = "so " * 100_000
    (tmp_path / "rows.csv").write_text(f"question_id,text,answer\nq0,{long},x\n")
    import_file(bank, tmp_path / "rows.csv", layout=Layout(model="a"))
    assert [row["outputs"] for row in bank.rows()] == [{"text": long}]


def test_a_megabyte_of_digits_is_read_or_left_soon():
    text = "1" * 2**20 + "x"
    with within(5):
        assert plain({"score": text})["score"] == text
