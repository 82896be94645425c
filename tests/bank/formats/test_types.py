"""Answers that are read by a type or a task: found in texts, compared and scored at import."""

from __future__ import annotations

import sys

import pytest

from dspy_mux import ConfigurationError, SampleBank, answer_kind
from dspy_mux.bank.answer_reading import AnswerReading
from dspy_mux.bank.formats.layout import Layout
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.errors import MetricFailed
from dspy_mux.voting.tally import ABSTAINED

from ...support.records import renamed
from ...support.rows import a_row, jsonl

FLOAT = AnswerReading.of_type("float")


def draws(*answers, **fields):
    return [
        {
            **{k: v for k, v in a_row(draw=at, answer=one).items() if k != "correct"},
            **fields,
        }
        for at, one in enumerate(answers)
    ]


def test_as_text_they_are_three_answers_and_by_type_one(bank, tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", draws("18", "18.00", "$18", "17"))
    told = import_file(bank, path, dataset="text")
    read = import_file(bank, path, dataset="float", reading=FLOAT)
    assert (told.compared, read.compared) == ("text", "float")
    assert bank.record(dataset="text").votes.tolist() == [[[0, 1, 2, 3]]]
    assert bank.record(dataset="float").votes.tolist() == [[[0, 0, 0, 1]]]


@pytest.mark.parametrize(
    ("kind", "texts", "classes"),
    [
        ("float", ["So it is 18.", "Answer: $18.00", "I do not know."], [0, 0, ABSTAINED]),
        ('Literal["A", "B"]', ["The answer is (B).", "B", "A"], [0, 0, 1]),
        ("MathAnswer", [r"\boxed{1/2}", r"\boxed{0.5}", r"\boxed{2}"], [0, 0, 1]),
        ("str", ["Paris", "**Paris**.", "paris"], [0, 0, 0]),
        ("int | None", ["Answer: 7", "not found", "Answer: null"], [0, 1, 1]),
        ("list[str]", ['["a", "b"]', '["a","b"]', '["b"]'], [0, 0, 1]),
        ("bool", ["Yes, it does.", "True", "no"], [0, 0, 1]),
    ],
)
def test_the_texts_of_replies_are_read_by_a_type(bank, tmp_path, kind, texts, classes):
    rows = [{"question_id": "q", "model": "a", "text": text} for text in texts]
    done = import_file(
        bank, jsonl(tmp_path / "rows.jsonl", rows), reading=AnswerReading.of_type(kind)
    )
    assert bank.record().votes.tolist() == [[classes]]
    assert done.unread == classes.count(ABSTAINED)


def test_a_text_that_was_cut_off_has_only_what_it_states_in_full(bank, tmp_path):
    rows = draws(None, text="First 12, then 1", finish_reason="length")
    import_file(bank, jsonl(tmp_path / "rows.jsonl", rows), reading=FLOAT)
    assert [row["cause"] for row in bank.rows()] == ["cut off at max_tokens"]


def test_scores_of_the_file_stay_and_missing_ones_are_by_the_right_answer(bank, tmp_path):
    rows = draws("18", "$18", "17", gold="18.0")
    rows[1]["correct"] = "I"
    done = import_file(bank, jsonl(tmp_path / "rows.jsonl", rows), reading=FLOAT)
    assert bank.record().scores.tolist() == [[[1.0, 0.0, 0.0]]]
    assert "2 answers without a score" in done.notes[0]


def test_draws_of_unknown_temperature_go_with_the_others_of_their_member(bank, tmp_path):
    rows = [*draws("18", "18.0"), *draws("$18", temperature=0.5, question_id="q1")]
    import_file(bank, jsonl(tmp_path / "rows.jsonl", rows), reading=FLOAT)
    assert bank.record().votes.tolist() == [[[0, 0]], [[0, -2]]]


def test_two_files_are_compared_with_each_other(bank, tmp_path):
    kind = AnswerReading.of_type("MathAnswer")
    import_file(bank, jsonl(tmp_path / "a.jsonl", draws("1/2", "3")), reading=kind)
    others = [{**row, "model": "b"} for row in draws("3.0", "0.5", "4")]
    import_file(bank, jsonl(tmp_path / "b.jsonl", others), reading=kind)
    assert renamed(bank.record().votes) == [[0, 1, -2, 1, 0, 2]]


def test_an_answer_that_joins_two_recorded_ones_makes_them_one(bank, tmp_path):
    def near(one, other):
        return abs(float(one) - float(other)) <= 1

    reading = AnswerReading("near", answer_kind(str, near))
    import_file(bank, jsonl(tmp_path / "a.jsonl", draws("1", "3")), reading=reading)
    assert bank.record().votes.tolist() == [[[0, 1]]]
    more = [{**row, "draw": 2} for row in draws("2")]
    import_file(bank, jsonl(tmp_path / "b.jsonl", more), reading=reading)
    assert bank.record().votes.tolist() == [[[0, 0, 0]]]


def test_a_file_imported_twice_by_type_adds_nothing(bank, tmp_path):
    rows = [{k: v for k, v in row.items() if k != "draw"} for row in draws("18", "18.00")]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    assert import_file(bank, path, reading=FLOAT).added == 2
    before = list(bank.rows())
    assert import_file(bank, path, reading=FLOAT).already == 2
    assert list(bank.rows()) == before


def test_a_file_that_was_imported_as_text_is_known_again(bank, tmp_path):
    rows = [{k: v for k, v in row.items() if k != "draw"} for row in draws("18", "18.00")]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    import_file(bank, path)
    done = import_file(bank, path, reading=FLOAT)
    assert (done.added, [row["answer"] for row in bank.rows()]) == (0, ["18", "18.00"])
    assert bank.record().votes.tolist() == [[[0, 0]]]  # they are compared by the type now
    assert "2 draws were there already and keep the answers and scores" in done.notes[0]


def test_what_was_read_by_type_survives_the_way_out_and_in(bank, tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", draws("18", "18.00", "x", "17", gold="18"))
    import_file(bank, path, reading=FLOAT)
    export_file(bank, tmp_path / "out.jsonl")
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / "out.jsonl")
    assert next(iter(other.rows()))["answer"] == 18.0
    assert other.record().votes.tolist() == bank.record().votes.tolist()
    assert other.record().scores.tolist() == bank.record().scores.tolist()


TASK = """
import dspy

def program():
    return dspy.ChainOfThought("question -> answer: float")

def examples():
    return []

def metric(example, prediction, trace=None):
    assert "question" in example, "no question"
    return 1.0 - abs(example.answer - prediction.answer) / 100
"""


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_sums.py").write_text(TASK)
    yield AnswerReading.of_task("own_sums")
    sys.modules.pop("own_sums", None)


def test_a_task_reads_compares_and_scores(bank, tmp_path, task):
    rows = draws(None, None, question="9 + 9?", gold="#### 18", correct=False)
    rows[0]["text"], rows[1]["text"] = "[[ ## answer ## ]]\n18.00", "That makes $8."
    import_file(bank, jsonl(tmp_path / "rows.jsonl", rows), reading=task)
    assert bank.record().scores.tolist() == [[[1.0, pytest.approx(0.9)]]]


def test_a_metric_that_fails_names_the_row_and_nothing_is_written(bank, tmp_path, task):
    rows = [*draws("18", question="9 + 9?", gold="18"), *draws("1", question_id="q1", gold="1")]
    with pytest.raises(MetricFailed, match=r"AssertionError: no question on line 2 of .*rows"):
        import_file(bank, jsonl(tmp_path / "rows.jsonl", rows), reading=task)
    assert not bank.exists()


@pytest.mark.parametrize("text", ["flaot", "float, b: int", "__import__('os')", "", "a -> b"])
def test_a_text_that_is_no_type_is_refused(text):
    with pytest.raises(ConfigurationError, match="is not a type of answers"):
        AnswerReading.of_type(text)


def test_programs_of_the_evaluation_read_what_the_harness_wrote(bank, tmp_path):
    # The gold answers of GSM8K end in a line of their own.
    rows = draws(None, question="9 + 9?", target="9 and 9 make 18.\n#### 18")
    rows[0]["text"] = "It is 18 dollars."
    import_file(
        bank,
        jsonl(tmp_path / "rows.jsonl", rows),
        reading=AnswerReading.of_task("programs.gsm8k"),
        layout=Layout(),
    )
    assert bank.record().scores.tolist() == [[[1.0]]]
