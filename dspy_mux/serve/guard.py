"""What is refused before a request is read: strange hosts and pages, bodies that are too large."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from .errors import APIError
from .settings import ServeSettings

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """ASGI middleware in front of the application."""

    def __init__(self, app: Application, settings: ServeSettings):
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        try:
            self._check_caller(_headers(scope))
            _check_kind(scope)
            events = await self._read(scope, receive)
        except APIError as error:
            return await _refuse(error, send)

        async def replay() -> Event:
            return events.pop(0) if events else await receive()

        await self._app(scope, replay, send)

    def _check_caller(self, headers: dict[str, str]) -> None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._settings.hosts and _name(host) not in self._settings.hosts:
            raise APIError(
                403,
                f"This server is not called {_name(host)[:100]!r}; --allow-host adds a name.",
                code="unknown_host",
            )
        if origin is None or origin in self._settings.origins:
            return
        if origin.partition("://")[2] != host:
            raise APIError(
                403,
                f"Pages of {origin[:100]!r} may not ask this server; --allow-origin lets them.",
                code="unknown_origin",
            )

    async def _read(self, scope: Scope, receive: Receive) -> list[Event]:
        """Return the events of a request's body, once it has come."""
        headers, most = _headers(scope), self._settings.max_body
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > most:
            raise _too_large(most)
        if length == "0" and "transfer-encoding" not in headers:
            return []
        try:
            body = await asyncio.wait_for(self._body(receive), self._settings.body_timeout)
        except asyncio.TimeoutError as error:
            raise APIError(
                408,
                f"The request's body has not come within {self._settings.body_timeout:g} s.",
                code="slow_body",
            ) from error
        return [{"type": "http.request", "body": body, "more_body": False}]

    async def _body(self, receive: Receive) -> bytes:
        parts, size = [], 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise APIError(400, "The client hung up.", code="client_closed_request")
            part = event.get("body", b"")
            size += len(part)
            if size > self._settings.max_body:
                raise _too_large(self._settings.max_body)
            parts.append(part)
            if not event.get("more_body"):
                return b"".join(parts)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _check_kind(scope: Scope) -> None:
    """Refuse what a page may send anywhere without being asked: all but JSON."""
    kind = _headers(scope).get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] == "POST" and kind != "application/json":
        raise APIError(415, "Send the body as application/json.", code="not_json")


def _name(host: str) -> str:
    """Return a `Host` header without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _too_large(most: int) -> APIError:
    return APIError(413, f"The request's body has more than {most} bytes.", code="body_too_large")


async def _refuse(error: APIError, send: Send) -> None:
    body = json.dumps(error.body()).encode()
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",  # what is left of the body is not read
        **error.headers(),
    }
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
