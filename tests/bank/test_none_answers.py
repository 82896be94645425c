"""None as an answer, where the type admits it: recorded, exported, imported and replayed as one."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import Member, SampleBank, SLMMux, collect
from dspy_mux.bank.import_export import export_file, import_file

from ..support.scripted import scripted_lm


class Find(dspy.Signature):
    question: str = dspy.InputField()
    answer: int | None = dspy.OutputField()


def right(example, pred, trace=None):
    return example.answer == pred.answer


@pytest.fixture
def mux():
    replies = {"a": lambda *_: {"answer": "None"}, "b": lambda _, draw: ({"answer": 5}, "?")[draw]}
    return SLMMux(
        dspy.Predict(Find),
        [Member(scripted_lm(name, replies[name]), name=name) for name in "ab"],
        k=2,
    )


def test_none_is_recorded_and_travels_as_an_answer(mux, tmp_path):
    examples = [
        dspy.Example(question=text, answer=gold).with_inputs("question")
        for text, gold in (("x", None), ("y", 5))
    ]
    bank = SampleBank(tmp_path / "bank.sqlite")
    done = collect(mux, examples, right, bank, dataset="d", num_threads=1)
    assert (done.drawn, done.abstained) == (8, 2)
    votes = bank.record().votes.tolist()
    for (first, again), (other, absent) in votes:  # numbered in the order they arrived
        assert (first, absent) == (again, -1)
        assert {first, other} == {0, 1}
    assert bank.record().scores[:, 0].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    export_file(bank, tmp_path / "rows.jsonl")
    other = SampleBank(tmp_path / "other.sqlite")
    import_file(other, tmp_path / "rows.jsonl")
    assert other.record().votes.tolist() == votes
    assert collect(mux, examples, right, other, dataset="d").drawn == 0
