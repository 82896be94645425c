"""Which of a question's inputs its program takes: a rule may read others, such as a category."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import dspy

#: The method of a program that runs: in a call, or in an awaited one.
Form: TypeAlias = Literal["forward", "aforward"]
#: What `dspy.Predict` takes beside its input fields.
_OF_PREDICT = frozenset({"_trace", "config", "demos", "lm", "prediction", "signature"})


def inputs_taken(
    program: dspy.Module, inputs: Mapping[str, Any], form: Form = "forward"
) -> dict[str, Any]:
    """Return the inputs that a program takes.

    DSPy warns of any other, once per predictor and draw; Python refuses it.

    Args:
        form: the method that will run.

    >>> inputs_taken(dspy.Predict("question -> answer"), {"question": "2 + 2?", "category": "sum"})
    {'question': '2 + 2?'}
    """
    names = _names(program, form)
    return {name: value for name, value in inputs.items() if names is None or name in names}


def is_dspys(program: dspy.Module, form: Form = "forward") -> bool:
    """Return whether a program's method is DSPy's own, not one of a user's subclass."""
    method = _method(type(program), form)
    return method is not None and method.__module__.startswith("dspy.")


def _names(program: dspy.Module, form: Form) -> frozenset[str] | None:
    """Return the names of the inputs that a program takes; None where it takes any."""
    method = _method(type(program), form)
    if method is None:
        return None
    named, takes_any = _parameters(method)
    if not takes_any:
        return named
    if not is_dspys(program, form):
        return None
    further = _fields(program, form)
    return None if further is None else named | further


@functools.lru_cache(maxsize=1024)
def _parameters(method: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """Return the names of a method's parameters, and whether it takes any others."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    named = frozenset(
        parameter.name
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    )
    return named, any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _fields(program: dspy.Module, form: Form) -> frozenset[str] | None:
    """Return what a module of DSPy's takes as `**inputs`; None where it takes any."""
    if isinstance(program, dspy.Predict):
        return frozenset(program.signature.input_fields) | _OF_PREDICT
    if isinstance(program, dspy.ChainOfThought):
        return _names(program.predict, form)
    if isinstance(program, (dspy.BestOfN, dspy.Refine)):
        return _names(program.module, form)
    asks = program.predict if isinstance(program, dspy.MultiChainComparison) else program
    fields = getattr(getattr(asks, "signature", None), "input_fields", None)
    # ReAct's `max_iters` is taken out of its inputs.
    return None if fields is None else frozenset(fields) | {"max_iters"}


def _method(kind: type[dspy.Module], form: Form) -> Callable[..., Any] | None:
    # Of the class: DSPy warns where an instance's is looked at.
    other = "forward" if form == "aforward" else "aforward"
    found: Callable[..., Any] | None = getattr(kind, form, None) or getattr(kind, other, None)
    return found
