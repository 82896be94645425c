"""Fingerprints of questions, members and scores: equal for equal settings, and free of secrets."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dspy
import numpy as np
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from ..adapters.formats import adapter_name
from ..mux.code_hash import hash_callable, hash_type, hash_value, recorded_name
from ..redact import is_secret, shown
from ..sampling.content import content, content_of_fields, ordered, refuse
from ..sampling.members import NOT_IN_CACHE_KEY

if TYPE_CHECKING:
    from ..mux.slm_mux import SLMMux


def fingerprint_inputs(inputs: Mapping[str, Any]) -> str:
    """Return the fingerprint of a question, which is that of its inputs in any order.

    Values count by their content (`sampling/content.py`).

    Raises:
        ConfigurationError: an input has no content, such as a function.

    >>> fingerprint_inputs({"a": 1, "b": 2}) == fingerprint_inputs({"b": 2, "a": 1})
    True
    """
    return hash_value(content_of_fields(inputs))


def fingerprint_member(mux: SLMMux, at: int) -> tuple[str, dict[str, Any]]:
    """Return the fingerprint of all that shapes a member's draws, and the description it is of.

    The description has the program's code and settings, its signatures with instructions and
    types, its demos, the adapter, the temperature, the extraction, the comparison of answers, and
    the LM's model and settings without secrets. It leaves out k, the deadline, the member's name,
    and what the program's code reads outside its own modules (`mux/code_hash.py`).

    Args:
        at: the member's position in the pool.
    """
    member, program, adapter = mux.members[at], mux.programs[at], mux.adapter_of(at)
    description = {
        "module": f"{type(program).__module__}.{type(program).__qualname__}",
        "predictors": [
            _describe_predictor(name, predictor) for name, predictor in program.named_predictors()
        ],
        # Two wrappers surround every adapter.
        "adapter": adapter_name(adapter.inner.inner),
        "temperature": member.temperature,
        "model": member.lm.model,
        "settings": {
            name: shown(content(value, lambda unknown: type(unknown).__qualname__))
            for name, value in sorted(member.lm.kwargs.items())
            if name not in NOT_IN_CACHE_KEY and not is_secret(name) and value is not None
        },
        "extract": mux.extract,
        "answer": describe_comparison(mux),
    }
    if mux.code is not None:
        description["code"] = mux.code
    return hash_value(description), description


def fingerprint_score(metric: str, example: dspy.Example) -> str:
    """Return the fingerprint of what determines a score besides the answer.

    Args:
        metric: the metric's hash (`code_hash.hash_callable`).
        example: its labels count, above all the gold answer; functions among them by their code.

    Raises:
        ConfigurationError: a label has no content.
    """
    return hash_value([metric, content_of_labels(example)])[:16]


def content_of_labels(example: dspy.Example) -> dict[str, Any]:
    """Return the content of what an example holds beside its inputs, without DSPy's own fields.

    Raises:
        ConfigurationError: a label has none.
    """
    labels = example.labels().toDict()
    own = {name: value for name, value in labels.items() if not name.startswith("dspy_")}
    return content_of_fields(own, "label", _code)


def _code(value: object) -> str:
    """Return the hash of a function's code."""
    return hash_callable(value) if inspect.isroutine(value) else refuse(value)


def describe_comparison(mux: SLMMux) -> list[str]:
    """Name the answer field and its equivalence; a user's own equivalence by its code."""
    return [mux.answer_field, *mux.compares]


def jsonable(value: Any) -> Any:
    """Return `value` as plain JSON values, as banks record them.

    A value without a JSON form becomes the name of its type, never a memory address.

    >>> jsonable({"tags": {"b", "a"}, "at": object()})
    {'tags': ['a', 'b'], 'at': 'object'}
    """
    return to_jsonable_python(
        _sort_sets(value), fallback=_plain, inf_nan_mode="strings", serialize_unknown=False
    )


def _sort_sets(value: Any) -> Any:
    """Replace sets, whose order differs from process to process, by sorted lists."""
    if isinstance(value, dict):
        return {key: _sort_sets(inner) for key, inner in value.items()}
    if type(value) in (list, tuple):
        return [_sort_sets(inner) for inner in value]
    if isinstance(value, (set, frozenset)):
        return [_sort_sets(inner) for inner in ordered(value)]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (dspy.Example, dspy.Prediction)):
        return value.toDict()
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return type(value).__qualname__


def _describe_predictor(name: str, predictor: dspy.Predict) -> dict[str, Any]:
    signature = predictor.signature
    fields = {
        side: {
            field: [part for part in _describe_field(info) if part is not None]
            for field, info in infos.items()
        }
        for side, infos in (
            ("inputs", signature.input_fields),
            ("outputs", signature.output_fields),
        )
    }
    demos = [content_of_fields(dict(demo), "field of a demo") for demo in predictor.demos]
    return {"name": name, "instructions": signature.instructions, **fields, "demos": demos}


def _describe_field(info: FieldInfo) -> list[JsonValue]:
    annotation, extra = info.rebuild_annotation(), info.json_schema_extra
    return [
        recorded_name(annotation),
        extra.get("desc", "") if isinstance(extra, dict) else "",
        hash_type(annotation),
    ]
