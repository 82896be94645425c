"""The kinds of single values: numbers, truth values, choices and text.

A kind says how an answer is found in a model's text and when two answers are the same. Equal keys, same answer; no key,
no usable answer (an abstention).
"""

from __future__ import annotations

import enum
import math
import numbers
import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact
from fractions import Fraction
from typing import Any, ClassVar

from pydantic_core import core_schema

from . import extract


def as_text(value: Any) -> str:
    """A value as text; an int beyond the length that Python writes in decimal digits as hexadecimal ones."""
    return hex(value) if isinstance(value, int) and value.bit_length() > 10_000 else str(value)


class AnswerKind(ABC):
    """What an answer is: how it is found in text, and when two are the same.

    Subclass it for a kind of your own: ``extract`` and ``key`` are enough. Instances are immutable and can stand in an
    annotation: ``answer: Annotated[str, MyKind()]``.
    """

    name: ClassVar[str]
    several_lines: ClassVar[bool] = False  # whether an answer may go over more than one line

    @abstractmethod
    def extract(self, text: str) -> Any | None:
        """A value for the field from a model's free text, or None when nothing is found."""

    @abstractmethod
    def key(self, value: Any) -> Hashable | None:
        """The canonical key of a value; None when it is no usable answer: None, blank, NaN, not of this kind."""

    def alike(self, a: Any, b: Any) -> bool:
        """Whether two usable values with different keys are the same answer all the same. Symmetric; never raises."""
        return False

    def usable(self, value: Any) -> Any | None:
        """The value, or None where it is no usable answer."""
        return value if self.key(value) is not None else None

    def same(self, a: Any, b: Any) -> bool:
        """Whether a and b are one answer: usable both, and of equal keys or ``alike``. Symmetric; never raises."""
        first, second = self.key(a), self.key(b)
        if first is None or second is None:
            return False
        return first == second or self.alike(a, b)

    def classes(self, values: Sequence[Any]) -> list[int | None]:
        """The equivalence class of each value, numbered in first-seen order; None for an abstention.

        A value whose key is new is compared with the first value of each class; the first that is alike takes it.
        """
        known: dict[Hashable, int] = {}
        representatives: list[Any] = []
        numbered: list[int | None] = []
        for value in values:
            key = self.key(value)
            if key is not None and key not in known:
                alike = (
                    number
                    for number, other in enumerate(representatives)
                    if self.alike(other, value)
                )
                known[key] = next(alike, len(representatives))
                if known[key] == len(representatives):
                    representatives.append(value)
            numbered.append(None if key is None else known[key])
        return numbered


# ------------------------------------------------------------------------------------------------ numbers

_TWELVE_DIGITS = Context(prec=12)
_ALL_DIGITS = Context(
    prec=5 * extract.MAX_DIGITS, traps=[Inexact]
)  # of any number that ends and is not too long to read


def exact_value(value: Any, *, percent: bool = False) -> Fraction | None:
    """The exact value of a number or numeral of about ``MAX_DIGITS`` at most; None for anything else, bool included."""
    if isinstance(value, str):
        return extract.parse_number(value, percent=percent)
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, Decimal)):
        return None
    if isinstance(value, Decimal):
        exponent, longest = (
            value.as_tuple().exponent,
            2 * extract.MAX_DIGITS,
        )  # as a fraction, 1E+999999 would be long indeed
        if isinstance(exponent, str) or abs(exponent) > longest or abs(value.adjusted()) > longest:
            return None
        return extract.short(Fraction(value))
    if isinstance(value, numbers.Rational):
        return extract.short(Fraction(int(value.numerator), int(value.denominator)))
    return Fraction(str(float(value))) if math.isfinite(value) else None


def twelve_digits(value: Fraction) -> str:
    """The value at 12 significant digits: 0.1 + 0.2 and 0.3 are one answer."""
    ratio = _TWELVE_DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))
    return str(ratio.normalize(_TWELVE_DIGITS)) if ratio else "0"


def _as_decimal(value: Fraction) -> Decimal:
    """All digits of a number that ends; 28 of one that does not, as 1/3."""
    ratio = Decimal(value.numerator), Decimal(value.denominator)
    try:
        return _ALL_DIGITS.divide(*ratio)
    except Inexact:
        return Context(prec=28).divide(*ratio)


@dataclass(frozen=True)
class NumberKind(AnswerKind):
    """Numbers by value: ``1,234`` = 1234, ``$18.00`` = 18, ``1/2`` = 0.5.

    Keys of int, Decimal and Fraction are exact; those of float are rounded to 12 significant digits.
    """

    type: type = float
    name = "number"
    percent: ClassVar[bool] = False

    def extract(self, text: str) -> Any | None:
        for answer in extract.marked_answers(text):
            numeral = extract.numeral_of_answer(answer)
            if numeral is not None and (value := self._value(numeral)) is not None:
                return value
        numerals = extract.numerals(text)
        return self._value(numerals[-1]) if numerals else None

    def key(self, value: Any) -> Hashable | None:
        if isinstance(value, float) and math.isinf(value):
            return str(value)
        exact = exact_value(value, percent=self.percent)
        if exact is None:
            return None
        return twelve_digits(exact) if self.type is float else str(exact)

    def _value(self, numeral: str) -> Any | None:
        exact = exact_value(numeral, percent=self.percent)
        if exact is None or self.type is Fraction:
            return exact
        if self.type is int:
            return int(exact) if exact.denominator == 1 else None
        try:
            return float(exact) if self.type is float else _as_decimal(exact)
        except OverflowError:
            return None


@dataclass(frozen=True)
class PercentKind(NumberKind):
    """Numbers that may be written as percentages: ``50%`` = 0.5; a bare 50 stays 50."""

    name = "percent"
    percent: ClassVar[bool] = True


class Percent(float):
    """Annotation of a field that is a share: a model may answer ``50%`` or ``0.5``, the value is the float 0.5."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(cls._read, core_schema.float_schema())

    @staticmethod
    def _read(value: Any) -> Any:
        exact = exact_value(value, percent=True)
        return value if exact is None else float(exact)


# ------------------------------------------------------------------------------------------------ truth and choices


@dataclass(frozen=True)
class BoolKind(AnswerKind):
    """Truth values: True, "yes", "False.", "no"."""

    name = "bool"

    def extract(self, text: str) -> bool | None:
        told = (extract.truth_of(answer) for answer in extract.marked_answers(text))
        return next((value for value in told if value is not None), extract.truth_of(text))

    def key(self, value: Any) -> Hashable | None:
        word = extract.fold(as_text(value))  # "true" for numpy's bool too
        return {"yes": "True", "true": "True", "no": "False", "false": "False"}.get(word)


_AFTER_LABEL = re.compile(
    r"^[)\].:\s]*(?:[-–]\s+)?"
)  # the dash of "A - Paris", not the sign of "A) -5"


class ChoiceKind(AnswerKind):
    """One of given options, by label or by text: ``(B)``, ``B.``, ``Option B``, ``B. Paris``, ``paris``.

    Args:
        options: values of a Literal, or the members of an Enum, which go by name and by value.
    """

    name = "choice"

    def __init__(self, options: Sequence[Any]):
        self.options = tuple(options)
        self._named: dict[str, Any] = {}
        self._labels: dict[str, Any] = {}
        for option in self.options:
            names = (option.value, option.name) if isinstance(option, enum.Enum) else (option,)
            for written in map(str, names):
                name = extract.fold(written)
                self._named.setdefault(name, option)
                label = extract.leading_label(written)
                if label is not None and len(name) == len(label):
                    self._labels.setdefault(label.casefold(), option)
                elif label is not None:  # an option written "(B) Paris" goes by B and by Paris
                    self._labels.setdefault(label.casefold(), option)
                    rest = extract.fold(
                        _AFTER_LABEL.sub("", written[written.index(label) + len(label) :], count=1)
                    )
                    self._named.setdefault(rest, option)
        texts = sorted((name for name in self._named if len(name) > 1), key=len, reverse=True)
        self._texts = (
            re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, texts))})(?!\w)") if texts else None
        )

    def __repr__(self) -> str:
        return f"ChoiceKind({list(self.options)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChoiceKind) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options)

    def extract(self, text: str) -> Any | None:
        for answer in extract.marked_answers(text):
            if (option := self._chosen(answer)) is not None or (
                option := self._mentioned(answer)
            ) is not None:
                return option
        tail = text[-extract.TAIL :]
        label = extract.label_in_text(tail, self._labels)
        if label is not None:
            return self._labels[label.casefold()]
        if (option := self._chosen(tail)) is not None or (
            option := self._mentioned(tail)
        ) is not None:
            return option
        return self._mentioned(tail.rstrip().rsplit("\n", 1)[-1])

    def key(self, value: Any) -> Hashable | None:
        option = next((option for option in self.options if value is option), None)
        if option is None and value is not None and not isinstance(value, enum.Enum):
            option = self._chosen(as_text(value))
        return (
            None
            if option is None
            else str(next(n for n, known in enumerate(self.options) if known is option))
        )

    def _chosen(self, answer: str) -> Any | None:
        """The option that an answer is, by its text or by the label it starts with."""
        if len(answer) > extract.TAIL:
            return None
        if (option := self._named.get(extract.fold(answer))) is not None:
            return option
        label = extract.leading_label(answer)
        return None if label is None else self._labels.get(label.casefold())

    def _mentioned(self, text: str) -> Any | None:
        """The only option whose text occurs in a text; longer options hide the shorter ones within them."""
        if self._texts is None:
            return None
        names = set(self._texts.findall(" ".join(extract.normalise(text).casefold().split())))
        options = {id(option): option for option in map(self._named.__getitem__, names)}
        return next(iter(options.values())) if len(options) == 1 else None


# ------------------------------------------------------------------------------------------------ text


@dataclass(frozen=True)
class TextKind(AnswerKind):
    """Text with case, white space, surrounding punctuation and markdown folded; articles are not."""

    name = "text"

    def extract(self, text: str) -> str | None:
        return self.usable(extract.marked_answer(text) or extract.unwrap(extract.unfence(text)))

    def key(self, value: Any) -> Hashable | None:
        return None if value is None else extract.fold(as_text(value)) or None
