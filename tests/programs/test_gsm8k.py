"""GSM8K: every gold answer passes as models write it, and no other one does."""

from __future__ import annotations

import json
from pathlib import Path

import dspy
import pytest

from dspy_mux import DataError
from dspy_mux.answers.choose import answer_kind
from programs import gsm8k

from .forms import number_forms, read

DATA = Path(__file__).parents[3] / "shared" / "data" / "gsm8k_test.jsonl.gz"
ROWS = [
    {
        "question": f"How many are {number} and none?",
        "answer": f"It is all the same.\n#### {number}",
    }
    for number in ("18", "1,234", "-7", "0.5", "70000", "3", "12", "99", "5", "250")
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gsm8k.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def gold_text(example):
    return f"{example.answer:.0f}" if example.answer == int(example.answer) else str(example.answer)


def test_only_gold_answers_pass_in_every_form(file):
    program = gsm8k.program()
    found = gsm8k.examples(file=file)
    for example, other in zip(found, [*found[1:], found[0]], strict=True):
        for form in number_forms(gold_text(example)):
            for prediction in read(program, form, question=example.question):
                assert gsm8k.metric(example, prediction), form
                assert not gsm8k.metric(other, prediction), form


@pytest.mark.skipif(not DATA.exists(), reason="the shared data is not beside the checkout")
def test_only_the_release_golds_pass_in_every_form():
    found = gsm8k.examples(file=DATA)
    assert len(found) == 1319
    kind = answer_kind(gsm8k.program().predict.signature.output_fields["answer"])
    for at, example in enumerate(found):
        other = next(
            found[(at + step) % 1319]
            for step in range(1, 1319)
            if found[(at + step) % 1319].answer != example.answer
        )
        for form in number_forms(gold_text(example)):
            prediction = dspy.Prediction(answer=kind.extract(form))
            assert gsm8k.metric(example, prediction), (example.answer, form)
            assert not gsm8k.metric(other, prediction), (example.answer, form)


def test_a_missing_answer_is_wrong(file):
    example = gsm8k.examples(file=file, limit=1)[0]
    for nothing in (None, "", "no idea", float("nan")):
        assert not gsm8k.metric(example, dspy.Prediction(answer=nothing))


def test_a_fifth_of_a_test_file_validates(file):
    validation, test = gsm8k.examples("validation", file=file), gsm8k.examples("test", file=file)
    assert (len(validation), len(test)) == (2, 8)
    assert not {e.question_id for e in validation} & {e.question_id for e in test}
    assert [e.question_id for e in gsm8k.examples("test", file=file, limit=3)] == [
        e.question_id for e in test[:3]
    ]
    assert {e.question_id for e in gsm8k.examples("validation", file=file, seed=1)} != {
        e.question_id for e in validation
    }


def test_demos_are_of_no_row(file):
    demos = gsm8k.program().predict.demos
    assert len(demos) == 4
    assert all(demo.reasoning for demo in demos)
    if DATA.exists():
        assert not {demo.question for demo in demos} & {
            e.question for e in gsm8k.examples(file=DATA)
        }


def test_a_row_without_a_gold_number_is_named(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(
        json.dumps(ROWS[0])
        + "\n"
        + json.dumps({"question": "Why?", "answer": "#### because"})
        + "\n"
    )
    with pytest.raises(
        DataError,
        match=r"Line 2 of .*bad.jsonl has '#### because' in the column 'answer', which must end",
    ):
        gsm8k.examples(file=path)
