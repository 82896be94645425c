"""Which of a question's inputs its program takes: a rule may read others, such as a category."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import dspy

#: What `dspy.Predict` takes beside its input fields.
_OF_PREDICT = frozenset({"_trace", "config", "demos", "lm", "prediction", "signature"})


def inputs_taken(program: dspy.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs that a program takes.

    DSPy warns of any other, once per predictor and draw; Python refuses it.

    >>> inputs_taken(dspy.Predict("question -> answer"), {"question": "2 + 2?", "category": "sum"})
    {'question': '2 + 2?'}
    """
    names = _names(program)
    return {name: value for name, value in inputs.items() if names is None or name in names}


def _names(program: dspy.Module) -> frozenset[str] | None:
    """Return the names of the inputs that a program takes; None where it takes any."""
    if isinstance(program, dspy.Predict):
        return frozenset(program.signature.input_fields) | _OF_PREDICT
    if isinstance(program, dspy.ChainOfThought):
        return _names(program.predict)
    if isinstance(program, (dspy.BestOfN, dspy.Refine)):
        return _names(program.module)
    # Of the class: DSPy warns where an instance's is looked at.
    kind = type(program)
    forward = getattr(kind, "forward", None) or getattr(kind, "aforward", None)
    if forward is None:
        return None
    parameters = list(inspect.signature(forward).parameters.values())[1:]
    named = frozenset(
        parameter.name
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    )
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return named
    asks = program.predict if isinstance(program, dspy.MultiChainComparison) else program
    fields = getattr(getattr(asks, "signature", None), "input_fields", None)
    if fields is None or not kind.__module__.startswith("dspy."):
        return None
    return named | frozenset(fields) | {"max_iters"}  # ReAct's, taken out of its inputs
