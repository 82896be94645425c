r"""MATH-500: competition problems with an answer in LaTeX.

Hendrycks et al. 2021, "Measuring Mathematical Problem Solving With the MATH Dataset"; the 500 test
problems of Lightman et al. 2023, "Let's Verify Step by Step". The release has the columns problem,
solution, answer, subject, level (1 to 5) and unique_id; on the Hugging Face hub it is
HuggingFaceH4/MATH-500. It has no training split: a fifth of the questions is kept for validation.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import dspy

from dspy_mux.answers.math_kind import MathAnswer, MathKind

from . import sources
from .sources import Split
from .tasks import Task
from .worked_demos import chain_of_thought, worked_demos

HUB = sources.Hub("HuggingFaceH4/MATH-500")
_MATH = MathKind()


class Math500(dspy.Signature):
    """Solve the problem step by step, then give its exact answer."""

    question: str = dspy.InputField(desc="a problem of competition mathematics")
    answer: MathAnswer = dspy.OutputField(desc="the answer alone, in LaTeX without dollar signs")


def program() -> dspy.Module:
    """Return `dspy.ChainOfThought` of the problem, with four worked demos."""
    return chain_of_thought(Math500, demos())


def demos() -> list[dspy.Example]:
    """Return worked problems written for this project, so they are in no split of MATH."""
    return worked_demos(_DEMOS)


def metric(example: dspy.Example, pred: Any, trace: Any = None) -> bool:
    """Return whether `pred.answer` is mathematically the gold answer."""
    return _MATH.same(example.answer, getattr(pred, "answer", None))


def examples(
    split: Split | None = None, *, seed: int = 0, limit: int | None = None, file: Path | None = None
) -> list[dspy.Example]:
    """Return the problems of a split, as `sources.examples` divides them.

    Each has the input `question`, the gold `answer` (LaTeX), `subject`, `level` (text) and
    `question_id`, which is the release's unique_id.
    """
    return sources.examples("math500", _example, HUB, split, seed=seed, limit=limit, file=file)


def task(file: Path | None = None) -> Task:
    """Return the task "math500", from a local file or the hub; its sub-tasks are the subjects."""
    return Task("math500", program, partial(examples, file=file), metric, context="subject")


def _example(row: sources.Row) -> dspy.Example:
    gold = row.text("answer")
    if _MATH.usable(gold) is None:
        raise row.fault("answer", "which is not mathematics")
    return dspy.Example(
        question=row.text("problem"),
        answer=gold,
        subject=row.text("subject"),
        level=row.text("level"),
        question_id=row.text("unique_id"),
    ).with_inputs("question")


_DEMOS = [
    (
        r"A bag holds $4$ green and $6$ yellow beads. Two beads are drawn without putting the "
        r"first one back. What is the probability that both are green?",
        r"The first bead is green with probability $\frac{4}{10}$, and then the second with "
        r"probability $\frac{3}{9}$. "
        r"The product is $\frac{4}{10} \cdot \frac{3}{9} = \frac{12}{90} = \frac{2}{15}$.",
        r"\frac{2}{15}",
    ),
    (
        r"Find all real solutions of $2x^2 + 5x - 12 = 0$. Separate your answers by commas.",
        r"We look for two numbers with product $2 \cdot (-12) = -24$ and sum $5$: these are $8$ "
        r"and $-3$. So $2x^2 + 5x - 12 = (2x - 3)(x + 4)$, which is $0$ for $x = \frac{3}{2}$ and "
        r"for $x = -4$.",
        r"-4, \frac{3}{2}",
    ),
    (
        r"A right triangle has legs of length $\sqrt{7}$ and $5$. How long is its hypotenuse?",
        r"By the Pythagorean theorem the square of the hypotenuse is $7 + 25 = 32$, so its length "
        r"is $\sqrt{32} = \sqrt{16 \cdot 2} = 4\sqrt{2}$.",
        r"4\sqrt{2}",
    ),
    (
        r"For which real $t$ is $\frac{\sqrt{t + 3}}{6 - 2t}$ positive? Give the answer in "
        r"interval notation.",
        r"The root is defined for $t \ge -3$ and positive for $t > -3$. The quotient is positive "
        r"where the denominator is positive as well: $6 - 2t > 0$ means $t < 3$. Together "
        r"$-3 < t < 3$.",
        r"(-3, 3)",
    ),
]
