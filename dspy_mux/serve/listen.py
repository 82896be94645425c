"""How a server listens: uvicorn's settings, and patience with slow clients that has an end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .settings import ServeSettings

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from fastapi import FastAPI

#: Files that a server has use for.
_MOST_FILES = 2**16
#: Seconds in which a request's headers must have come, from the first byte or the connection on.
_HEADERS_S = 15.0
#: Bytes of a request's headers.
_LONGEST_HEADERS = 32 * 1024
#: Seconds beyond the grace in which those who are told that they get no answer have to hear it.
_LAST_WORDS_S = 5


def allow_files() -> None:
    """Let the process open as many files as it may; by default that is often 1,024.

    A question takes a connection of its own, and one to each member's server.
    """
    if resource is None:
        return
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if most == resource.RLIM_INFINITY else min(most, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # the system has a lower limit of its own
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def most_connections() -> int:
    """Return how many connections leave the process files for its own requests."""
    if resource is None:
        return 4096
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_FILES if allowed == resource.RLIM_INFINITY else allowed // 2


class PatientProtocol(H11Protocol):
    """Closes connections whose request does not come; uvicorn waits for one for ever.

    Where there are too many, the one that has waited longest makes room.
    """

    headers_timeout = _HEADERS_S
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > most_connections():
            timed = [(one._timer.when(), one) for one in self.connections if one._timer]
            min(timed, key=lambda pair: pair[0])[1].transport.close()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.headers_timeout, self._close_if_idle)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_if_idle(self) -> None:
        self._timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


def server_config(app: FastAPI, settings: ServeSettings, host: str, port: int) -> uvicorn.Config:
    """Return the settings that a server of muxes runs with.

    Args:
        port: 0 for a free one.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=PatientProtocol,
        ws="none",
        h11_max_incomplete_event_size=_LONGEST_HEADERS,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(settings.grace) + _LAST_WORDS_S,
    )
