"""A mux behind OpenAI's protocol, on loopback, for as long as a block lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn

from dspy_mux import create_app
from dspy_mux.mux.ensemble import Ensemble
from dspy_mux.serve.listen import server_config
from dspy_mux.serve.settings import ServeSettings

from .wait import until


@contextmanager
def served(muxes: Mapping[str, Ensemble], settings: ServeSettings | None = None) -> Iterator[str]:
    """Serve muxes by name on a thread of this process; yield the address."""
    settings = settings or ServeSettings()
    config = server_config(create_app(muxes, settings), settings, "127.0.0.1", 0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
