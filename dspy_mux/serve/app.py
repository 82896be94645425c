"""The application: OpenAI's protocol in front of muxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import MissingExtra
from ..mux.ensemble import Ensemble
from .settings import ServeSettings

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(muxes: Mapping[str, Ensemble], settings: ServeSettings | None = None) -> FastAPI:
    """Return an ASGI application that serves muxes by OpenAI's protocol.

    Args:
        muxes: name → an `SLMMux` of a program, or of `chat_mux`.
        settings: the limits, and the keys of those who may ask.

    Raises:
        MissingExtra: FastAPI or what it needs is not installed.
        ConfigurationError: there is no mux, or two models would have one name.

    Example:
        `uvicorn module:app` runs it, and so does `dspy-mux serve`:

        >>> import dspy
        >>> from dspy_mux import SLMMux
        >>> lms = {name: dspy.utils.DummyLM([{"answer": "4"}]) for name in ("a", "b")}
        >>> app = create_app({"sums": SLMMux("question -> answer: int", lms)})
    """
    try:
        from .routes import application
    except ImportError as error:
        raise MissingExtra(missing(error)) from error
    return application(muxes, settings or ServeSettings())


def missing(error: ImportError) -> str:
    """Return what to tell where something that serving needs is not installed."""
    return (
        f"Serving a mux needs {error.name}, which is not installed: pip install 'dspy-mux[serve]'."
    )
