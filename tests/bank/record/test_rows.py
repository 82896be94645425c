"""Reading recorded draws: what counts as what."""

from __future__ import annotations

import numpy as np
import pytest

from dspy_mux import SampleBank
from dspy_mux.bank.import_export import import_file
from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.bank.record import MISSING
from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.replay import replay
from dspy_mux.voting.tally import ABSTAINED

from .rows import row, without


def test_draws_stand_by_question_member_and_draw_in_the_order_first_met(write):
    record = read_jsonl(
        write(
            row("q2", "b", "x", draw=1),
            row("q2", "b", "y", draw=0),
            row("q1", "a", "z", draw=0),
            row("q1", "b", "z", draw=1),
        )
    )
    assert (record.members, record.questions) == (("b", "a"), ("q2", "q1"))
    assert record.votes.tolist() == [[[1, 0], [MISSING, MISSING]], [[0, MISSING], [0, MISSING]]]


def test_a_row_without_a_draw_is_the_member_s_next_one(write):
    record = read_jsonl(
        write(
            row(answer="x"),
            row(model="b"),
            row(answer="y"),
            row(answer="x", draw=5),
            row(answer="z"),
        )
    )
    assert record.votes[0, 0].tolist() == [0, 2, 0, 3]


def test_the_key_member_says_what_model_says(write):
    record = read_jsonl(write({"question_id": 7, "member": "a", "answer": "x", "score": 1}))
    assert (record.members, record.questions) == (("a",), ("7",))


@pytest.mark.parametrize("answer", ["", None, "  \n"])
def test_an_empty_answer_is_an_abstention_whatever_its_score(write, answer):
    record = read_jsonl(write(row(answer=answer), row(answer="x")))
    assert record.votes.tolist() == [[[ABSTAINED, 0]]]
    assert record.scores.tolist() == [[[0.0, 1.0]]]


def test_answers_are_the_same_where_their_text_is(write):
    answers = ["1", " 1 ", 1, "01", True, "true", [1, 2], {"b": 1, "a": 2}, {"a": 2, "b": 1}]
    record = read_jsonl(write(*[row(answer=answer) for answer in answers]))
    assert record.votes[0, 0].tolist() == [0, 0, 0, 1, 2, 2, 3, 4, 4]


def test_answers_are_the_same_where_their_class_is(write):
    record = read_jsonl(
        write(
            row(answer="one", answer_class=7),
            row(answer="1", answer_class=7),
            row(answer="1", answer_class=8),
            row(answer="7"),
            row(answer="", answer_class=7),
            row(answer="8", answer_class=None),
        )
    )
    assert record.votes[0, 0].tolist() == [0, 0, 1, 2, ABSTAINED, 3]


def test_the_same_answer_to_another_question_is_another_matter(write):
    record = read_jsonl(write(row("q1", answer="x"), row("q2", answer="y"), row("q2", answer="x")))
    assert record.votes.tolist() == [[[0, MISSING]], [[0, 1]]]


def test_correct_goes_before_score_and_either_will_do(write):
    record = read_jsonl(
        write(
            row(correct=True, score=0.25),
            without(row(score=0.25), "correct"),
            row(correct=0),
            row(correct=False),
            without(row(score=2), "correct"),
        )
    )
    assert record.scores[0, 0].tolist() == [1.0, 0.25, 0.0, 0.0, 2.0]


def test_a_draw_never_scored_is_read_and_has_no_score(write):
    record = read_jsonl(write(row(), without(row(), "correct"), row(correct=None)))
    assert np.isnan(record.scores[0, 0]).tolist() == [False, True, True]


def test_equal_answers_may_be_graded_differently(write):
    record = read_jsonl(write(row(), row(correct=False)))
    assert (record.votes.tolist(), record.scores.tolist()) == ([[[0, 0]]], [[[1.0, 0.0]]])


def test_what_is_told_of_a_question_is_a_field_and_what_is_told_of_a_draw_is_none(write):
    record = read_jsonl(
        write(
            row(
                "q1",
                task="sums",
                level=3,
                text="so 1",
                seconds=2.0,
                cost=0.1,
                cause=None,
                options=["x"],
            ),
            row("q1", task="ignored: the first row tells"),
            row("q2", split=None),
        )
    )
    assert {name: record.fields[name] for name in ("task", "level", "split")} == {
        "task": ("sums", None),
        "level": ("3", None),
        "split": (None, None),
    }
    assert not {"text", "seconds", "cost", "cause", "answer", "model", "correct", "options"} & set(
        record.fields
    )
    assert record.field("task") == ["sums", ""]
    with pytest.raises(ConfigurationError, match="has no field 'topic'; its questions have .*task"):
        record.field("topic")


def test_what_draws_took_is_read_and_what_is_unknown_is_none(write):
    took = {"prompt_tokens": 20, "completion_tokens": 3, "cost": 0.5}
    record = read_jsonl(
        write(
            row("q1", calls=2, **took),
            row("q1", calls=None, **{**took, "completion_tokens": None}),
            row("q2", calls=3, cost=None),
        )
    )
    assert np.array_equal(record.calls[:, 0], [[2, np.nan], [3, np.nan]], equal_nan=True)
    assert np.array_equal(record.tokens[:, 0], [[23, np.nan], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(record.cost[:, 0], [[0.5, 0.5], [np.nan, np.nan]], equal_nan=True)
    untold = read_jsonl(write(row("q1"), row("q2", cost=None)))
    assert (untold.calls, untold.tokens, untold.cost) == (None, None, None)


def test_the_same_rows_take_the_same_in_a_file_and_in_a_bank(write, tmp_path):
    took = {"prompt_tokens": 20, "completion_tokens": 3}
    path = write(
        *[
            row(f"q{n}", m, "x", draw=d, calls=1 + d, cost=0.1 * n, **took)
            for n in range(6)
            for m in "ab"
            for d in range(2)
        ]
    )
    bank = SampleBank(tmp_path / "bank.sqlite")
    import_file(bank, path)
    for name in ("calls", "tokens", "cost"):
        assert np.array_equal(getattr(read_jsonl(path), name), getattr(bank.record(), name))
    told = [
        replay(source.of(None, None)[0], "pooled").as_dict()
        for source in (read_jsonl(path), bank.record())
    ]
    assert told[0] == told[1]
    assert told[0]["calls_per_question"] == 6
