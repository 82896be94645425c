"""What a draw was made of, as text that is the same for the same draw and holds no secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dspy
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from ..adapters.formats import adapter_name
from ..mux.code_hash import hash_type, hash_value
from ..redact import is_secret, shown
from ..sampling.members import NOT_IN_CACHE_KEY

if TYPE_CHECKING:
    from ..mux.slm_mux import SLMMux


def of_inputs(inputs: Mapping[str, Any]) -> str:
    """The fingerprint of a question: of its inputs, whatever their order."""
    return hash_value(jsonable(dict(inputs)))


def of_member(mux: SLMMux, at: int) -> tuple[str, dict[str, Any]]:
    """The fingerprint of all that shapes the draws of the member at position `at`, and its description.

    The program's code and settings, signatures with their instructions and types, demos, adapter, temperature, extraction, how
    answers are compared, and the LM's model and settings without secrets. Not k, the deadline, nor the member's name; nor what the
    program's code reads outside its modules (`source.py`).
    """
    member, program, adapter = mux.members[at], mux.programs[at], mux.adapter_of(at)
    description = {
        "module": f"{type(program).__module__}.{type(program).__qualname__}",
        "predictors": [_told(name, predictor) for name, predictor in program.named_predictors()],
        "adapter": adapter_name(
            adapter.inner.inner
        ),  # what the two wrappers around every adapter hold
        "temperature": member.temperature,
        "model": member.lm.model,
        "settings": {
            name: shown(jsonable(value))
            for name, value in sorted(member.lm.kwargs.items())
            if name not in NOT_IN_CACHE_KEY and not is_secret(name) and value is not None
        },
        "extract": mux.extract,
        "answer": answers_of(mux),
    }
    if mux.code is not None:
        description["code"] = mux.code
    return hash_value(description), description


def of_score(metric: str, example: dspy.Example) -> str:
    """The fingerprint of what an answer is scored by: the metric's hash (`source.hash_callable`), and what the example knows beside
    its inputs, its gold answer above all."""
    labels = {
        name: value
        for name, value in example.labels().toDict().items()
        if not name.startswith("dspy_")
    }
    return hash_value([metric, jsonable(labels)])[:16]


def answers_of(mux: SLMMux) -> list[str]:
    """Which output is the answer, and how answers are compared: by a kind's name, and for a user's own by its code."""
    return [mux.answer_field, *mux.compares]


def jsonable(value: Any) -> Any:
    """`value` as plain JSON values; what JSON has no form for is told by its type, never by a memory address."""
    return to_jsonable_python(
        _in_order(value), fallback=_plain, inf_nan_mode="strings", serialize_unknown=False
    )


def _in_order(value: Any) -> Any:
    """A value whose sets, which have another order in every process, are sorted lists."""
    if isinstance(value, dict):
        return {key: _in_order(inner) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return [_in_order(inner) for inner in value]
    return sorted(map(_in_order, value), key=repr) if isinstance(value, (set, frozenset)) else value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (dspy.Example, dspy.Prediction)):
        return value.toDict()
    return type(value).__qualname__


def _told(name: str, predictor: dspy.Predict) -> dict[str, Any]:
    signature = predictor.signature
    fields = {
        side: {
            field: [told for told in _told_field(info) if told is not None]
            for field, info in part.items()
        }
        for side, part in (("inputs", signature.input_fields), ("outputs", signature.output_fields))
    }
    demos = [jsonable(dict(demo)) for demo in predictor.demos]
    return {"name": name, "instructions": signature.instructions, **fields, "demos": demos}


def _told_field(info: FieldInfo) -> list[Any]:
    annotation, extra = info.rebuild_annotation(), info.json_schema_extra
    return [
        str(annotation),
        extra.get("desc", "") if isinstance(extra, dict) else "",
        hash_type(annotation),
    ]
