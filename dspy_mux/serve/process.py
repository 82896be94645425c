"""The process of a server: where it listens, and what signals do."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConfigurationError, MissingExtra
from .app import create_app
from .settings import ServeSettings, is_loopback
from .sources import Sources


@dataclass(frozen=True)
class Listener:
    """Where a server listens.

    Attributes:
        no_auth: whether anybody who reaches it may ask.
    """

    host: str
    port: int
    no_auth: bool = False


def run(sources: Sources, settings: ServeSettings, listener: Listener) -> None:
    """Serve until a signal ends it.

    Raises:
        MissingExtra: FastAPI, uvicorn or what they need is not installed.
        ConfigurationError: others could reach it without a key, or it cannot listen there.
        MuxError: a file cannot be read.
    """
    if not (settings.keys or listener.no_auth or is_loopback(listener.host)):
        raise ConfigurationError(
            f"Whoever reaches {listener.host} could spend your money: ask for a key with "
            "--api-key-env, or say --no-auth."
        )
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtra(
            "Serving a mux needs uvicorn, which is not installed: pip install 'dspy-mux[serve]'."
        ) from error
    app = create_app(sources.load(), settings)
    config = uvicorn.Config(app, host=listener.host, port=listener.port)
    uvicorn.Server(config).run()
