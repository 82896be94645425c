"""Files of recorded draws: which line, file or dataset is at fault."""

from __future__ import annotations

import json

import pytest

from dspy_mux.bank.files import json_lines
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.errors import ConfigurationError, DataError

from .rows import row, without


def test_a_gzipped_file_reads_as_the_plain_one(write):
    rows = [row(f"q{at % 5}", "ab"[at % 2], str(at % 3), task=str(at % 5)) for at in range(20)]
    plain, packed = read_jsonl(write(*rows)), read_jsonl(write(*rows, name="bank.jsonl.gz"))
    assert (plain.members, plain.questions, plain.fields) == (
        packed.members,
        packed.questions,
        packed.fields,
    )
    assert (plain.votes == packed.votes).all()
    assert (plain.scores == packed.scores).all()


def test_blank_lines_are_skipped_and_counted(write):
    path = write(row(), "", "  ", row())
    assert [number for number, _ in json_lines(path)] == [1, 4]
    assert read_jsonl(str(path)).votes.tolist() == [[[0, 0]]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{broken", "is not JSON: "),
        ("[" * 100_000, "is not JSON: "),
        ("[1, 2]", "is not a JSON object"),
        (without(row(), "question_id"), "needs a question_id"),
        (row(None), "needs a question_id"),
        (row(True), "needs a question_id"),
        (without(row(), "model"), "needs a model"),
        (row(model=["a"]), "needs a model"),
        (without(row(), "answer"), "has no answer"),
        (row(draw=-1), "has the draw -1, which must be a whole number from 0"),
        (row(draw=1.5), "has the draw 1.5"),
        (row(draw=True), "has the draw True"),
        (row(draw=10**9), "has the draw 1000000000"),
        (row(correct="yes"), "has the score 'yes', which must be a number or true or false"),
        (row("q3", draw=0), "repeats draw 0 of 'a' for question 'q3'"),
    ],
)
def test_the_line_at_fault_is_named(write, line, said):
    path = write(*[row(f"q{at}") for at in range(16)], line, row("later"))
    with pytest.raises(DataError) as error:
        read_jsonl(path)
    assert str(error.value).startswith("Line 17 of ")
    assert str(path) in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match="There is no bank '.*nowhere.jsonl'"):
        read_jsonl(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize("name", ["bank.jsonl", "bank.jsonl.gz"])
def test_a_file_without_draws_is_refused(write, name):
    with pytest.raises(DataError, match="holds no draws"):
        read_jsonl(write(name=name))


def test_a_folder_is_no_bank(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_jsonl(tmp_path)


def test_text_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(row()).encode() + b'\n{"answer": "\xe9"}\n')
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_jsonl(path)


def no_gzip(packed):
    return b"plain text"


def cut_off(packed):
    return packed[: len(packed) // 2]


def wrong_sum(packed):
    return packed[:-8] + b"\0" * 8


def damaged(packed):
    return packed[:12] + bytes([packed[12] ^ 0xFF]) + packed[13:]


@pytest.mark.parametrize("harm", [no_gzip, cut_off, wrong_sum, damaged])
def test_a_damaged_gzip_file_is_refused_in_one_sentence(write, harm):
    path = write(
        *[row(f"q{at}", answer=str(at * 7919 % 1000)) for at in range(300)], name="bank.jsonl.gz"
    )
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(DataError, match="cannot be read"):
        read_jsonl(path)


def test_one_of_several_datasets_has_to_be_chosen(write):
    path = write(
        row("q1", dataset="sums"),
        row("q1", dataset="words", answer="x"),
        row("q2", dataset="words"),
    )
    with pytest.raises(ConfigurationError, match="several datasets: choose one of sums, words"):
        read_jsonl(path)
    assert read_jsonl(path, dataset="words").questions == ("q1", "q2")
    assert read_jsonl(path, dataset="sums").questions == ("q1",)
    with pytest.raises(ConfigurationError, match="has no dataset 'songs'; it has sums, words"):
        read_jsonl(path, dataset="songs")
