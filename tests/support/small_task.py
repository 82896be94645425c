"""A task of a few sums with scripted members, for tests of the comparison."""

from __future__ import annotations

from typing import Any

import dspy

from dspy_mux import Member
from programs.tasks import Task

from .scripted import asked, scripted_lm

COUNT = 6


def small_task(
    name: str = "sums", *, validation: int = COUNT, test: int = COUNT, metric: Any = None
) -> Task:
    """Questions "v0 + 1" … and "t0 + 1" …, of two kinds in turn; the answer of question i is i +
    1."""

    def examples(
        split: str | None = None, *, seed: int = 0, limit: int | None = None
    ) -> list[dspy.Example]:
        count, letter = {"validation": (validation, "v"), "test": (test, "t")}[str(split)]
        rows = [
            dspy.Example(
                question=f"{letter}{i} + 1",
                kind="odd" if i % 2 else "even",
                answer=i + 1,
                question_id=f"{letter}-{i}",
            )
            for i in range(count)
        ]
        return [row.with_inputs("question", "kind") for row in rows][:limit]

    def right(example: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
        return prediction.answer == example.answer

    return Task(
        name,
        lambda: dspy.Predict("question, kind -> answer: int"),
        examples,
        metric or right,
        context="kind",
    )


def member(name: str, answer: Any) -> Member:
    """`answer(split, i, draw)` → what it says to question i ("v" or "t"); an exception it returns
    is raised, None is no number.

    As a verifier it approves of nothing.
    """

    def reply(prompt: str, draw: int) -> Any:
        if "[[ ## solution ## ]]" in prompt:
            return {"correct": "False"}
        question = asked(prompt)
        said = answer(question[0], int(question[1 : question.index(" ")]), draw)
        return (
            said
            if isinstance(said, BaseException)
            else {"answer": "no idea" if said is None else said}
        )

    return Member(scripted_lm(name, reply), name=name)
