"""What a mux refuses, each in one sentence: inputs at a call, and programs that it cannot hold."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from ..errors import ConfigurationError
from ..sampling.content import content_of_fields
from ..sampling.inputs import is_dspys
from .rollout import TakesRollouts

#: What `dspy.Predict` takes at a call beside its inputs, and what it would do to a mux's draws.
_SETTINGS = {
    "lm": "would make all members the same model: build a mux with other lms instead",
    "config": "would override its members' settings in every draw: set them on the members, as in "
    "Member(lm, temperature=…), instead",
}
#: The same where the program is a `dspy.Predict` or `dspy.ChainOfThought` that has no such field;
#: settings of an LM would be taken for inputs that only a rule reads.
_OF_PREDICT = {
    "demos": "would replace every member's demos: set them on the mux's predictors instead",
    "signature": "would replace the program in every draw: build a mux of that signature instead",
    "temperature": "is no input and would change nothing: set it on the mux or on its members, as "
    "in Member(lm, temperature=…), instead",
    "rollout_id": "is no input and would change nothing: every draw has its own, and set_lm with a "
    "rollout of the configured LM draws anew",
}


def check_inputs(
    whose: str, program: dspy.Module, unnamed: Sequence[Any], inputs: Mapping[str, Any]
) -> None:
    """Refuse what `check_names` does, and inputs by which a question has no content of its own.

    Args:
        whose, program, unnamed, inputs: as for `check_names`.
    """
    check_names(whose, program, unnamed, inputs)
    content_of_fields(inputs)  # its fingerprint and its seeds are of them


def check_names(
    whose: str, program: dspy.Module, unnamed: Sequence[Any], inputs: Mapping[str, Any]
) -> None:
    """Refuse missing inputs before a call, of which DSPy warns once per draw, and settings.

    Args:
        whose: the class that was called.
        program: a member's.
    """
    plain = program.predict if isinstance(program, dspy.ChainOfThought) else program
    is_plain = isinstance(plain, dspy.Predict) and is_dspys(program)
    fields = list(plain.signature.input_fields) if is_plain else []
    further = {name: why for name, why in _OF_PREDICT.items() if is_plain and name not in fields}
    settings = {**_SETTINGS, **further}
    for name in inputs:
        if name in settings and not _has_parameter(program, name):
            raise ConfigurationError(f"{whose} was called with {name}=…, which {settings[name]}.")
    if unnamed or (fields and not inputs.keys() & set(fields)):
        wanted = ", ".join(f"{name}=…" for name in fields) or "question=…"
        got = f"{len(unnamed)} without a name" if unnamed else ", ".join(inputs) or "none"
        raise ConfigurationError(
            f"{whose} takes its inputs by name, {wanted}, and was given {got}."
        )


def refuse_own_lms(module: dspy.Module) -> None:
    """Refuse predictors with settings of their own."""
    for name, predictor in module.named_predictors():
        own = "lm" if predictor.lm is not None else "config" if predictor.config else None
        if own is not None:
            raise ConfigurationError(
                f"The predictor {name} has its own {own}, which would override its member's: "
                "leave it out and set it on the member instead."
            )


def refuse_inner_mux(program: dspy.Module) -> None:
    """Refuse a program that contains a mux: its answers would be credited to the wrong members."""
    for name, pool in program.named_sub_modules(TakesRollouts):
        inner = name.removeprefix("self").removesuffix("pool").strip(".")
        which = f"contains a mux, {inner}, which" if inner else "is a mux itself, which"
        raise ConfigurationError(
            f"The program {which} asks its own members ({', '.join(pool.names)}), not those of "
            "the mux around it: give the inner mux all the members, or the outer one the program "
            "without it."
        )


def _has_parameter(program: dspy.Module, name: str) -> bool:
    """Return whether a program of the user's own has an input of this name."""
    # Of the class: DSPy warns where an instance's `forward` is looked at.
    forms = (getattr(type(program), form, None) for form in ("forward", "aforward"))
    return any(form is not None and name in inspect.signature(form).parameters for form in forms)
