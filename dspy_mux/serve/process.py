"""The process of a server: where it listens, and what signals do."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import sqlite3
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from socket import socket
from types import FrameType
from typing import TYPE_CHECKING, Any

import dspy

from ..errors import ConfigurationError, MissingExtra, MuxError
from ..redact import masked
from ..text import first_line
from .app import create_app, missing
from .settings import ServeSettings, is_loopback
from .sources import Sources

if TYPE_CHECKING:
    import uvicorn

    from .desk import Desk

#: Replies that DSPy's cache keeps in memory; those on disk are DSPy's to bound.
_MOST_IN_MEMORY = 20_000
logger = logging.getLogger("dspy_mux")


@dataclass(frozen=True)
class Listener:
    """Where a server listens.

    Attributes:
        no_auth: whether anybody who reaches it may ask.
    """

    host: str
    port: int
    no_auth: bool = False


def run(
    sources: Sources, settings: ServeSettings, listener: Listener, *, cached: bool = True
) -> None:
    """Serve until a signal ends it.

    SIGTERM and Ctrl-C end it once the questions under way are answered, or after the grace; the
    second one ends it at once. SIGHUP reads the files again.

    Args:
        cached: whether DSPy's cache answers what was asked before.

    Raises:
        MissingExtra: FastAPI, uvicorn or what they need is not installed.
        ConfigurationError: others could reach it without a key.
        MuxError: a file cannot be read, or it cannot listen there.
    """
    if not (settings.keys or listener.no_auth or is_loopback(listener.host)):
        raise ConfigurationError(
            f"Whoever reaches {listener.host} could spend your money: ask for a key with "
            "--api-key-env, or say --no-auth."
        )
    try:
        from .listen import allow_files, server_config
    except ImportError as error:
        raise MissingExtra(missing(error)) from error
    allow_files()
    app = create_app(sources.load(), settings)
    config = server_config(app, settings, listener.host, listener.port)
    own = _bound(config, listener)
    _configure_cache(cached)
    asyncio.run(_serve(config, sources, app.state.desk, own))


def _bound(config: uvicorn.Config, listener: Listener) -> socket:
    """Return the socket that a server listens on.

    Raises:
        MuxError: it cannot listen there.
    """
    log = logging.getLogger("uvicorn.error")
    kept, log.disabled = log.disabled, True  # it logs the bare error, which the sentence holds
    try:
        return config.bind_socket()
    except SystemExit as ended:
        cause = ended.__context__
        raise MuxError(
            _no_listening(cause if isinstance(cause, OSError) else None, listener)
        ) from None
    finally:
        log.disabled = kept


def _no_listening(cause: OSError | None, listener: Listener) -> str:
    where = f"The server cannot listen on {listener.host}:{listener.port}"
    if cause is not None and cause.errno == errno.EADDRINUSE:
        return (
            f"{where}, where something listens: choose another --port, or end what listens there."
        )
    why = "" if cause is None or not cause.strerror else f" ({cause.strerror})"
    return f"{where}{why}: choose another --host or --port."


def _configure_cache(cached: bool) -> None:
    """Bound DSPy's cache in memory, which by itself grows to a million replies."""
    settings = {"enable_memory_cache": cached, "memory_max_entries": _MOST_IN_MEMORY}
    try:
        dspy.configure_cache(enable_disk_cache=cached, **settings)
    except (OSError, sqlite3.Error) as error:
        logger.warning("DSPy's cache is kept in memory alone: %s", masked(str(error)))
        dspy.configure_cache(enable_disk_cache=False, **settings)


def _address_of(own: socket) -> str:
    host, port = own.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _serve(config: uvicorn.Config, sources: Sources, desk: Desk, own: socket) -> None:
    import uvicorn

    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def begin(work: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(work)
        tasks.add(task)  # the loop keeps no reference
        task.add_done_callback(tasks.discard)

    class Server(uvicorn.Server):
        should_exit: bool

        async def startup(self, sockets: list[socket] | None = None) -> None:
            await super().startup(sockets)
            # Only now: who reads this may connect, and send signals.
            print(f"Serving {', '.join(sources.files)} at {_address_of(own)}/v1", flush=True)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            if self.should_exit:
                logger.warning("Ended at once: questions under way are given up.")
                self.force_exit = True
                return
            self.should_exit = True
            loop.call_soon_threadsafe(lambda: begin(desk.close()))

    if sys.platform != "win32":
        reloads = asyncio.Lock()
        loop.add_signal_handler(signal.SIGHUP, lambda: begin(_reload(sources, desk, reloads)))
    await Server(config).serve(sockets=[own])


async def _reload(sources: Sources, desk: Desk, turn: asyncio.Lock) -> None:
    """Read the files again; keep what is served where one is broken."""
    from .models import served_models

    async with turn:
        try:
            models = await asyncio.to_thread(lambda: served_models(sources.load()))
        except Exception as error:  # noqa: BLE001  (what is served goes on)
            logger.error("Still serving what was served before: %s", masked(first_line(error)))
            return
        desk.models = models
        logger.warning("The files were read again: %s.", ", ".join(models))
