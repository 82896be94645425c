"""Ask a server for the names of its models."""

from __future__ import annotations

import json
import time
from typing import Any

from ..text import shortened, visible
from .usage import is_loopback

#: Seconds for which a list is waited for, and for which it may go on coming; bytes that are read.
PATIENCE_S, LONGEST_BODY = 5.0, 2**20
#: Names are foreign text, which is shown to people: characters of one, and how many.
LONGEST_NAME, MOST_NAMES = 100, 1000


def models_at(address: str, key: str | None = None) -> list[str]:
    """Return the names of a server's models, in its order; none where it does not list them.

    Servers of OpenAI's form, Ollama among them, list them at `/v1/models`.

    Args:
        address: as `api_base` gives it, with or without `/v1`.
        key: what the server asks for; sent to this address alone.
    """
    import httpx  # loaded where a list is wanted

    root = address.rstrip("/")
    places = [f"{root}/models"] if root.endswith("/v1") else [f"{root}/v1/models", f"{root}/models"]
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        # What listens on this machine is never behind a proxy.
        with httpx.Client(timeout=PATIENCE_S, trust_env=not is_loopback(address)) as client:
            for place in places:
                with client.stream("GET", place, headers=headers) as reply:
                    if reply.status_code == httpx.codes.OK and (names := _names(_body(reply))):
                        return names
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return []  # among them a key that no header can hold
    return []


def _body(reply: Any) -> object:
    """Return a reply's JSON value; None for anything else, or what is too long or too slow."""
    read, end = b"", time.monotonic() + PATIENCE_S
    for part in reply.iter_bytes():
        read += part
        if len(read) > LONGEST_BODY or time.monotonic() > end:
            return None
    try:
        value: object = json.loads(read)
    except (ValueError, RecursionError):
        return None
    return value


def _names(body: object) -> list[str]:
    listed = body.get("data") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        return []
    names = [one.get("id") for one in listed if isinstance(one, dict)]
    known = [name for name in names if isinstance(name, str) and name]
    return [shortened(visible(name), LONGEST_NAME) for name in known[:MOST_NAMES]]
