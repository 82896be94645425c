"""Ask a server for the names of its models."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from ..text import shortened, visible
from .usage import is_loopback

#: Seconds for which a list is waited for, and for which it may go on coming; bytes that are read.
PATIENCE_S, LONGEST_BODY = 5.0, 2**20
#: Names are foreign text, which is shown to people: characters of one, and how many.
LONGEST_NAME, MOST_NAMES = 100, 1000
#: Parts of an address's path that are looked at.
_DEEPEST = 5


def models_at(address: str, key: str | None = None) -> list[str]:
    """Return the names of a server's models, in its order; none where it does not list them.

    Servers of OpenAI's form, Ollama among them, list them at `/v1/models`.

    Args:
        address: as `api_base` gives it, with or without `/v1`.
        key: what the server asks for; sent to this address alone.
    """
    root = address.rstrip("/")
    found = _listed([root] if root.endswith("/v1") else [f"{root}/v1", root], key)
    return [] if found is None else found[1]


def models_near(address: str, key: str | None = None) -> tuple[str, list[str]] | None:
    """Return the address of a server's API, and its models, given one with another path.

    None where no list of models is found: at the address itself, with `/v1` after it, or with parts
    of its path left out.

    Args:
        key: what the server asks for; sent to this server alone.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    origin, names = f"{parts.scheme}://{parts.netloc}", parts.path.strip("/").split("/")[:_DEEPEST]
    kept = ["/".join(["", *names[:count]]).rstrip("/") for count in range(len(names), -1, -1)]
    bases = [f"{origin}{kept[0]}"]  # first what is written
    for path in kept:
        bases += [f"{origin}{path}"] if path.endswith("/v1") else [f"{origin}{path}/v1"]
    return _listed(list(dict.fromkeys(bases)), key)


def _listed(bases: Sequence[str], key: str | None) -> tuple[str, list[str]] | None:
    """Return the first of these addresses that has a list of models, and the list."""
    import httpx  # loaded where a list is wanted

    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        # What listens on this machine is never behind a proxy.
        with httpx.Client(timeout=PATIENCE_S, trust_env=not is_loopback(bases[0])) as client:
            for base in bases:
                with client.stream("GET", f"{base}/models", headers=headers) as reply:
                    if reply.status_code == httpx.codes.OK and (names := _names(_body(reply))):
                        return base, names
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None  # among them a key that no header can hold
    return None


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
