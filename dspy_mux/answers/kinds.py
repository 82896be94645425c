"""The kinds of single values: numbers, percentages, truth values, choices and text."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar

from pydantic_core.core_schema import (
    CoreSchema,
    float_schema,
    no_info_before_validator_function,
)

from .equivalence import AnswerKind
from .labels import label_in_text, leading_label
from .marks import marked_answer, marked_answers
from .numerals import as_decimal, exact_value, numeral_of_answer, numerals, twelve_digits
from .plain_text import TAIL, as_text, fold, normalise, unfence, unwrap
from .truth import read_truth, truth_in_text

# ------------------------------------------------------------------------------------------------
# Numbers


@dataclass(frozen=True)
class NumberKind(AnswerKind):
    """Numbers by value: `1,234` = 1234, `$18.00` = 18, `1/2` = 0.5.

    Keys of int, Decimal and Fraction are exact; those of float have 12 significant digits.

    >>> NumberKind().same("$18.00", 18)
    True
    """

    type: type = float
    name = "number"
    percent: ClassVar[bool] = False

    def extract(self, text: str) -> int | float | Decimal | Fraction | None:
        for answer in marked_answers(text):
            numeral = numeral_of_answer(answer)
            if numeral is not None and (value := self._value(numeral)) is not None:
                return value
        found = numerals(text)
        return self._value(found[-1]) if found else None

    def key(self, value: Any) -> Hashable | None:
        if isinstance(value, float) and math.isinf(value):
            return str(value)
        exact = exact_value(value, percent=self.percent)
        if exact is None:
            return None
        return twelve_digits(exact) if self.type is float else str(exact)

    def _value(self, numeral: str) -> int | float | Decimal | Fraction | None:
        exact = exact_value(numeral, percent=self.percent)
        if exact is None or self.type is Fraction:
            return exact
        if self.type is int:
            return int(exact) if exact.denominator == 1 else None
        try:
            return float(exact) if self.type is float else as_decimal(exact)
        except OverflowError:
            return None


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


# ------------------------------------------------------------------------------------------------
# Truth values and choices


@dataclass(frozen=True)
class BoolKind(AnswerKind):
    """Truth values: True, "yes", "False.", "no"."""

    name = "bool"

    def extract(self, text: str) -> bool | None:
        found = (truth_in_text(answer) for answer in marked_answers(text))
        return next((value for value in found if value is not None), truth_in_text(text))

    def key(self, value: Any) -> Hashable | None:
        truth = read_truth(as_text(value))  # through text, for numpy's bool too
        return None if truth is None else str(truth)


# The dash of "A - Paris", not the sign of "A) -5".
_AFTER_LABEL = re.compile(r"^[)\].:\s]*(?:[-–]\s+)?")


class ChoiceKind(AnswerKind):
    """One of given options, by label or by text: `(B)`, `B.`, `Option B`, `B. Paris`, `paris`.

    Args:
        options: values of a Literal, or the members of an Enum, which go by name and by value.

    >>> ChoiceKind(["(A) Rome", "(B) Paris"]).extract("I choose option B.")
    '(B) Paris'
    """

    name = "choice"

    def __init__(self, options: Sequence[Any]):
        self.options = tuple(options)
        self._named: dict[str, Any] = {}
        self._labels: dict[str, Any] = {}
        for option in self.options:
            names = (option.value, option.name) if isinstance(option, enum.Enum) else (option,)
            for written in map(str, names):
                self._add_name(written, option)
        texts = sorted((name for name in self._named if len(name) > 1), key=len, reverse=True)
        self._texts = (
            re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, texts))})(?!\w)") if texts else None
        )

    def _add_name(self, written: str, option: Any) -> None:
        name, label = fold(written), leading_label(written)
        self._named.setdefault(name, option)
        if label is None:
            return
        self._labels.setdefault(label.casefold(), option)
        if len(name) != len(label):  # an option written "(B) Paris" goes by B and by Paris
            after = written[written.index(label) + len(label) :]
            self._named.setdefault(fold(_AFTER_LABEL.sub("", after, count=1)), option)

    def __repr__(self) -> str:
        return f"ChoiceKind({list(self.options)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChoiceKind) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options)

    def extract(self, text: str) -> Any | None:
        for answer in marked_answers(text):
            if (option := self._chosen_or_mentioned(answer)) is not None:
                return option
        tail = text[-TAIL:]
        label = label_in_text(tail, self._labels)
        if label is not None:
            return self._labels[label.casefold()]
        if (option := self._chosen_or_mentioned(tail)) is not None:
            return option
        return self._mentioned(tail.rstrip().rsplit("\n", 1)[-1])

    def key(self, value: Any) -> Hashable | None:
        option = next((option for option in self.options if value is option), None)
        if option is None and value is not None and not isinstance(value, enum.Enum):
            option = self._chosen(as_text(value))
        if option is None:
            return None
        return str(next(number for number, known in enumerate(self.options) if known is option))

    def _chosen_or_mentioned(self, answer: str) -> Any | None:
        option = self._chosen(answer)
        return self._mentioned(answer) if option is None else option

    def _chosen(self, answer: str) -> Any | None:
        """Return the option that an answer is, by its text or by the label it starts with."""
        if len(answer) > TAIL:
            return None
        if (option := self._named.get(fold(answer))) is not None:
            return option
        label = leading_label(answer)
        return None if label is None else self._labels.get(label.casefold())

    def _mentioned(self, text: str) -> Any | None:
        """Return the only option whose text occurs in a text.

        Longer options hide the shorter ones within them.
        """
        if self._texts is None:
            return None
        names = set(self._texts.findall(" ".join(normalise(text).casefold().split())))
        options = {id(option): option for option in map(self._named.__getitem__, names)}
        return next(iter(options.values())) if len(options) == 1 else None


# ------------------------------------------------------------------------------------------------
# Text


@dataclass(frozen=True)
class TextKind(AnswerKind):
    """Text with case, white space, surrounding punctuation and markdown folded; articles count.

    >>> TextKind().same("**Paris**.", "paris")
    True
    """

    name = "text"

    def extract(self, text: str) -> str | None:
        return self.usable(marked_answer(text) or unwrap(unfence(text)))

    def key(self, value: Any) -> Hashable | None:
        return None if value is None else fold(as_text(value)) or None
