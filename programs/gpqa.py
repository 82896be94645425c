"""GPQA: graduate-level science questions with four options.

Rein et al. 2023, "GPQA: A Graduate-Level Google-Proof Q&A Benchmark". The release has the columns
Question, Correct Answer, Incorrect Answer 1 to 3, Record ID and High-level domain. On the Hugging
Face hub it is Idavidrein/gpqa (configuration gpqa_diamond), which requires you to accept its terms
and to log in. Options are shuffled by the question's id, so every member in every run sees the same
order.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import dspy

from dspy_mux.answers.choice_kind import ChoiceKind
from dspy_mux.answers.equivalence import AnswerKind
from dspy_mux.answers.kinds import TextKind
from dspy_mux.answers.plain_text import fold

from . import sources
from .sources import Split
from .tasks import Task
from .worked_demos import chain_of_thought

HUB = sources.Hub("Idavidrein/gpqa", "gpqa_diamond", test="train", gated=True)
LETTERS = "ABCD"
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")


@dataclass(frozen=True)
class OptionKind(AnswerKind):
    """A letter, or whatever text a member gave.

    Only `ChooseOption`, which knows the options, can find out which of them the text names.
    """

    name = "option"

    def extract(self, text: str) -> str | None:
        return text.strip() or None

    def key(self, value: Any) -> Hashable | None:
        return TextKind().key(value)


class GPQA(dspy.Signature):
    """Reason about the science question, then choose the one right option by its letter."""

    question: str = dspy.InputField(desc="a question on biology, chemistry or physics")
    options: str = dspy.InputField(desc="four options, each on a line after its letter")
    answer: Annotated[Literal["A", "B", "C", "D"], OptionKind()] = dspy.OutputField(
        desc="the letter of the right option"
    )


class ChooseOption(dspy.Module):
    """Chooses an option by chain of thought, and reduces the answer to the option's letter."""

    def __init__(self) -> None:
        super().__init__()
        self.choose = chain_of_thought(GPQA, demos())

    def forward(self, question: str, options: str) -> dspy.Prediction:
        return _by_letter(self.choose(question=question, options=options), options)

    async def aforward(self, question: str, options: str) -> dspy.Prediction:
        return _by_letter(await self.choose.acall(question=question, options=options), options)


def program() -> dspy.Module:
    """Return the program from a question and its options to a letter, with three worked demos."""
    return ChooseOption()


def letter(answer: Any, options: str) -> str:
    """Return the letter of the option that `answer` names by letter, text or both; else ""."""
    if not isinstance(answer, str):
        return ""
    listed = _listed(options)
    # An answer that is an option word for word comes first: its text may hold another's letter.
    written = {
        fold(text): name
        for name, line in zip(LETTERS, listed, strict=True)
        for text in (line, line[3:])
    }
    if (named := written.get(fold(answer))) is not None:
        return named
    kind = ChoiceKind(listed)
    chosen = kind.extract(answer)
    return "" if chosen is None else LETTERS[listed.index(chosen)]


def metric(example: dspy.Example, pred: Any, trace: Any = None) -> bool:
    """Return whether `pred.answer` names the right option, by letter or by text."""
    return letter(getattr(pred, "answer", None), example.options) == example.answer


def examples(
    split: Split | None = None, *, seed: int = 0, limit: int | None = None, file: Path | None = None
) -> list[dspy.Example]:
    """Return the questions of a split, as `sources.examples` divides them.

    Each has the inputs `question` and `options`, the gold `answer` (a letter), `question_id` and
    `domain`.
    """
    return sources.examples("gpqa", _example, HUB, split, seed=seed, limit=limit, file=file)


def task(file: Path | None = None) -> Task:
    """Return the task "gpqa", from a local file or the hub."""
    return Task("gpqa", program, partial(examples, file=file), metric, context="domain")


def demos() -> list[dspy.Example]:
    """Return worked questions written for this project, so they are in no split of GPQA."""
    return [
        dspy.Example(question=question, options=_lines(options), reasoning=reasoning, answer=answer)
        for question, options, reasoning, answer in _DEMOS
    ]


def _by_letter(prediction: dspy.Prediction, options: str) -> dspy.Prediction:
    return prediction.copy(answer=letter(prediction.answer, options))


def _example(row: sources.Row) -> dspy.Example:
    question, right = row.text("Question").strip(), _line(row.text("Correct Answer"))
    wrong = [_line(row.text(column)) for column in _WRONG]
    if len({right, *wrong}) < len(LETTERS):
        raise row.fault(
            "Correct Answer", "which must differ from the incorrect ones, and they from one another"
        )
    identity = row.columns.get("Record ID")
    question_id = str(identity) if identity else sources.question_id("gpqa", question)
    options = [right, *wrong]
    random.Random(hashlib.sha256(question_id.encode()).digest()).shuffle(options)
    return dspy.Example(
        question=question,
        options=_lines(options),
        answer=LETTERS[options.index(right)],
        question_id=question_id,
        domain=str(row.columns.get("High-level domain") or "unknown"),
    ).with_inputs("question", "options")


def _line(text: str) -> str:
    return " ".join(text.split())


def _lines(options: list[str]) -> str:
    return "\n".join(f"{name}) {option}" for name, option in zip(LETTERS, options, strict=True))


def _listed(options: str) -> list[str]:
    """Return the options, each with its letter."""
    return re.findall(r"^[A-D]\) .*$", options, re.MULTILINE)


_DEMOS = [
    (
        "A ball is thrown straight up at 20 m/s. With g = 10 m/s² and no drag, how long does it "
        "rise?",
        ["1 s", "2 s", "4 s", "20 s"],
        "It rises until its speed is zero. The speed falls by 10 m/s in each second, so that takes "
        "20 / 10 = 2 seconds.",
        "B",
    ),
    (
        "Which of these oxides gives the most acidic solution in water?",
        ["CaO", "Na2O", "SO3", "Al2O3"],
        "Oxides of metals are basic or, as that of aluminium, amphoteric. SO3 is the oxide of a "
        "nonmetal and gives sulfuric acid.",
        "C",
    ),
    (
        "Two parents are both carriers of one recessive disease. What is the chance that their "
        "healthy child is a carrier?",
        ["1/4", "1/3", "1/2", "2/3"],
        "Of four equally likely children one is ill. Of the three healthy ones two are carriers, "
        "so the chance is 2/3.",
        "D",
    ),
]
