"""Ollama's two protocols, and the prompts that it cuts without a word.

DSPy talks to Ollama by its OpenAI-compatible API, under /v1. A call with an option that only
Ollama's own API has, such as num_ctx, goes there by LiteLLM, under /api. One address is right for
one of them, so each call of a draw gets the one for its client.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import dspy
from dspy.lm15 import LM15Error, Request

logger = logging.getLogger("dspy_mux")

#: Seconds between two warnings of one model.
PAUSE_S = 60.0
_warned: dict[str, float] = {}


def is_ollama(lm: dspy.BaseLM) -> bool:
    """Whether an LM is Ollama's by its model string, and DSPy chooses its client."""
    named = str(lm.model).partition("/")[0] in ("ollama", "ollama_chat")
    return named and isinstance(getattr(lm, "engine", None), str)


def is_native(lm: dspy.BaseLM, prompt: Any, messages: Any, settings: Mapping[str, Any]) -> bool:
    """Whether DSPy's own client takes a call, rather than LiteLLM.

    Raises:
        Exception: what the call raises if it is wrong.
    """
    from dspy.clients import execution
    from dspy.clients.engines.lm15_engine import LM15Engine

    call = execution.prepare(lm, prompt, messages, dict(settings))
    return isinstance(execution._engine(lm, call, False)[0], LM15Engine)


def with_address(lm: dspy.BaseLM, asked: Sequence[Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return a call's settings, with the address of the API that its client speaks.

    Args:
        asked: the call's positional arguments, a prompt and messages.
    """
    own = {**lm.kwargs, **settings}
    given = own.get("api_base") or own.get("base_url") or os.environ.get("OLLAMA_API_BASE")
    if not is_ollama(lm) or not isinstance(given, str) or "request" in settings:
        return settings
    prompt, messages = [*asked, None, None][:2]
    if isinstance(prompt, Request):
        return settings
    options = dict(settings)
    prompt = options.pop("prompt", prompt)
    messages = options.pop("messages", messages)
    try:
        native = is_native(lm, prompt, messages, options)
    except (LM15Error, TypeError, ValueError, dspy.LMError):
        return settings  # the call says what is wrong
    return {**settings, "api_base": _address(given, native=native)}


def _address(given: str, *, native: bool) -> str:
    root = given.rstrip("/")
    if not native:
        return root.removesuffix("/v1")
    return root if urlsplit(root).path else f"{root}/v1"


def warn_of_full_context(lm: dspy.BaseLM, entry: Mapping[str, Any]) -> None:
    """Log a reply of Ollama's that filled the context, where the call says how large that is.

    Args:
        entry: the call's history entry.
    """
    context = {**lm.kwargs, **(entry.get("kwargs") or {})}.get("num_ctx")
    usage = entry.get("usage") or {}
    asked, replied = (int(usage.get(f"{of}_tokens") or 0) for of in ("prompt", "completion"))
    if not is_ollama(lm) or not isinstance(context, int) or asked + replied < context:
        return
    now = time.monotonic()
    if now - _warned.get(lm.model, -PAUSE_S) < PAUSE_S:
        return
    _warned[lm.model] = now
    logger.warning(
        "%s filled its context of num_ctx=%d tokens (%d of the prompt, %d of the reply): Ollama "
        "drops what does not fit without a word. Give it a larger num_ctx.",
        lm.model,
        context,
        asked,
        replied,
    )
