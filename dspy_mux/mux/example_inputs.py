"""Inputs that any program can be asked with: made up for its types, or given for its names."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import dspy
import pydantic

from ..errors import ConfigurationError
from .field_models import given_values, input_fault, input_model
from .program import answer_field_of

#: Questions that models of any size can answer, by the type of the answer.
_OF_A_NUMBER = "What is 12 + 30?"
_OF_A_TRUTH_VALUE = "Is Paris the capital of France?"
_OF_ANYTHING = "What is the capital of France?"
#: Beside the question, where a program takes more texts than that.
_CONTEXT = "Paris is the capital of France, and 12 + 30 is 42."


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
    asked = _question(answer_field_of(program, None)[1])
    texts = [name for name, kind in kinds.items() if kind in (str, Any)]
    main = "question" if "question" in texts else texts[-1] if texts else None
    return {name: asked if name == main else _made_up(name, kind) for name, kind in kinds.items()}


def _question(answer: Any) -> str:
    annotation = getattr(answer, "annotation", answer)
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if annotation is bool:
        return _OF_A_TRUTH_VALUE
    return _OF_A_NUMBER if annotation in (int, float) else _OF_ANYTHING


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
