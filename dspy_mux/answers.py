"""Answer kinds: from a field's annotation to extraction from free text, a canonical key, and an equivalence.

Single values are in ``kinds.py``; here are JSON, mathematics and a user's function; ``answer_kind`` chooses.
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
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from . import extraction, formulas, mathematics, mathtext
from .errors import ConfigurationError
from .kinds import (
    AnswerKind,
    BoolKind,
    ChoiceKind,
    NumberKind,
    Percent,
    PercentKind,
    TextKind,
    as_text,
    exact_value,
    twelve_digits,
)

__all__ = [
    "AnswerKind",
    "AnyKind",
    "BoolKind",
    "ChoiceKind",
    "JsonKind",
    "KeyKind",
    "MathAnswer",
    "MathKind",
    "NumberKind",
    "PairKind",
    "Percent",
    "PercentKind",
    "TextKind",
    "answer_kind",
]

logger = logging.getLogger(__name__)

# ------------------------------------------------------------------------------------------------ JSON, anything


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
        exact = exact_value(value)
        return {"number": str(value) if exact is None else twelve_digits(exact)}
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
        return next((read for value in reversed(found) if (read := self.usable(self._read(value))) is not None), None)

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
            return _reader(self.annotation).validate_python(value)
        except pydantic.ValidationError:
            return None


@lru_cache(maxsize=256)
def _reader(annotation: Any) -> pydantic.TypeAdapter[Any]:
    """What reads JSON values into a type; raises ConfigurationError where pydantic has no way to."""
    try:
        reader = pydantic.TypeAdapter(annotation)
        reader.rebuild()  # else a name that is not defined shows at the first answer
        return reader
    except (pydantic.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation) as error:
        told = str(error).splitlines()[0].rstrip(".")
        raise ConfigurationError(f"No answer can be read into the type {annotation!r}: {told}.") from error


@dataclass(frozen=True)
class AnyKind(AnswerKind):
    """A field of no particular type: JSON where the text is JSON, else text."""

    name = "any"

    def extract(self, text: str) -> Any | None:
        return self.usable(TextKind().extract(text))

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
    """Mathematics in LaTeX or plain writing, compared as told in ``mathematics.py``.

    Of a value that holds more than its answer ("The answer is $5$."), the answer is compared.
    """

    name = "math"

    def extract(self, text: str) -> str | None:
        return self.usable(formulas.math_answer(text))

    def key(self, value: Any) -> Hashable | None:
        return None if value is None else mathematics.math_key(formulas.lone_answer(as_text(value))) or None

    def classes(self, values: Sequence[Any]) -> list[int | None]:
        with mathematics.patience():  # a hostile member can draw as many expressions that take for ever as it likes
            return super().classes(values)

    def alike(self, a: Any, b: Any) -> bool:
        return mathematics.same_mathematics(*(mathtext.canonical(formulas.lone_answer(as_text(value))) for value in (a, b)))


MathAnswer = Annotated[str, MathKind()]
"""Annotation of a field that holds mathematics; to DSPy it is a str, so no adapter mangles the LaTeX."""


# ------------------------------------------------------------------------------------------------ the user's own


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:  # a list, or a tuple that holds one
        return False
    return True


def _equals_itself(key: Any) -> bool:
    """False for NaN, and for what holds one: no such key would be met again."""
    return all(map(_equals_itself, key)) if isinstance(key, (tuple, frozenset)) else bool(key == key)


@dataclass(frozen=True)
class KeyKind(AnswerKind):
    """Answers are the same when a function of one answer gives equal keys; None, or an exception, is an abstention."""

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
        return key if _is_hashable(key) and _equals_itself(key) else AnyKind().key(key)


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
        return value if _is_hashable(value) else repr(value)

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
        return _json_kind(annotation) if isinstance(origin, type) and issubclass(origin, _CONTAINERS) else AnyKind()
    if not isinstance(annotation, type):
        return _json_kind(annotation) if typing.is_typeddict(annotation) else AnyKind()
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
        return _json_kind(annotation)
    return AnyKind()


def _json_kind(annotation: Any) -> JsonKind:
    _reader(annotation)  # what cannot be read is told before any call
    return JsonKind(annotation)


_CONTAINERS = (list, tuple, Mapping, Set, collections.abc.Sequence)
