"""The bodies of responses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from ..mux.prediction import verdict_body
from ..mux.slm_mux import SLMMux
from .answer import Answer
from .errors import APIError
from .models import ServedModel, kind_name

if TYPE_CHECKING:
    from .desk import Desk


def completion(answer: Answer) -> dict[str, Any]:
    """Return a chat completion."""
    choice = {
        "index": 0,
        "message": answer.message,
        "finish_reason": answer.finish_reason,
        "logprobs": None,
    }
    return {
        **head(answer.model, "chat.completion"),
        "choices": [choice],
        "usage": answer.usage,
        "mux": verdict_body(answer.verdict),
    }


def head(model: ServedModel, kind: str) -> dict[str, Any]:
    """Return what a completion and each of its chunks begin with."""
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": model.name,
        "system_fingerprint": None,
    }


def model(one: ServedModel) -> dict[str, Any]:
    """Return a model as OpenAI's protocol lists it."""
    return {
        "id": one.name,
        "object": "model",
        "created": one.created,
        "owned_by": "dspy-mux",
    }


def mux(one: ServedModel) -> dict[str, Any]:
    """Return what a mux is, and what it asks for."""
    rule, settings = one.mux.pool.rule, one.mux.pool.settings
    return {
        "name": one.name,
        "kind": "chat" if one.is_chat else "program",
        "inputs": [] if one.is_chat else list(_inputs(one)),
        "answer": one.mux.answer_field,
        "answer_kind": kind_name(one),
        "members": [member.label for member in one.mux.members],
        "k": max(member.k or 1 for member in one.mux.members),
        "draws": one.draws,
        "rule": None if rule is None else rule.name,
        "schedule": settings.schedule if isinstance(one.mux, SLMMux) else None,
        "threshold": settings.threshold,
    }


def mux_in_full(one: ServedModel) -> dict[str, Any]:
    """Return a mux with its inputs and outputs as JSON schemas."""
    if one.is_chat:
        return mux(one)
    return {
        **mux(one),
        "input_schema": one.inputs.model_json_schema(),
        "output_schema": one.outputs.model_json_schema(),
    }


def _inputs(one: ServedModel) -> Iterator[dict[str, Any]]:
    for name, field in one.inputs.model_fields.items():
        kind = _TYPES.get(field.annotation, "json")
        described: dict[str, Any] = {"name": name, "type": kind, "required": field.is_required()}
        described["description"] = field.description
        if get_origin(field.annotation) is Literal:
            described |= {"type": "choice", "choices": list(get_args(field.annotation))}
        yield described


def readiness(desk: Desk) -> tuple[dict[str, Any], bool]:
    """Return which members are up, and whether each mux has one that is."""
    muxes, is_ready = {}, not desk.is_closing
    for one in desk.models.values():
        if one.member is None:
            down = {name: desk.health.cause(one.name, name) for name in one.mux.pool.names}
            muxes[one.name] = {
                name: "up" if cause is None else f"down: {cause}" for name, cause in down.items()
            }
            is_ready = is_ready and None in down.values()
    status = "ok" if is_ready else "closing" if desk.is_closing else "no member is up"
    return {"status": status, "muxes": muxes}, is_ready


_TYPES: dict[Any, str] = {str: "str", int: "int", float: "float", bool: "bool"}


def not_valid(mistakes: Sequence[Any]) -> APIError:
    """Return what a client is told of a body that is not a request.

    Args:
        mistakes: pydantic's.
    """
    first = mistakes[0]
    where = [str(part) for part in first["loc"] if part != "body"]
    if first["type"] == "json_invalid":
        return APIError(400, "The request's body is not valid JSON.", code="invalid_json")
    param = ".".join(where)[:100] or None
    return APIError(
        400,
        f"{param or 'The body'!s}: {first['msg']}.",
        param=param,
        code="missing_required_parameter" if first["type"] == "missing" else "invalid_value",
    )
