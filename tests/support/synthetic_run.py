"""A run of every method, made by the comparison itself from scripted members, each strong where
another is weak."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dspy

from dspy_mux import Member
from eval.compare.methods import Options
from eval.compare.run import compare
from eval.runs.folder import Run
from programs.tasks import Task

from .scripted import everything, scripted_lm

KINDS = ("capital", "city", "opposite", "past", "spanish", "plural")
#: How often each member is right, kind by kind.
STRENGTHS = {
    "smol-135m": (0.6, 0.55, 0.3, 0.85, 0.4, 0.9),
    "gem-270m": (0.9, 0.95, 0.15, 0.9, 0.75, 0.85),
    "qwen-0.5b": (0.55, 0.5, 0.9, 0.8, 0.8, 0.85),
}
_QUESTION = re.compile(r"What is the (\w+) of ([vt])(\d+)\?")


def example(letter: str, number: int) -> dspy.Example:
    kind = KINDS[number % len(KINDS)]
    question = f"What is the {kind} of {letter}{number}?"
    made = dspy.Example(
        question=question, kind=kind, answer=f"{kind}-{number}", question_id=f"{letter}-{number:03}"
    )
    return made.with_inputs("question", "kind")


def synthetic_task(*, validation: int = 24, test: int = 36, name: str = "words") -> Task:
    """Questions of six kinds in turn, with answers that are never in the question."""

    def examples(
        split: str | None = None, *, seed: int = 0, limit: int | None = None
    ) -> list[dspy.Example]:
        letter, count = {"validation": ("v", validation), "test": ("t", test)}[str(split)]
        return [example(letter, number) for number in range(count)][:limit]

    def right(given: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
        return prediction.answer == given.answer

    return Task(
        name, lambda: dspy.Predict("question, kind -> answer: str"), examples, right, context="kind"
    )


def scripted_member(name: str, strengths: Sequence[float], known: float = 0.8) -> Member:
    """Right as often as `strengths` say, and mostly the same way in each draw; now and then it
    says nothing.

    `known` is how much of a question's chance is the question's own, not the draw's. As a verifier
    it answers by its strength.
    """

    def reply(prompt: str, draw: int) -> Any:
        found = _QUESTION.findall(prompt)
        if not found:
            raise AssertionError(f"no question in {prompt[-500:]!r}")
        kind, letter, number = found[-1]
        right = strengths[KINDS.index(kind)]
        own = random.Random(f"{name} {letter}{number}").random()
        chance = random.Random(f"{name} {letter}{number} {draw} {len(prompt)}").random()
        knows = known * own + (1 - known) * chance < right
        if "verdict" in prompt.lower():
            return {"reasoning": "It fits.", "verdict": str(knows), "approved": str(knows)}
        if chance > 0.97:
            return "I do not know."
        other = (
            100 + int(4 * own) + (chance > 0.7)
        )  # a favourite error, drawn often enough to be given with full confidence
        return {"answer": f"{kind}-{number}" if knows else f"{kind}-{other}"}

    return Member(scripted_lm(name, reply, shown=everything), name=name)


def synthetic_run(
    out: Path,
    *,
    tasks: Sequence[Task] | None = None,
    members: Callable[[], Sequence[Member]] | None = None,
    methods: tuple[str, ...] = ("all",),
    k: int = 3,
) -> Run:
    """A finished run in `out`, every answer from the comparison's own code."""
    pool = (
        members()
        if members
        else [scripted_member(name, strengths) for name, strengths in STRENGTHS.items()]
    )
    options = Options(methods=methods, k=k, mav_n=4, mav_aspects=("logic", "facts"), num_threads=8)
    return compare(
        tasks or [synthetic_task()],
        lambda name: pool,
        options,
        out=out,
        command="python -m eval compare --task words",
    )
