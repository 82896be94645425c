"""Answer kinds: from a field's annotation to extraction from free text, a canonical key, and an equivalence.

Single values are in ``kinds.py``; here are JSON, mathematics and a user's function; ``answer_kind`` chooses.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic
from pydantic.fields import FieldInfo

from ..errors import ConfigurationError
from . import math_canonical, math_equal, math_extract
from .custom import KeyKind, PairKind
from .kinds import (
    AnswerKind,
    BoolKind,
    ChoiceKind,
    NumberKind,
    Percent,
    PercentKind,
    TextKind,
    as_text,
)
from .structured import AnyKind, JsonKind, _reader

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


# ------------------------------------------------------------------------------------------------ JSON, anything


# ------------------------------------------------------------------------------------------------ mathematics


@dataclass(frozen=True)
class MathKind(AnswerKind):
    """Mathematics in LaTeX or plain writing, compared as told in ``mathematics.py``.

    Of a value that holds more than its answer ("The answer is $5$."), the answer is compared.
    """

    name = "math"

    def extract(self, text: str) -> str | None:
        return self.usable(math_extract.math_answer(text))

    def key(self, value: Any) -> Hashable | None:
        return (
            None
            if value is None
            else math_equal.math_key(math_extract.lone_answer(as_text(value))) or None
        )

    def classes(self, values: Sequence[Any]) -> list[int | None]:
        with (
            math_equal.patience()
        ):  # a hostile member can draw as many expressions that take for ever as it likes
            return super().classes(values)

    def alike(self, a: Any, b: Any) -> bool:
        return math_equal.same_mathematics(
            *(
                math_canonical.canonical(math_extract.lone_answer(as_text(value)))
                for value in (a, b)
            )
        )


MathAnswer = Annotated[str, MathKind()]
"""Annotation of a field that holds mathematics; to DSPy it is a str, so no adapter mangles the LaTeX."""


# ------------------------------------------------------------------------------------------------ the user's own


# ------------------------------------------------------------------------------------------------ choosing a kind


def answer_kind(
    annotation: Any = str, equivalence: AnswerKind | Callable[..., Any] | None = None
) -> AnswerKind:
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
        return (
            _json_kind(annotation)
            if isinstance(origin, type) and issubclass(origin, _CONTAINERS)
            else AnyKind()
        )
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
    if issubclass(annotation, (pydantic.BaseModel, *_CONTAINERS)) or dataclasses.is_dataclass(
        annotation
    ):
        return _json_kind(annotation)
    return AnyKind()


def _json_kind(annotation: Any) -> JsonKind:
    _reader(annotation)  # what cannot be read is told before any call
    return JsonKind(annotation)


_CONTAINERS = (list, tuple, Mapping, Set, collections.abc.Sequence)
