"""Traces that DSPy's optimizers can read: which steps of which draws they see, and whose they are.

An optimizer finds a step's predictor by its identity (BootstrapFewShot, MIPROv2, SIMBA) or by its
signature (GEPA). Members are copies of one program, so each one's signatures carry its place.

A question's trace has the winning draw last. Before it come, of every other member, the steps of
its first draw with the same answer: what scores the winner scores them too, so that a member which
never wins learns from its own draws. An optimizer that collects traces to reflect on them also sees
all other draws, right and wrong, under a stand-in for their predictor: equal to it, with its
signature, and never made a demo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import dspy

from ..sampling.draw import Draw

#: One step of DSPy's trace: predictor, inputs, outputs.
Step: TypeAlias = tuple[Any, dict[str, Any], dspy.Prediction]

#: The key, among a field's extras, of the predictor that a signature belongs to.
_PLACE = "dspy_mux_predictor"


def mark_predictors(program: dspy.Module, member: int) -> None:
    """Give the predictors of a member's program signatures that equal no other member's."""
    for name, predictor in program.named_predictors():
        predictor.signature = _marked(predictor.signature, f"programs[{member}].{name}")


def mark_members(programs: Sequence[dspy.Module]) -> None:
    """Mark the predictors of a mux's programs by their present places."""
    for at, program in enumerate(programs):
        mark_predictors(program, at)


def extend_trace(
    winner: Draw, cast: Sequence[tuple[Draw, int | None]], everyone: Sequence[Draw]
) -> None:
    """Append a question's steps to DSPy's current trace, within its bound.

    Args:
        cast: the draws that were counted, with the classes of their answers.
        everyone: all draws of the question.
    """
    settings = dspy.settings
    if settings.trace is None or settings.max_trace_size <= 0:
        return
    learned_from = [*_agreeing(winner, cast), winner]
    if _is_collected():
        settings.trace.extend(
            step
            for draw in everyone
            if not any(draw is other for other in learned_from)
            for step in _stood_in(draw)
        )
    for draw in learned_from:
        settings.trace.extend(draw.trace)
    del settings.trace[: -settings.max_trace_size]


class StandIn:
    """Stands for a predictor in steps that must not become its demos.

    It has the predictor's attributes, equals it and has its hash, and is another object.

    Args:
        drawn: the prediction of the step's draw, or why that abstained; None where unknown.
    """

    def __init__(self, predictor: dspy.Predict, drawn: dspy.Prediction | str | None = None):
        self._predictor, self._drawn = predictor, drawn

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_predictor", "_drawn"):
            raise AttributeError(name)
        return getattr(self._predictor, name)

    def __eq__(self, other: object) -> bool:
        if type(other) is StandIn:
            other = other._predictor
        return self._predictor is other

    def __hash__(self) -> int:
        return hash(self._predictor)

    def __reduce__(self) -> tuple[type[StandIn], tuple[dspy.Predict]]:
        return StandIn, (self._predictor,)


def is_a_members(predictor: dspy.Predict) -> bool:
    """Return whether a predictor belongs to a member of a mux."""
    fields = predictor.signature.fields.values()
    return any(_PLACE in (field.json_schema_extra or {}) for field in fields)


def drawn_with(outputs: dspy.Prediction, trace: Sequence[Step]) -> dspy.Prediction | str | None:
    """Return the prediction of the draw that a step's outputs are of, or why it abstained.

    None where the trace does not say, as for the winning draw and those that agree with it.
    """
    for predictor, _, others in trace:
        if others is outputs and type(predictor) is StandIn:
            return predictor._drawn
    return None


def _stood_in(draw: Draw) -> Iterator[Step]:
    drawn = draw.cause or draw.prediction
    for predictor, inputs, outputs in list(draw.trace):
        stand_in = predictor if type(predictor) is StandIn else StandIn(predictor, drawn)
        yield stand_in, inputs, outputs


def _agreeing(winner: Draw, cast: Sequence[tuple[Draw, int | None]]) -> list[Draw]:
    """Return every other member's first draw with the winning answer."""
    answer = next((group for draw, group in cast if draw is winner), None)
    first: dict[str, Draw] = {}
    if answer is not None:
        for draw, group in cast:
            if group == answer and draw.member.label != winner.member.label:
                first.setdefault(draw.member.label, draw)
    return list(first.values())


def _is_collected() -> bool:
    """Whether an optimizer collects traces: dspy's `bootstrap_trace_data` replaces `forward`."""
    return any("forward" in vars(module) for module in dspy.settings.caller_modules or [])


def _marked(signature: type[dspy.Signature], place: str) -> type[dspy.Signature]:
    """Return a subclass of the signature that is its own only in `Signature.equals`."""
    names = [*signature.input_fields, *signature.output_fields]
    if not names:
        return signature
    metaclass: Any = type(signature)
    namespace = {
        name: getattr(signature, name) for name in ("__doc__", "__module__", "__qualname__")
    }
    marked: type[dspy.Signature] = metaclass(signature.__name__, (signature,), namespace)
    field = marked.model_fields[names[0]]
    field.json_schema_extra = {**(field.json_schema_extra or {}), _PLACE: place}
    return marked
