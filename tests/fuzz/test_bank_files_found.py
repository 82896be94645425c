"""Files of draws that the fuzz tests once found to break an import or export."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.errors import ConfigurationError, DataError, StorageError

from ..support.imports import a_bank, imported, jsonl
from ..support.records import renamed, same

GOOD = {"question_id": "q0", "model": "a", "draw": 0, "answer": "x", "correct": True}
REFUSED = {
    "a score beyond all numbers": ({"correct": 10**400}, "has the score"),
    "a score that 32 bits cannot hold": ({"correct": 1e300}, "has the score"),
    "half a call": ({"calls": 2.5}, "has calls 2.5, which must be a whole number"),
    "fewer tokens than none": ({"prompt_tokens": -1}, "must be a whole number"),
    "more tokens than a bank can count": ({"completion_tokens": 10**30}, "must be a whole number"),
    "a time that is none": ({"created": "soon"}, "has created 'soon'"),
    "an endless time": ({"seconds": float("inf")}, "has seconds inf"),
    "a dataset of half a character": ({"dataset": "\ud800"}, "has the dataset"),
    "a dataset that is a number": ({"dataset": 5}, "has the dataset 5, which must be text"),
    "a program that is a number": ({"program": 5}, "has the program 5, which must be text"),
    "a fingerprint of half a character": (
        {"question_fingerprint": "\ud800"},
        "has the question_fingerprint",
    ),
    "a NUL in a name": ({"model": "a\0b"}, "needs a model"),
    "a class that is an object": ({"answer_class": {"a": 1}}, "has the answer_class"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_row_no_bank_can_hold_is_refused(what):
    wrong, told = REFUSED[what]
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl([GOOD, {**GOOD, "draw": 1, **wrong}]))
        with pytest.raises(DataError, match=f"Line 2 of .* {told}") as caught:
            import_file(bank, folder / "a.jsonl")
        assert len(str(caught.value)) < 500
        assert not bank.exists()


def test_an_answer_nested_beyond_all_readers_is_refused():
    with a_bank() as (bank, folder):
        deep = "[" * 900 + "]" * 900
        (folder / "a.jsonl").write_text(
            f'{{"question_id": "q", "model": "a", "answer": {deep}, "answer_class": {deep}}}\n'
        )
        assert not imported(bank, folder / "a.jsonl")


@pytest.mark.parametrize("names", [(None, ""), (None, "default"), ("", "default")])
def test_a_repeated_draw_of_any_dataset_is_refused(names):
    rows = [{**GOOD, "dataset": name} if name is not None else GOOD for name in names]
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl(rows))
        with pytest.raises(DataError, match="Line 2 of .* repeats draw 0 of 'a'"):
            import_file(bank, folder / "a.jsonl")


@pytest.mark.parametrize("names", [(None, ""), (None, "imported"), ("", "imported")])
def test_a_repeated_draw_of_any_program_is_refused(names):
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl([{**GOOD, "program": name} for name in names]))
        with pytest.raises(DataError, match="Line 2 of .* repeats draw 0 of 'a'"):
            import_file(bank, folder / "a.jsonl")


def test_questions_with_different_fingerprints_stay_apart():
    rows = [
        {**GOOD, "question_fingerprint": key, "answer": key, "draw": draw}
        for key in ("one", "two")
        for draw in (0, 1)
    ]
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl(rows))
        assert imported(bank, folder / "a.jsonl")
        record = bank.record()
        assert (record.questions, record.votes.tolist()) == (("q0", "q0"), [[[0, 0]], [[0, 0]]])
        same(record, read_jsonl(folder / "a.jsonl"), fields=False)


def test_a_question_with_half_its_fingerprints_is_refused():
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl([GOOD]))
        import_file(bank, folder / "a.jsonl")
        key = next(bank.rows())["question_fingerprint"]
        (folder / "b.jsonl").write_bytes(
            jsonl([GOOD, {**GOOD, "draw": 1, "question_fingerprint": key}])
        )
        with pytest.raises(
            DataError,
            match="one question with its question_fingerprint, and rows without it",
        ):
            import_file(bank, folder / "b.jsonl")


def test_a_file_of_draws_by_two_programs_is_no_record():
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(
            jsonl([{**GOOD, "program": "p"}, {**GOOD, "program": "q", "answer": "y"}])
        )
        with pytest.raises(
            DataError, match="holds draws of 'a' by several programs, which never mix"
        ):
            read_jsonl(folder / "a.jsonl")
        assert import_file(bank, folder / "a.jsonl").added == 2


def test_file_and_bank_compare_answers_alike():
    told = [("x", 0), ("x", None), ("y", 0), ("z", 1), (float("nan"), None), ("z", None)]
    rows = [
        {**GOOD, "draw": draw, "answer": answer, "answer_class": number}
        for draw, (answer, number) in enumerate(told)
    ]
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl(rows))
        import_file(bank, folder / "a.jsonl")
        assert (
            renamed(bank.record().votes)
            == renamed(read_jsonl(folder / "a.jsonl").votes)
            == [[0, 0, 0, 1, -1, 1]]
        )


def test_a_dataset_that_no_row_names_is_refused():
    with a_bank() as (_, folder):
        (folder / "a.jsonl").write_bytes(jsonl([GOOD]))
        with pytest.raises(ConfigurationError, match="no dataset 'd'; it has rows that name none"):
            read_jsonl(folder / "a.jsonl", dataset="d")


def parquet_of(folder, **columns):
    told = {
        "question_id": pa.array(["q0", "q1"]),
        "model": pa.array(["a", "a"]),
        "answer": pa.array(["x", "y"]),
        **columns,
    }
    pq.write_table(pa.table(told), folder / "a.parquet")
    return folder / "a.parquet"


def test_values_unknown_to_json_become_text():
    day = pa.array([0, 1], pa.date32())
    with a_bank() as (bank, folder):
        import_file(bank, parquet_of(folder, day=day, raw=pa.array([b"\xff", None])))
        assert bank.record().fields["day"] == ("1970-01-01", "1970-01-02")
    with a_bank() as (bank, folder):
        with pytest.raises(
            DataError,
            match="Row 1 of .* has the answer datetime.date.*, which JSON cannot hold",
        ):
            import_file(bank, parquet_of(folder, answer=day))
        assert not bank.exists()


def test_parquet_values_that_python_cannot_hold_are_told():
    text = pa.Array.from_buffers(
        pa.string(), 2, pa.array([b"\xff\xfe", b"x"], pa.binary()).buffers()
    )
    for wrong in (text, pa.array([2**60, 0], pa.timestamp("ms"))):
        with a_bank() as (bank, folder):
            assert not imported(bank, parquet_of(folder, task=wrong))


def test_a_file_that_cannot_be_written_is_named():
    with a_bank() as (bank, folder):
        (folder / "a.jsonl").write_bytes(jsonl([GOOD]))
        import_file(bank, folder / "a.jsonl")
        for name in ("x" * 300 + ".jsonl", "x" * 300 + ".parquet"):
            with pytest.raises(StorageError, match="cannot be written: .*File name too long"):
                export_file(bank, folder / name)
