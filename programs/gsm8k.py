"""GSM8K: grade-school word problems whose answer is a number.

Cobbe et al. 2021, "Training Verifiers to Solve Math Word Problems". The release has the columns
question and answer; a line "#### 18" ends the answer's worked solution and gives the gold number.
On the Hugging Face hub it is openai/gsm8k, whose training split gives "train" and "validation".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import dspy

from dspy_mux.answers.number_kind import NumberKind

from . import sources
from .sources import Split
from .tasks import Task
from .worked_demos import chain_of_thought, worked_demos

HUB = sources.Hub("openai/gsm8k", "main", train="train")
_NUMBER = NumberKind(float)


class GSM8K(dspy.Signature):
    """Solve the word problem step by step, then give the number that answers it."""

    question: str = dspy.InputField(desc="a word problem")
    answer: float = dspy.OutputField(desc="the number alone, without a unit")


def program() -> dspy.Module:
    """Return `dspy.ChainOfThought` of the word problem, with four worked demos."""
    return chain_of_thought(GSM8K, demos())


def demos() -> list[dspy.Example]:
    """Return worked problems written for this project, so they are in no split of GSM8K."""
    return worked_demos(_DEMOS)


def metric(example: dspy.Example, pred: Any, trace: Any = None) -> bool:
    """Return whether `pred.answer` is the gold number, however it is written."""
    return _NUMBER.same(example.answer, getattr(pred, "answer", None))


def examples(
    split: Split | None = None, *, seed: int = 0, limit: int | None = None, file: Path | None = None
) -> list[dspy.Example]:
    """Return the questions of a split, as `sources.examples` divides them.

    Each has the input `question`, the gold `answer` (float) and `question_id`.
    """
    return sources.examples("gsm8k", _example, HUB, split, seed=seed, limit=limit, file=file)


def task(file: Path | None = None) -> Task:
    """Return the task "gsm8k", from a local file or the hub."""
    return Task("gsm8k", program, partial(examples, file=file), metric)


def _example(row: sources.Row) -> dspy.Example:
    question = row.text("question")
    gold = _NUMBER.usable(row.text("answer").rpartition("####")[2].strip())
    if gold is None:
        raise row.fault("answer", "which must end in #### and a number")
    return dspy.Example(
        question=question,
        answer=_NUMBER.extract(gold),
        question_id=sources.question_id("gsm8k", question),
    ).with_inputs("question")


_DEMOS = [
    (
        "A florist ties 6 bunches with 8 tulips each. She finds 5 tulips wilted and throws them "
        "away. How many good tulips are left?",
        "6 bunches of 8 tulips are 6 × 8 = 48 tulips. Without the 5 wilted ones there are "
        "48 − 5 = 43.",
        43.0,
    ),
    (
        "Omar runs 3 kilometres on Monday, twice as far on Wednesday, and on Friday half of what "
        "he ran on those two days together. How many kilometres does he run in all?",
        "On Wednesday he runs 2 × 3 = 6 kilometres. The two days make 3 + 6 = 9, half of which is "
        "9 / 2 = 4.5. "
        "In all he runs 9 + 4.5 = 13.5 kilometres.",
        13.5,
    ),
    (
        "A coat costs $80. In a sale it is 25% cheaper, and Lena pays with three $50 notes for two "
        "such coats. How many dollars does she get back?",
        "25% of 80 is 20, so a coat costs 80 − 20 = 60 dollars and two cost 2 × 60 = 120. She pays "
        "3 × 50 = 150 and gets 150 − 120 = 30 back.",
        30.0,
    ),
    (
        "A tank holds 1,500 litres and is one third full. A pump adds 40 litres a minute. After "
        "how many minutes is the tank full?",
        "One third of 1,500 is 500 litres, so 1,500 − 500 = 1,000 litres are missing. At 40 litres "
        "a minute that takes 1,000 / 40 = 25 minutes.",
        25.0,
    ),
]
