"""What a draw was made of, as text that is the same for the same draw and holds no secret."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dspy
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from .adapters import adapter_name
from .masking import is_secret, shown
from .members import NOT_IN_CACHE_KEY

if TYPE_CHECKING:
    from .mux import SLMMux


def of_inputs(inputs: Mapping[str, Any]) -> str:
    """The fingerprint of a question: of its inputs, whatever their order."""
    return _hash(jsonable(dict(inputs)))


def of_member(mux: SLMMux, at: int) -> tuple[str, dict[str, Any]]:
    """The fingerprint of all that shapes the draws of the member at position `at`, and its description.

    Signatures with their instructions and types, demos, adapter, temperature, extraction, how answers are compared, and the LM's
    model and settings without secrets. Not k, the deadline, nor the member's name.
    """
    member, program, adapter = mux.members[at], mux.programs[at], mux.adapter_of(at)
    description = {
        "module": f"{type(program).__module__}.{type(program).__qualname__}",
        "predictors": [_told(name, predictor) for name, predictor in program.named_predictors()],
        "adapter": adapter_name(adapter.inner.inner),  # what the two wrappers around every adapter hold
        "temperature": member.temperature,
        "model": member.lm.model,
        "settings": {
            name: shown(jsonable(value))
            for name, value in sorted(member.lm.kwargs.items())
            if name not in NOT_IN_CACHE_KEY and not is_secret(name) and value is not None
        },
        "extract": mux.extract,
        "answer": [mux.answer_field, mux.kind.name],
    }
    return _hash(description), description


def jsonable(value: Any) -> Any:
    """`value` as plain JSON values; what JSON has no form for is told by its type, never by a memory address."""
    return to_jsonable_python(value, fallback=_plain, inf_nan_mode="strings", serialize_unknown=False)


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
            field: [str(info.rebuild_annotation()), (info.json_schema_extra or {}).get("desc", "")] for field, info in part.items()
        }
        for side, part in (("inputs", signature.input_fields), ("outputs", signature.output_fields))
    }
    demos = [jsonable(dict(demo)) for demo in predictor.demos]
    return {"name": name, "instructions": signature.instructions, **fields, "demos": demos}


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
