"""Bodies of requests, read as strict JSON."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json


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
