"""Bodies, read and written as strict JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic_core import from_json

from ..text import whole


class StrictRequest(Request):
    """Reads JSON as RFC 8259 has it: no NaN, no half of a character, nesting up to 200 levels.

    Python's own reader lets these through, and they would fail in a member's client.
    """

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            try:
                self._json = from_json(await self.body(), allow_inf_nan=False)
            except ValueError as error:
                raise json.JSONDecodeError(str(error), "", 0) from error
        return self._json


class StrictRoute(APIRoute):
    """A route whose body is read by `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:
        answer = super().get_route_handler()

        async def read(request: Request) -> Response:
            return await answer(StrictRequest(request.scope, request.receive))

        return read


def strict_json(content: Any) -> str:
    r"""Return JSON that any client can read, whatever a member said.

    >>> strict_json({"ratio": float("nan"), "text": "half \ud83d"})
    '{"ratio": "NaN", "text": "half �"}'
    """
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    except ValueError:  # numbers that JSON lacks: their names stand for them
        named = json.loads(json.dumps(content), parse_constant=str)
        text = json.dumps(named, ensure_ascii=False)
    return whole(text)


class StrictResponse(JSONResponse):
    """A response whose body is written by `strict_json`."""

    def render(self, content: Any) -> bytes:
        return strict_json(content).encode()
