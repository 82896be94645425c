"""Answer kinds: from a field's annotation to extraction from free text, a canonical key, and an equivalence.

A kind says when two answers are the same answer. Keys do most of it: equal keys, same answer; no key, no usable answer
(an abstention). Mathematics and a user's two-argument function also compare answers whose keys differ.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import json
import logging
import math
import numbers
import re
import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from . import extraction, mathematics
from .errors import ConfigurationError

logger = logging.getLogger(__name__)


class AnswerKind(ABC):
    """What an answer is: how it is found in text, and when two are the same.

    Subclass it for a kind of your own: ``extract`` and ``key`` are enough. Instances are immutable and can stand in an
    annotation: ``answer: Annotated[str, MyKind()]``.
    """

    name: typing.ClassVar[str]

    @abstractmethod
    def extract(self, text: str) -> Any | None:
        """A value for the field from a model's free text, or None when nothing is found."""

    @abstractmethod
    def key(self, value: Any) -> Hashable | None:
        """The canonical key of a value; None when it is no usable answer: None, blank, NaN, not of this kind."""

    def alike(self, a: Any, b: Any) -> bool:
        """Whether two usable values with different keys are the same answer all the same. Symmetric; never raises."""
        return False

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
                alike = (number for number, other in enumerate(representatives) if self.alike(other, value))
                known[key] = next(alike, len(representatives))
                if known[key] == len(representatives):
                    representatives.append(value)
            numbered.append(None if key is None else known[key])
        return numbered


# ------------------------------------------------------------------------------------------------ numbers

_TWELVE_DIGITS = Context(prec=12)


def _exact(value: Any, *, percent: bool = False) -> Fraction | None:
    """The exact value of a number or numeral within ``extraction.MAX_DIGITS``; None for anything else, bool included."""
    if isinstance(value, str):
        return extraction.parse_number(value, percent=percent)
    if isinstance(value, bool) or not isinstance(value, (numbers.Real, Decimal)):
        return None
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        if (
            isinstance(exponent, str)
            or abs(exponent) > extraction.MAX_DIGITS
            or abs(value.adjusted()) > extraction.MAX_DIGITS
        ):
            return None
        return Fraction(value)
    if isinstance(value, numbers.Rational):
        exact = Fraction(int(value.numerator), int(value.denominator))
        longest = max(exact.numerator.bit_length(), exact.denominator.bit_length())
        return exact if longest <= 3 * extraction.MAX_DIGITS else None
    return Fraction(str(float(value))) if math.isfinite(value) else None


def _twelve_digits(value: Fraction) -> str:
    """The value at 12 significant digits: 0.1 + 0.2 and 0.3 are one answer."""
    ratio = _TWELVE_DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))
    return str(ratio.normalize(_TWELVE_DIGITS)) if ratio else "0"


@dataclass(frozen=True)
class NumberKind(AnswerKind):
    """Numbers by value: ``1,234`` = 1234, ``$18.00`` = 18, ``1/2`` = 0.5.

    Keys of int, Decimal and Fraction are exact; those of float are rounded to 12 significant digits.
    """

    type: type = float
    name = "number"
    percent: typing.ClassVar[bool] = False

    def extract(self, text: str) -> Any | None:
        for answer in extraction.marked_answers(text):
            numeral = extraction.numeral_of_answer(answer)
            if numeral is not None and (value := self._value(numeral)) is not None:
                return value
        numerals = extraction.numerals(text)
        return self._value(numerals[-1]) if numerals else None

    def key(self, value: Any) -> Hashable | None:
        exact = _exact(value, percent=self.percent)
        if exact is None:
            return None
        return _twelve_digits(exact) if self.type is float else str(exact)

    def _value(self, numeral: str) -> Any | None:
        exact = _exact(numeral, percent=self.percent)
        if exact is None or self.type is Fraction:
            return exact
        if self.type is int:
            return int(exact) if exact.denominator == 1 else None
        try:
            return float(exact) if self.type is float else Decimal(exact.numerator) / Decimal(exact.denominator)
        except OverflowError:
            return None


@dataclass(frozen=True)
class PercentKind(NumberKind):
    """Numbers that may be written as percentages: ``50%`` = 0.5; a bare 50 stays 50."""

    name = "percent"
    percent: typing.ClassVar[bool] = True


class Percent(float):
    """Annotation of a field that is a share: a model may answer ``50%`` or ``0.5``, the value is the float 0.5."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(cls._read, core_schema.float_schema())

    @staticmethod
    def _read(value: Any) -> Any:
        exact = _exact(value, percent=True)
        return value if exact is None else float(exact)


# ------------------------------------------------------------------------------------------------ truth and choices


@dataclass(frozen=True)
class BoolKind(AnswerKind):
    """Truth values: True, "yes", "False.", "no"."""

    name = "bool"

    def extract(self, text: str) -> bool | None:
        told = (extraction.truth_of(answer) for answer in extraction.marked_answers(text))
        return next((value for value in told if value is not None), extraction.truth_of(text))

    def key(self, value: Any) -> Hashable | None:
        if isinstance(value, str):
            value = {"yes": True, "true": True, "no": False, "false": False}.get(extraction.fold(value))
        # numpy's bool is no bool, but it is equal to one
        return str(bool(value)) if value is not None and value in (True, False) else None


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
                name = extraction.fold(written)
                self._named.setdefault(name, option)
                label = extraction.leading_label(written)
                if label is not None and len(name) == len(label):
                    self._labels.setdefault(label.casefold(), option)
                elif label is not None:  # an option written "(B) Paris" goes by B and by Paris
                    self._labels.setdefault(label.casefold(), option)
                    rest = extraction.fold(written[written.index(label) + len(label) :].lstrip(")].:- "))
                    self._named.setdefault(rest, option)
        texts = sorted((name for name in self._named if len(name) > 1), key=len, reverse=True)
        self._texts = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, texts))})(?!\w)") if texts else None

    def __repr__(self) -> str:
        return f"ChoiceKind({list(self.options)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChoiceKind) and self.options == other.options

    def __hash__(self) -> int:
        return hash(self.options)

    def extract(self, text: str) -> Any | None:
        for answer in extraction.marked_answers(text):
            if (option := self._chosen(answer)) is not None or (option := self._mentioned(answer)) is not None:
                return option
        tail = text[-extraction.TAIL :]
        label = extraction.label_in_text(tail, self._labels)
        if label is not None:
            return self._labels[label.casefold()]
        if (option := self._chosen(tail)) is not None or (option := self._mentioned(tail)) is not None:
            return option
        return self._mentioned(tail.rstrip().rsplit("\n", 1)[-1])

    def key(self, value: Any) -> Hashable | None:
        option = next((option for option in self.options if value is option), None)
        if option is None and value is not None and not isinstance(value, enum.Enum):
            option = self._chosen(str(value))
        return None if option is None else str(next(n for n, known in enumerate(self.options) if known is option))

    def _chosen(self, answer: str) -> Any | None:
        """The option that an answer is, by its text or by the label it starts with."""
        if len(answer) > extraction.TAIL:
            return None
        if (option := self._named.get(extraction.fold(answer))) is not None:
            return option
        label = extraction.leading_label(answer)
        return None if label is None else self._labels.get(label.casefold())

    def _mentioned(self, text: str) -> Any | None:
        """The only option whose text occurs in a text; longer options hide the shorter ones within them."""
        if self._texts is None:
            return None
        names = set(self._texts.findall(" ".join(extraction.normalise(text).casefold().split())))
        options = {id(option): option for option in map(self._named.__getitem__, names)}
        return next(iter(options.values())) if len(options) == 1 else None


# ------------------------------------------------------------------------------------------------ text, JSON, anything


@dataclass(frozen=True)
class TextKind(AnswerKind):
    """Text with case, white space, surrounding punctuation and markdown folded; articles are not."""

    name = "text"

    def extract(self, text: str) -> str | None:
        return extraction.marked_answer(text) or extraction.unwrap(extraction.unfence(text)) or None

    def key(self, value: Any) -> Hashable | None:
        return None if value is None else extraction.fold(str(value)) or None


def _canonical(value: Any, depth: int = 0) -> Any:
    """A value as JSON whose equality is the answers': numbers by value, texts folded, sets sorted, models as objects.

    Raises ValueError beyond 100 levels.
    """
    if depth > 100:
        raise ValueError("nested too deeply to compare")
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return extraction.fold(value)
    if isinstance(value, (numbers.Real, Decimal)):
        exact = _exact(value)
        return {"number": str(value) if exact is None else _twelve_digits(exact)}
    if isinstance(value, pydantic.BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {"object": {str(name): _canonical(item, depth + 1) for name, item in value.items()}}
    if isinstance(value, Set):
        return {"set": sorted((_canonical(item, depth + 1) for item in value), key=_dump)}
    if isinstance(value, (list, tuple)):
        return [_canonical(item, depth + 1) for item in value]
    return {type(value).__qualname__: repr(value)}


def _dump(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@dataclass(frozen=True)
class JsonKind(AnswerKind):
    """Lists, tuples, sets, dicts, TypedDicts, dataclasses and pydantic models, compared as canonical JSON.

    The order of a list counts, that of a set or of an object's names does not; 1 equals 1.0.
    """

    annotation: Any = Any
    name = "json"

    def extract(self, text: str) -> Any | None:
        found = extraction.json_values(text)
        for answer in extraction.marked_answers(text):
            found += extraction.json_values(answer)
        for value in reversed(found):
            if (read := self._read(value)) is not None:
                return read
        return None

    def key(self, value: Any) -> Hashable | None:
        try:
            if isinstance(value, str):
                value = extraction.read_json(extraction.unfence(value))
            value = self._read(value) if isinstance(value, (list, dict)) else value
            return None if value is None else _dump(_canonical(value))
        except ValueError:
            return None

    def _read(self, value: Any) -> Any | None:
        """A JSON value as the annotation's own type, or None where it does not fit."""
        try:
            return pydantic.TypeAdapter(self.annotation).validate_python(value)
        except pydantic.ValidationError:
            return None


@dataclass(frozen=True)
class AnyKind(AnswerKind):
    """A field of no particular type: JSON where the text is JSON, else text."""

    name = "any"

    def extract(self, text: str) -> Any | None:
        return TextKind().extract(text)

    def key(self, value: Any) -> Hashable | None:
        if isinstance(value, str):
            try:
                value = extraction.read_json(value)
            except ValueError:
                return TextKind().key(value)
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        try:
            return _dump(_canonical(value))
        except ValueError:
            return None


# ------------------------------------------------------------------------------------------------ mathematics


@dataclass(frozen=True)
class MathKind(AnswerKind):
    """Mathematics in LaTeX or plain writing, compared as in ``mathematics.py``; units, degree and percent signs dropped."""

    name = "math"

    def extract(self, text: str) -> str | None:
        if (answer := extraction.marked_answer(text)) is not None:
            return answer
        if formula := extraction.last_formula(text):
            return formula
        numerals = extraction.numerals(text)
        return numerals[-1] if numerals else None

    def key(self, value: Any) -> Hashable | None:
        return None if value is None else mathematics.math_key(str(value)) or None

    def alike(self, a: Any, b: Any) -> bool:
        return mathematics.same_mathematics(mathematics.canonical(str(a)), mathematics.canonical(str(b)))


MathAnswer = Annotated[str, MathKind()]
"""Annotation of a field that holds mathematics; to DSPy it is a str, so no adapter mangles the LaTeX."""


# ------------------------------------------------------------------------------------------------ the user's own


@dataclass(frozen=True)
class KeyKind(AnswerKind):
    """Answers are the same when a function of one answer gives the same key; None, or an exception, is an abstention."""

    function: Callable[[Any], Any]
    base: AnswerKind
    name = "key function"

    def extract(self, text: str) -> Any | None:
        return self.base.extract(text)

    def key(self, value: Any) -> Hashable | None:
        if value is None:
            return None
        try:
            key = self.function(value)
        except Exception:
            logger.warning("The key function raised on %.80r, which counts as an abstention.", value, exc_info=True)
            return None
        return key if isinstance(key, collections.abc.Hashable) and key == key else AnyKind().key(key)


@dataclass(frozen=True)
class PairKind(AnswerKind):
    """Answers are the same when they are equal, or a function of two answers says so in either order."""

    function: Callable[[Any, Any], Any]
    base: AnswerKind
    name = "pair function"

    def extract(self, text: str) -> Any | None:
        return self.base.extract(text)

    def key(self, value: Any) -> Hashable | None:
        if self.base.key(value) is None:
            return None
        return value if isinstance(value, collections.abc.Hashable) else AnyKind().key(value)

    def alike(self, a: Any, b: Any) -> bool:
        return self._says(a, b) or self._says(b, a)

    def _says(self, a: Any, b: Any) -> bool:
        try:
            return bool(self.function(a, b))
        except Exception:
            logger.warning("The equivalence raised on %.80r and %.80r, which count as different.", a, b, exc_info=True)
            return False


# ------------------------------------------------------------------------------------------------ choosing a kind


def answer_kind(annotation: Any = str, equivalence: AnswerKind | Callable[..., Any] | None = None) -> AnswerKind:
    """The kind of an answer field.

    Args:
        annotation: the field's type, or better the field itself (``signature.output_fields["answer"]``): pydantic
            keeps the mark of ``MathAnswer`` and of ``Annotated[str, MyKind()]`` in the field, not in its type.
        equivalence: None for the annotation's own; an ``AnswerKind``; a type such as ``float`` or ``MathAnswer``, for
            its kind; a function of one answer that gives a key; a function of two answers that says whether they
            are the same.

    Raises:
        ConfigurationError: the equivalence is none of these.
    """
    if equivalence is None:
        return _kind_of(annotation)
    if isinstance(equivalence, AnswerKind):
        return equivalence
    if isinstance(equivalence, FieldInfo) or get_origin(equivalence) is not None:
        return _kind_of(equivalence)
    if isinstance(equivalence, type) and not issubclass(equivalence, AnswerKind):
        return _kind_of(equivalence)
    arguments = _required_arguments(equivalence)
    if arguments == 1:
        return KeyKind(equivalence, _kind_of(annotation))
    if arguments == 2:
        return PairKind(equivalence, _kind_of(annotation))
    raise ConfigurationError(
        f"equivalence={equivalence!r} cannot compare answers: give an AnswerKind instance, a type such as float or "
        "MathAnswer, a function of one answer that returns its key, or a function of two answers that returns a bool."
    )


def _required_arguments(function: Any) -> int | None:
    """How many arguments a function must be given by position; None for what is no function or leaves it open."""
    if isinstance(function, type) or not callable(function):
        return None
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in positional)
    return required or min(len(positional), 1)


def _kind_of(annotation: Any) -> AnswerKind:
    if isinstance(annotation, FieldInfo):
        marks = [mark for mark in annotation.metadata if isinstance(mark, AnswerKind)]
        return marks[-1] if marks else _kind_of(annotation.annotation)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        marks = [mark for mark in arguments[1:] if isinstance(mark, AnswerKind)]
        return marks[-1] if marks else _kind_of(arguments[0])
    if origin is Literal:
        return BoolKind() if set(map(type, arguments)) == {bool} else ChoiceKind(arguments)
    if origin in (Union, types.UnionType):
        kinds = {_kind_of(argument) for argument in arguments if argument is not type(None)}
        if kinds and all(type(kind) is NumberKind for kind in kinds):
            return kinds.pop() if len(kinds) == 1 else NumberKind(float)
        return kinds.pop() if len(kinds) == 1 else AnyKind()
    if origin is not None:
        return JsonKind(annotation) if isinstance(origin, type) and issubclass(origin, _CONTAINERS) else AnyKind()
    if not isinstance(annotation, type):
        return JsonKind(annotation) if typing.is_typeddict(annotation) else AnyKind()
    if issubclass(annotation, enum.Enum):
        return ChoiceKind(list(annotation))
    if issubclass(annotation, Percent):
        return PercentKind(float)
    if issubclass(annotation, bool):
        return BoolKind()
    for number in (int, float, Decimal, Fraction):
        if issubclass(annotation, number):
            return NumberKind(number)
    if issubclass(annotation, str):
        return TextKind()
    if issubclass(annotation, (pydantic.BaseModel, *_CONTAINERS)) or dataclasses.is_dataclass(annotation):
        return JsonKind(annotation)
    return AnyKind()


_CONTAINERS = (list, tuple, Mapping, Set, collections.abc.Sequence)
