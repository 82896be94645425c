"""Mathematics as a kind of answer: `MathKind`, and `MathAnswer`, the annotation of such a field.

>>> import dspy
>>> from dspy_mux import MathAnswer, answer_kind
>>> class Solve(dspy.Signature):
...     question: str = dspy.InputField()
...     answer: MathAnswer = dspy.OutputField()
>>> kind = answer_kind(Solve.output_fields["answer"])
>>> kind.extract("So the answer is $x = 0.5$.")
'x = 0.5'
>>> kind.key("x = 0.5") == kind.key("1/2")
True
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from .equivalence import ReplyKind
from .math_equal import math_key, patience, same_answers
from .math_extract import lone_answer, math_answer
from .plain_text import as_text


@dataclass(frozen=True)
class MathKind(ReplyKind):
    """Mathematics in LaTeX or plain writing, compared as `math_equal.py` describes.

    Where a value holds more than its answer ("The answer is $5$."), the answer is compared.
    """

    name = "math"

    def _find(self, text: str) -> str | None:
        return self.usable(math_answer(text))

    def key(self, value: Any) -> Hashable | None:
        return None if value is None else math_key(lone_answer(as_text(value))) or None

    def classes(self, values: Sequence[Any]) -> list[int | None]:
        # A hostile member may draw any number of expressions that take very long to compare.
        with patience():
            return super().classes(values)

    def alike(self, a: Any, b: Any) -> bool:
        return same_answers(*(lone_answer(as_text(value)) for value in (a, b)))


MathAnswer = Annotated[str, MathKind()]
"""Annotation of a field that holds mathematics.

To DSPy it is a str, so no adapter mangles the LaTeX.
"""
