"""What is refused before a request is read: strange hosts and pages, bodies that are too large."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias

from .errors import APIError
from .keys import KeyRing
from .settings import ServeSettings

Scope: TypeAlias = MutableMapping[str, Any]
Event: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Bodies of the largest size that may be coming in at once, and when to try again beyond.
_BODIES = 8
_CROWDED_S = 1
#: Bytes of a refused body that are taken in, and for how many seconds.
_DISCARDED = 64 * 2**20
_DISCARDED_S = 10.0


class Guard:
    """ASGI middleware in front of the application.

    Args:
        count: takes the code of each refusal.
    """

    def __init__(
        self,
        app: Application,
        settings: ServeSettings,
        keys: KeyRing,
        count: Callable[[str | None], None],
    ):
        self._app, self._settings, self._keys, self._count = app, settings, keys, count
        self._room = _BODIES * settings.max_body  # bytes; what is asked is limited by the desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        over = False

        async def take() -> Event:
            nonlocal over
            event = await receive()
            over = not event.get("more_body")
            return event

        events: list[Event] = []
        try:
            self._check_caller(headers := _headers(scope))
            if scope["method"] == "POST":
                _check_kind(headers)
                # Strangers do not fill the memory: what they send is never kept.
                self._keys.name_of(headers.get("authorization", ""))
                events = await self._read(headers, take)
            elif headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
                await _discard(take)  # which no endpoint reads
        except APIError as error:
            self._count(error.code)
            # Who waits to be asked for the body, or is too slow, is not waited for.
            if not over and "expect" not in _headers(scope) and error.status != 408:
                await _discard(take)
            return await _refuse(error, send)

        async def replay() -> Event:
            if not events:
                return await receive()
            self._room += len(events[0]["body"])
            return events.pop(0)

        try:
            await self._app(scope, replay, send)
        finally:
            self._room += sum(len(event["body"]) for event in events)

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

    async def _read(self, headers: dict[str, str], receive: Receive) -> list[Event]:
        """Return the events of a request's body, once it has come."""
        most = self._settings.max_body
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
        try:
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    raise APIError(400, "The client hung up.", code="client_closed_request")
                part = event.get("body", b"")
                if size + len(part) > self._settings.max_body:
                    raise _too_large(self._settings.max_body)
                if len(part) > self._room:
                    raise APIError(
                        429,
                        "The bodies of others' requests are still coming in; ask again in a "
                        "moment.",
                        code="too_many_bodies",
                        retry_after=_CROWDED_S,
                    )
                parts.append(part)
                size, self._room = size + len(part), self._room - len(part)
                if not event.get("more_body"):
                    body = b"".join(parts)
                    size = 0  # who replays it makes the room again
                    return body
        finally:
            self._room += size
            parts.clear()  # which an error's traceback would keep


async def _discard(receive: Receive) -> None:
    """Take in what is still being sent, within limits.

    A connection that is closed before would be reset, and the client never read why.
    """

    async def discard() -> None:
        left = _DISCARDED
        while left > 0:
            event = await receive()
            left -= len(event.get("body", b""))
            if not event.get("more_body"):
                return

    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(discard(), _DISCARDED_S)


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _check_kind(headers: dict[str, str]) -> None:
    """Refuse what a page may send anywhere without being asked: all but JSON."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
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
