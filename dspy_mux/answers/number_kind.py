"""Numbers and percentages as kinds of answers, compared by value."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar

from pydantic_core.core_schema import (
    CoreSchema,
    float_schema,
    no_info_before_validator_function,
)

from .equivalence import ReplyKind
from .marks import marked_answers
from .numeral_answer import last_numeral, stated_numeral
from .numeral_scan import Numeral
from .numerals import as_decimal, exact_value, twelve_digits, value_of
from .plain_text import head, tail

#: Several boxes in one list are several answers.
_LISTED_BOXES = re.compile(r"\\boxed\{[^{}]{0,60}\}\$?\s?(?:,|,?\s?and|,?\s?or)\s?\$?\\boxed\{")
#: A percent sign after the box belongs to what is in it.
_PERCENT_OF_BOX = re.compile(r"(\}\$?\s?)(\\?%)(?=[\s.,$]|$)")


@dataclass(frozen=True)
class NumberKind(ReplyKind):
    """Numbers by value: `1,234` = 1234, `$18.00` = 18, `1/2` = 0.5.

    Keys of int, Decimal and Fraction are exact; those of float have 12 significant digits.

    >>> NumberKind().same("$18.00", 18)
    True
    """

    type: type = float
    name = "number"
    percent: ClassVar[bool] = False

    @property
    def reads_fields(self) -> bool:
        return True

    def _find(self, text: str) -> int | float | Decimal | Fraction | None:
        if _LISTED_BOXES.search(text):
            return None
        for answer in marked_answers(_PERCENT_OF_BOX.sub(r"\2\1", text) if self.percent else text):
            found = stated_numeral(head(answer), percent=self.percent)
            if found is not None:
                return self._value(found)  # a mark that is not understood hides no other answer
        found = last_numeral(tail(text), percent=self.percent)
        return None if found is None else self._value(found)

    def key(self, value: Any) -> Hashable | None:
        if isinstance(value, float) and math.isinf(value):
            return str(value)
        exact = exact_value(value, percent=self.percent)
        if exact is None:
            return None
        return twelve_digits(exact) if self.type is float else str(exact)

    def _value(self, numeral: Numeral) -> int | float | Decimal | Fraction | None:
        exact = value_of(numeral, percent=self.percent)
        if exact is None or self.type is Fraction:
            return exact
        if self.type is int:
            return int(exact) if exact.denominator == 1 else _rating(numeral)
        try:
            return float(exact) if self.type is float else as_decimal(exact)
        except OverflowError:
            return None


def _rating(numeral: Numeral) -> int | None:
    """Return the points of a rating, 4 in 4/5, where a whole number is asked for."""
    points, of = numeral.magnitude.ratio or (Fraction(0), Fraction(0))
    return (
        int(points) if of in (5, 10, 100) and 0 < points < of and points.denominator == 1 else None
    )


@dataclass(frozen=True)
class PercentKind(NumberKind):
    """Numbers that may be written as percentages: `50%` = 0.5; a bare 50 stays 50."""

    name = "percent"
    percent: ClassVar[bool] = True


class Percent(float):
    """Annotation of a field that is a share: a model may answer `50%` or `0.5`.

    The field's value is the float 0.5.

    >>> from dspy_mux import Percent, answer_kind
    >>> kind = answer_kind(Percent)
    >>> kind.extract("The answer is 50%.")
    0.5
    >>> kind.same("50%", 0.5)
    True
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        return no_info_before_validator_function(cls._read, float_schema())

    @staticmethod
    def _read(value: Any) -> Any:
        exact = exact_value(value, percent=True)
        return value if exact is None else float(exact)
