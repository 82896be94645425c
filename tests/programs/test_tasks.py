"""Tasks by name, and what every one of them keeps to."""

from __future__ import annotations

import json

import dspy
import pytest

from dspy_mux import ConfigurationError
from dspy_mux.answers.choose import answer_kind
from programs import everyday
from programs.tasks import TASKS, task

from .test_word_pairs import pairs_folder

#: A release file of each task that reads one, with columns as the release has them.
FILES = {
    "gsm8k": [{"question": f"{n} + 1?", "answer": f"So.\n#### {n + 1}"} for n in range(10)],
    "math500": [
        {
            "problem": f"${n} + 1$?",
            "solution": "So.",
            "answer": f"{n + 1}",
            "subject": "Algebra",
            "level": 1,
            "unique_id": f"t/{n}",
        }
        for n in range(10)
    ],
    "gpqa": [
        {
            "Question": f"What is {n}?",
            "Correct Answer": f"right {n}",
            **{f"Incorrect Answer {i}": f"wrong {i}" for i in (1, 2, 3)},
            "Record ID": f"r{n}",
            "High-level domain": "Physics",
        }
        for n in range(10)
    ],
    "humaneval": [
        {
            "task_id": f"T/{n}",
            "prompt": f'def f{n}(x: int) -> int:\n    """Add {n}.\n    >>> f{n}(1)\n    {n + 1}\n'
            f'    """\n',
            "entry_point": f"f{n}",
            "canonical_solution": f"    return x + {n}\n",
            "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n",
        }
        for n in range(10)
    ],
}


def of_name(name, tmp_path):
    if name == "word_pairs":
        return task(name, file=pairs_folder(tmp_path))
    if name not in FILES:
        return task(name)
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in FILES[name]))
    return task(name, file=path)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_passes_its_gold_answers(name, tmp_path):
    found = of_name(name, tmp_path)
    assert found.name == name
    program = found.program()
    outputs = [
        field for predictor in program.predictors() for field in predictor.signature.output_fields
    ]
    assert "answer" in outputs
    answer_kind(program.predictors()[0].signature.output_fields["answer"], found.equivalence)
    demos = [demo for predictor in program.predictors() for demo in predictor.demos]
    assert demos, "small models need to be shown"
    by_split = {split: found.examples(split, limit=4) for split in ("validation", "test")}
    for examples in by_split.values():
        for example in examples:
            assert set(example.inputs().keys()) <= set(example.keys())
            assert example.question_id
            assert found.context is None or example[found.context]
            assert float(found.metric(example, dspy.Prediction(answer=example.answer))) >= 1
            assert not found.metric(example, dspy.Prediction(answer=None))
    ids = [{example.question_id for example in examples} for examples in by_split.values()]
    assert not ids[0] & ids[1]


def test_everyday_is_what_it_was():
    found = task("everyday")
    assert [e.question_id for e in found.examples("test", limit=7)] == [
        e.question_id for e in everyday.examples("test", limit=7)
    ]
    assert found.context == "category"


def test_unknown_tasks_and_needless_files_are_refused(tmp_path):
    with pytest.raises(
        ConfigurationError,
        match="There is no task 'gms8k', perhaps 'gsm8k': choose one of everyday, gsm8k",
    ):
        task("gms8k")
    with pytest.raises(ConfigurationError, match="There is no task 'gsm8k:easy'"):
        task("gsm8k:easy")
    with pytest.raises(
        ConfigurationError, match="everyday has its own questions and reads no file"
    ):
        task("everyday", file=tmp_path / "x.jsonl")
