"""A program's inputs and outputs, each as a pydantic model that validates them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import dspy
import pydantic

from .program import predictors


def input_model(program: dspy.Module) -> type[pydantic.BaseModel]:
    """Return a program's inputs as a model."""
    return _model("Inputs", _input_fields(program))


def output_model(program: dspy.Module) -> type[pydantic.BaseModel]:
    """Return a program's outputs as a model."""
    last = list(predictors(program))[-1:]
    found = last[0].signature.output_fields if last else {}
    return _model("Outputs", {name: _field(field) for name, field in found.items()})


def _input_fields(program: dspy.Module) -> dict[str, Any]:
    plain = program.predict if isinstance(program, dspy.ChainOfThought) else program
    if isinstance(plain, dspy.Predict):
        return {name: _field(field) for name, field in plain.signature.input_fields.items()}
    form = getattr(type(program), "forward", None) or type(program).aforward
    fields: dict[str, Any] = {}
    for name, parameter in list(inspect.signature(form).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind = Any if isinstance(parameter.annotation, str) else parameter.annotation
        kind = Any if kind is parameter.empty else kind
        fields[name] = (kind, ... if parameter.default is parameter.empty else parameter.default)
    return fields


def _field(field: Any) -> tuple[Any, Any]:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    said = str(extra.get("desc") or "")
    said = "" if said.startswith("${") else said
    default = ... if field.is_required() else field.default
    return field.rebuild_annotation(), pydantic.Field(default, description=said or None)


def _model(name: str, fields: Mapping[str, Any]) -> type[pydantic.BaseModel]:
    config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return pydantic.create_model(name, __config__=config, **dict(fields))


def given_values(read: pydantic.BaseModel) -> dict[str, Any]:
    """Return the fields that were given, in the program's order."""
    given = read.model_fields_set
    return {name: getattr(read, name) for name in type(read).model_fields if name in given}


def input_fault(error: Exception) -> str:
    """Return what is wrong with inputs that their model refuses, in a sentence."""
    if not isinstance(error, pydantic.ValidationError):  # of a type of DSPy's
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))[:100]
    return f"The input {where!r} is wrong: {first['msg'][:1].lower()}{first['msg'][1:]}."
