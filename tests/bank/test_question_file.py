"""Questions and right answers in files: which they are, and how answers are scored by them."""

from __future__ import annotations

import json

import dspy
import pytest

from dspy_mux import DataError
from dspy_mux.bank.question_file import task_of_file
from dspy_mux.mux.signature_text import parse_signature, retyped

FLOAT = parse_signature("question -> answer: float")
ROWS = [
    {"question": "What is 1 + 1?", "answer": 2, "kind": "sum"},
    {"question": "Half of 3, in dollars?", "answer": 1.5, "kind": None},
]


def parquet(path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)


WRITERS = {
    "q.csv": lambda path: path.write_bytes(
        "\ufeffquestion,answer,kind\n".encode()
        + b'What is 1 + 1?,2,sum\n"Half of 3, in dollars?",$1.50,\n'
    ),
    "q.tsv": lambda path: path.write_text(
        "question\tanswer\tkind\nWhat is 1 + 1?\t2\tsum\nHalf of 3, in dollars?\t1.5\t\n"
    ),
    "q.json": lambda path: path.write_text(json.dumps(ROWS)),
    "q.jsonl": lambda path: path.write_text("".join(json.dumps(row) + "\n" for row in ROWS)),
    "q.parquet": parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_of_any_kind_holds_the_same_questions(name, tmp_path):
    WRITERS[name](tmp_path / name)
    task = task_of_file(tmp_path / name, FLOAT)
    first, second = task.examples()
    assert [each.inputs().toDict() for each in (first, second)] == [
        {"question": row["question"]} for row in ROWS
    ]
    assert (task.name, task.splits, first.kind, "kind" in second) == ("q", None, "sum", False)
    assert task.program() is FLOAT
    assert task.metric(second, dspy.Prediction(answer=1.5))
    assert task.metric(first, dspy.Prediction(answer="2.00"))
    assert not task.metric(first, dspy.Prediction(answer=1.5))


def test_inputs_are_read_by_their_types(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("a,b,sum,split\n1,2,3,train\n4,5,9,test\n")
    task = task_of_file(path, parse_signature("a: int, b: float -> sum: int"))
    assert task.examples("test")[0].inputs().toDict() == {"a": 4, "b": 5.0}
    assert task.splits == ("train", "test")
    path.write_text("a,b,sum\nI,2,3\n")
    with pytest.raises(DataError, match=r"Row 1 .* has 'I' in the column 'a', and the program tak"):
        task_of_file(path, parse_signature("a: int, b: float -> sum: int"))
    path = tmp_path / "q.json"
    path.write_text('[{"question": 7, "answer": 2}]')  # a number stands for its text
    assert task_of_file(path, FLOAT).examples()[0].question == "7"


def test_the_right_answer_is_in_the_column_that_is_named(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("question,answer,gold\nWhat is 1 + 1?,3,2\n")
    (example,) = task_of_file(path, FLOAT, answer="gold").examples()
    said = dspy.Prediction(answer=2.0)
    assert task_of_file(path, FLOAT, answer="gold").metric(example, said)
    assert not task_of_file(path, FLOAT).metric(example, said)
    with pytest.raises(DataError, match="The column 'question' .* is an input of the program"):
        task_of_file(path, FLOAT, answer="question")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON"),
        ('{"question": "q?"}', "no column 'answer' with the right answers"),
        ("[1, 2]", "is not a list of objects"),
        ("question,answer\n", "holds no questions"),
        ("question,answer\nq?,\n", "Row 1 .* has nothing in the column 'answer'"),
        ("question,answer\nq?,two,3\n", "has 3 columns"),
    ],
)
def test_mistakes_name_the_row_and_the_column(content, said, tmp_path):
    path = tmp_path / "questions"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        task_of_file(path, FLOAT)


def test_a_type_replaces_that_of_the_answer_alone():
    assert retyped("a, b: int -> reason, answer", "float") == (
        "a: str, b: int -> reason: str, answer: float"
    )
    assert retyped("text -> label", 'Literal["x", "y"]').endswith('label: Literal["x", "y"]')
    assert retyped("text -> value", "MathAnswer").endswith("value: MathAnswer")
    for wrong in ("float, more", "float -> x", "open('x')", ""):
        with pytest.raises(ValueError, match="signature"):
            retyped("question -> answer", wrong)


def test_columns_may_be_called_as_arguments_of_an_example(tmp_path):
    path = tmp_path / "q.json"
    row = {"question": "Half of 3?", "answer": 1.5, "base": {"answer": 2}, "self": "x"}
    path.write_text(json.dumps([row]))
    (example,) = task_of_file(path, FLOAT).examples()
    assert dict(example) == row
