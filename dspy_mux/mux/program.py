"""The program inside a mux: its module, its answer field, its predictors, a copy per member."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import dspy
from dspy.signatures.signature import ensure_signature

from ..errors import ConfigurationError
from ..text import first_line
from .saved import SavedProgram
from .signature_text import parse_signature, signature_text
from .traces import mark_predictors


def as_module(program: object) -> dspy.Module:
    """Return the program as a module; a signature is wrapped in `dspy.ChainOfThought`."""
    if isinstance(program, dspy.Module):
        return program
    if isinstance(program, str) or (
        isinstance(program, type) and issubclass(program, dspy.Signature)
    ):
        if not _signature_of(program).output_fields:  # ChainOfThought would add its reasoning
            raise _no_outputs()
        return dspy.ChainOfThought(program)
    raise ConfigurationError(
        f"program must be a signature (string or class) or a dspy.Module instance, not {program!r}."
    )


def _signature_of(program: str | type[dspy.Signature]) -> type[dspy.Signature]:
    try:
        signature: type[dspy.Signature] = ensure_signature(program)
    except (ValueError, TypeError, NameError, SyntaxError) as error:
        if not isinstance(program, str):
            raise
        parse_signature(program)  # says what is wrong with it
        raise ConfigurationError(
            f"{program[:200]!r} is not a signature: {first_line(error)}"
        ) from error
    return signature


def _no_outputs() -> ConfigurationError:
    return ConfigurationError(
        "The program has no output field to compare: name one after the arrow, as in "
        "'question -> answer'."
    )


def copy_for_a_member(template: dspy.Module, member: int) -> dspy.Module:
    """Return a deep copy whose predictors DSPy's optimizers can see, and can tell by member."""
    copy = template.deepcopy()
    for _, module in copy.named_sub_modules(dspy.Module):
        # DSPy leaves compiled modules out of named_predictors(): neither optimised nor saved.
        module._compiled = False
        if isinstance(module, dspy.MultiChainComparison):
            _drop_default_temperature(module.predict)
    mark_predictors(copy, member)
    return copy


def _drop_default_temperature(predictor: dspy.Predict) -> None:
    """Leave the temperature to the member, where nobody but DSPy chose it."""
    default = (
        inspect.signature(dspy.MultiChainComparison.__init__).parameters["temperature"].default
    )
    if predictor.config.get("temperature") == default:
        del predictor.config["temperature"]


def predictors(program: dspy.Module) -> Iterator[dspy.Predict]:
    """Yield the predictors within a module."""
    return (module for module in modules_in(program) if isinstance(module, dspy.Predict))


def modules_in(value: object, seen: set[int] | None = None) -> Iterator[dspy.Module]:
    """Yield a module and all within it, down to predictors.

    DSPy's own walk also reads the calls in every module's history, at every call.

    Args:
        seen: the `id` of what was walked: what some optimizers compile holds itself, among its
            `candidate_programs`.
    """
    seen = set() if seen is None else seen
    if isinstance(value, dspy.Predict):
        yield value
    elif not isinstance(value, (dspy.Module, list, tuple, dict)) or id(value) in seen:
        return
    else:
        seen.add(id(value))
        if isinstance(value, dspy.Module):
            yield value
        inside = vars(value) if isinstance(value, dspy.Module) else value
        named = inside.items() if isinstance(inside, dict) else enumerate(inside)
        for name, inner in named:
            if name not in ("history", "callbacks") or not isinstance(value, dspy.Module):
                yield from modules_in(inner, seen)


def saved_program(template: dspy.Module) -> SavedProgram | None:
    """Return a program of one signature as text that `dspy-mux ask` can rebuild, or None."""
    if type(template) not in (dspy.ChainOfThought, dspy.Predict):
        return None
    if isinstance(template, dspy.ChainOfThought):
        text = signature_text(template.predict.signature.delete("reasoning"))
        return None if text is None else SavedProgram(module="chain_of_thought", signature=text)
    text = signature_text(template.signature)
    return None if text is None else SavedProgram(module="predict", signature=text)


def answer_field_of(template: dspy.Module, name: str | None) -> tuple[str, Any]:
    """Return the answer field's name, and the field itself from the last predictor that has it.

    Args:
        name: the field that the user named; None for `answer`, else the last output field.

    Raises:
        ConfigurationError: the program has no such output field, or has one named `verdict`.
    """
    outputs = [predictor.signature.output_fields for predictor in template.predictors()]
    own = getattr(template, "signature", None)
    if own is not None and type(template).__module__.startswith("dspy."):
        outputs.append(own.output_fields)  # ReActV2's predictor outputs its steps
    if outputs and "verdict" in outputs[-1]:
        raise ConfigurationError(
            "The program has an output field named 'verdict', which the mux adds itself: rename it."
        )
    if outputs and not any(outputs):
        raise _no_outputs()
    chosen = name
    if chosen is None and any("answer" in fields for fields in outputs):
        chosen = "answer"
    if chosen is None:
        chosen = list(outputs[-1])[-1] if outputs else "answer"
    found = [fields[chosen] for fields in outputs if chosen in fields]
    plain = isinstance(template, (dspy.Predict, dspy.ChainOfThought))
    if name is not None and not found and plain:
        known = dict.fromkeys(field for fields in outputs for field in fields)
        raise ConfigurationError(
            f"The program has no output field {name!r}; its output fields are {', '.join(known)}."
        )
    return chosen, found[-1] if found else Any
