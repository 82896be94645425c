"""Inputs that any program can be asked with: made up for its types, or given for its names."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dspy
import pydantic

from ..answers.math_kind import MathAnswer
from ..answers.number_kind import Percent
from ..errors import ConfigurationError
from .field_models import given_values, input_fault, input_model
from .program import answer_field_of

#: Questions that models of any size can answer, by the type of the answer.
_OF_A_NUMBER = "What is 12 + 30?"
_OF_A_PERCENTAGE = "What percentage of 100 is 42?"
_OF_A_TRUTH_VALUE = "Is Paris the capital of France?"
_OF_ANYTHING = "What is the capital of France?"
#: Beside the question, where a program takes more texts than that.
_CONTEXT = "Paris is the capital of France, and 12 + 30 is 42."
#: Labels that a question names, the right one first.
_NAMED_LABELS = 8


def example_inputs(
    program: dspy.Module, question: str | Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return inputs of a program.

    Args:
        question: its only input, or several by name; None for a question that is made up.

    Raises:
        ConfigurationError: the program takes other inputs, or one of a type that nothing can be
            made up for.

    >>> example_inputs(dspy.Predict("question -> answer: float"))
    {'question': 'What is 12 + 30?'}
    >>> example_inputs(dspy.Predict("text -> label: Literal['bug', 'wish']"))
    {'text': 'Which of "bug", "wish" is the same as "bug"?'}
    >>> example_inputs(dspy.Predict("n: int -> answer"), "7")
    {'n': 7}
    """
    model = input_model(program)
    fields = {name: info for name, info in model.model_fields.items() if info.is_required()}
    if question is None:
        return _all_made_up({name: info.annotation for name, info in fields.items()}, program)
    if isinstance(question, str):
        if len(fields) != 1:
            raise ConfigurationError(
                f"The program takes {len(fields)} inputs: give all of {', '.join(fields)} by name."
            )
        question = dict.fromkeys(fields, question)
    try:
        read = model.model_validate(dict(question))
    except (TypeError, pydantic.ValidationError) as error:
        raise ConfigurationError(input_fault(error)) from error
    return given_values(read)


def _all_made_up(kinds: Mapping[str, Any], program: dspy.Module) -> dict[str, Any]:
    answer = answer_field_of(program, None)[1]
    # Pydantic keeps the mark of MathAnswer beside the annotation.
    rebuilt = getattr(answer, "rebuild_annotation", None)
    asked = _question(answer if rebuilt is None else rebuilt())
    texts = [name for name, kind in kinds.items() if kind in (str, Any)]
    main = "question" if "question" in texts else texts[-1] if texts else None
    return {name: asked if name == main else _made_up(name, kind) for name, kind in kinds.items()}


def _question(answer: Any) -> str:
    """Return a question whose answer is of a type, or holds a value of that type."""
    origin, parts = get_origin(answer), get_args(answer)
    if answer is bool:
        return _OF_A_TRUTH_VALUE
    if answer in (int, float, MathAnswer):
        return _OF_A_NUMBER
    if answer == Percent:
        return _OF_A_PERCENTAGE
    if labels := labels_of(answer):
        named = ", ".join(f'"{label}"' for label in labels[:_NAMED_LABELS])
        return f'Which of {named} is the same as "{labels[0]}"?'
    if origin in (Annotated, Union, UnionType, list, set, tuple):
        return _question(next((part for part in parts if part is not type(None)), Any))
    return _OF_ANYTHING


def labels_of(annotation: Any) -> Sequence[str]:
    """Return what a Literal or an Enum lets a model choose from; nothing for another type."""
    if get_origin(annotation) is Literal:
        return [str(one) for one in get_args(annotation) if one is not None]
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return [str(one.value) for one in annotation]
    return []


def _made_up(name: str, annotation: Any) -> Any:
    """Return a value of a type that pool files can name."""
    plain = {str: _CONTEXT, Any: _CONTEXT, int: 12, float: 1.5, bool: True, dict: {}}
    if annotation in plain:
        return plain[annotation]
    origin, parts = get_origin(annotation) or annotation, get_args(annotation)
    if origin is Literal:
        return parts[0]
    if origin is Annotated:
        return _made_up(name, parts[0])
    if origin in (Union, UnionType):
        return _made_up(name, next(part for part in parts if part is not type(None)))
    if origin in (list, set):
        return origin([_made_up(name, part) for part in parts] or [_CONTEXT])
    if origin is tuple:
        return tuple(_made_up(name, part) for part in parts if part is not ...)
    if origin is dict:
        return {_made_up(name, parts[0]): _made_up(name, parts[1])}
    raise ConfigurationError(
        f"Nothing can be made up for the input {name!r} of this program: pass a question."
    )
