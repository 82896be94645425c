"""Choose the kind of an answer from its field's annotation, or from the user's `equivalence`."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import dspy
import pydantic
from dspy.adapters.types.decision import Choice, Noul, Score
from pydantic.fields import FieldInfo

from ..errors import ConfigurationError
from .choice_kind import ChoiceKind
from .custom import KeyKind, PairKind
from .declared import ConstrainedKind, OptionalKind
from .dspy_types import CodeKind, DecisionKind, ToolCallsKind
from .equivalence import AnswerKind
from .kinds import BoolKind, TextKind
from .number_kind import NumberKind, Percent, PercentKind
from .structured import AnyKind, JsonKind, json_reader


def answer_kind(
    annotation: Any = str, equivalence: AnswerKind | Callable[..., Any] | None = None
) -> AnswerKind:
    """Return the kind of an answer field.

    Args:
        annotation: the field's type, or better the field itself
            (`signature.output_fields["answer"]`): pydantic keeps the mark of `MathAnswer` and of
            `Annotated[str, MyKind()]` in the field, not in its type.
        equivalence: None for the annotation's own; an `AnswerKind`; a type such as `float` or
            `MathAnswer`, for its kind; a function of one answer that returns its key; a function
            of two answers that returns whether they are the same.

    Raises:
        ConfigurationError: `equivalence` is none of these.

    >>> answer_kind(float).same("1,234.0", 1234)
    True
    >>> answer_kind(str, equivalence=len).same("red", "two")
    True
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
        f"equivalence={equivalence!r} cannot compare answers: give an AnswerKind instance, a type "
        "such as float or MathAnswer, a function of one answer that returns its key, or a function "
        "of two answers that returns a bool."
    )


def _required_arguments(function: object) -> int | None:
    """Return how many arguments a function requires by position.

    None for what is not a function, or requires keywords.
    """
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
        return _annotated_kind(annotation.annotation, annotation.metadata)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated_kind(arguments[0], arguments[1:])
    if origin is Literal:
        return BoolKind() if set(map(type, arguments)) == {bool} else ChoiceKind(arguments)
    if origin in (Union, types.UnionType):
        return _union_kind(arguments)
    if origin is not None:
        is_container = isinstance(origin, type) and issubclass(origin, _CONTAINERS)
        return _json_kind(annotation) if is_container else AnyKind()
    if isinstance(annotation, type):
        return _class_kind(annotation)
    return _json_kind(annotation) if typing.is_typeddict(annotation) else AnyKind()


def _annotated_kind(annotation: Any, marks: Sequence[Any]) -> AnswerKind:
    """Return the kind of a type with marks: the last kind among them, and their constraints."""
    kinds = [mark for mark in marks if isinstance(mark, AnswerKind)]
    kind = kinds[-1] if kinds else _kind_of(annotation)
    constraints = tuple(mark for mark in marks if _is_constraint(mark))
    if not constraints:
        return kind
    base = kind.base if isinstance(kind, OptionalKind) else kind
    declared: Any = (annotation, *constraints)
    bounded = ConstrainedKind(base, json_reader(Annotated[declared]))
    return OptionalKind(bounded) if isinstance(kind, OptionalKind) else bounded


def _is_constraint(mark: object) -> bool:
    if isinstance(mark, AnswerKind):
        return False
    known = (annotated_types.BaseMetadata, annotated_types.GroupedMetadata, FieldInfo)
    return isinstance(mark, known) or hasattr(mark, "__get_pydantic_core_schema__")


def _union_kind(arguments: Sequence[Any]) -> AnswerKind:
    given = [argument for argument in arguments if argument is not type(None)]
    kind = _common_kind(given)
    return OptionalKind(kind) if len(given) < len(arguments) else kind


def _common_kind(arguments: Iterable[Any]) -> AnswerKind:
    kinds = {_kind_of(argument) for argument in arguments}
    if len(kinds) == 1:
        return kinds.pop()
    if kinds and all(type(kind) is NumberKind for kind in kinds):
        return NumberKind(float)
    return AnyKind()


def _class_kind(cls: type) -> AnswerKind:
    for bases, kind in _KINDS:
        if issubclass(cls, bases):
            return kind(cls)
    return _json_kind(cls) if dataclasses.is_dataclass(cls) else AnyKind()


def _json_kind(annotation: Any) -> JsonKind:
    json_reader(annotation)  # raises for a type that cannot be read, before any call
    return JsonKind(annotation)


_CONTAINERS = (list, tuple, Mapping, Set, Sequence)
#: The kinds of classes. The first entry whose base a class derives from decides: every bool is an
#: int, and a str is a sequence.
_KINDS: tuple[tuple[type | tuple[type, ...], Callable[[Any], AnswerKind]], ...] = (
    (enum.Enum, lambda cls: ChoiceKind(list(cls))),
    (Percent, lambda cls: PercentKind(float)),
    (bool, lambda cls: BoolKind()),
    (int, lambda cls: NumberKind(int)),
    (float, lambda cls: NumberKind(float)),
    (Decimal, lambda cls: NumberKind(Decimal)),
    (Fraction, lambda cls: NumberKind(Fraction)),
    (str, lambda cls: TextKind()),
    (dspy.ToolCalls, ToolCallsKind),
    (dspy.Code, CodeKind),
    ((Noul, Choice, Score), DecisionKind),
    ((pydantic.BaseModel, *_CONTAINERS), _json_kind),
)
