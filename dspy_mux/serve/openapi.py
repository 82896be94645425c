"""The OpenAPI document: FastAPI's, with the errors that are really sent."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .schemas import ErrorBody
from .settings import ServeSettings

_ABOUT = {
    400: "The request is at fault; `param` says where.",
    401: "A key is needed.",
    403: "The server is called by a strange name, or by a strange web page.",
    404: "There is no such model.",
    408: "The body has not come in time.",
    413: "The body is too large.",
    415: "The body is not sent as application/json.",
    429: "Too many questions, a spent budget, or members that refuse for now.",
    500: "The mux or its program is at fault.",
    503: "No member answered, or the server is being stopped.",
    504: "The question took too long.",
}
_OF_A_QUESTION = (400, 404, 408, 413, 415, 429, 500, 503, 504)


def openapi_document(app: FastAPI, settings: ServeSettings) -> dict[str, Any]:
    """Return the document, which is made once."""
    if app.openapi_schema:
        return app.openapi_schema
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    described = ErrorBody.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(described.pop("$defs"))
    schemas["ErrorBody"] = described
    if settings.keys:
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            closed = bool(settings.keys) and path.startswith(("/v1", "/metrics"))
            _describe(operation, _statuses(path, method, closed))
            if closed:
                operation["security"] = [{"key": []}]
    app.openapi_schema = document
    return document


def _statuses(path: str, method: str, closed: bool) -> list[int]:
    """Return the statuses of an operation's errors."""
    found = {403, *((401,) if closed else ())}
    if method == "post":
        found |= set(_OF_A_QUESTION)
    elif "{" in path:
        found.add(404)
    return sorted(found)


def _describe(operation: dict[str, Any], statuses: list[int]) -> None:
    responses = operation["responses"]
    responses.pop("422", None)  # such are sent as 400, as at OpenAI
    for status in statuses:
        responses[str(status)] = {
            "description": _ABOUT[status],
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}},
        }
