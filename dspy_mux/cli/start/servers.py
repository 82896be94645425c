"""Find the model servers of this machine on their usual ports, and those at given addresses."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import ConfigurationError
from ...redact import looks_like_a_key
from .kinds import OLLAMA, OWN_PATHS, Model, kind_of, models_of, objects, use_of

if TYPE_CHECKING:
    import httpx

#: Where local servers listen unless they are told otherwise.
USUAL_PORTS = {
    "Ollama": 11434,
    "vLLM": 8000,
    "llama.cpp": 8080,
    "LM Studio": 1234,
    "SGLang": 30000,
    "Jan": 1337,
    "KoboldCpp": 5001,
    "dspy-mux": 8900,
}
#: Seconds to connect, between two pieces of a reply, and for all that is asked of one server.
_CONNECT_S, _READ_S, _WHOLE_S = 1.0, 3.0, 8.0
#: The largest reply that is read, in bytes.
_LARGEST = 2**22
#: Statuses of a server that asks for a key, or refuses the one it was sent.
_LOCKED = (401, 403)


@dataclass(frozen=True)
class Place:
    """Where to look.

    Attributes:
        address: of the protocol, with its /v1.
        given: whether the user named it; others may be anything.
        api_key_env: the environment variable with the key that it is sent; None for no key.
    """

    address: str
    given: bool = False
    api_key_env: str | None = None


@dataclass(frozen=True)
class Server:
    """A server that lists its models."""

    place: Place
    kind: str
    version: str
    models: tuple[Model, ...]


@dataclass(frozen=True)
class Silence:
    """A place that lists no models, and why.

    Attributes:
        wants_key: whether a key would help.
    """

    place: Place
    reason: str
    wants_key: bool = False


def usual_places() -> list[Place]:
    """Return the usual ports of this machine, and where OLLAMA_HOST says that Ollama is."""
    addresses = [f"http://localhost:{port}/v1" for port in USUAL_PORTS.values()]
    if host := os.environ.get("OLLAMA_HOST", "").strip():
        # Ollama's own reading: a host, a host:port or an address; 0.0.0.0 is for its server.
        try:
            parts = urlsplit(host if "://" in host else f"http://{host}")
        except ValueError as error:
            raise ConfigurationError(
                f"OLLAMA_HOST is no address ({error}): correct it, or unset it."
            ) from error
        name = "localhost" if parts.hostname in (None, "0.0.0.0", "::") else parts.hostname
        name = f"[{name}]" if ":" in str(name) else name
        port = _port(parts.netloc) or USUAL_PORTS[OLLAMA]
        addresses.append(f"{parts.scheme}://{name}:{port}/v1")
    return [Place(address) for address in dict.fromkeys(addresses)]


def _port(netloc: str) -> int | None:
    try:
        return urlsplit(f"//{netloc}").port
    except ValueError:
        return None


def given_place(text: str, api_key_env: str | None) -> Place:
    """Return the place that an `--address` names.

    Raises:
        ConfigurationError: it is not an address, or holds a password or a key.
    """
    address = (text if "://" in text else f"http://{text}").rstrip("/")
    if looks_like_a_key(address):
        raise ConfigurationError(
            "An --address holds a password or a key: put it in an environment variable and name "
            "that with --api-key-env."
        )
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.scheme not in ("http", "https") or not address.isprintable():
        raise ConfigurationError(
            f"--address {text!r} is not an address such as http://gpu:8000/v1."
        )
    return Place(address if parts.path else f"{address}/v1", True, api_key_env)


def find_servers(places: Sequence[Place]) -> tuple[list[Server], list[Silence]]:
    """Ask every place for its models, all at once.

    Returns:
        The servers, in the order of `places`, and the places without models that are worth a
        word: those that the user named, and those that want a key or are not ready yet.
    """
    found = asyncio.run(_look(places))
    servers: dict[str, Server] = {}
    for each in found:
        if isinstance(each, Server):
            servers.setdefault(each.place.address, each)
    return list(servers.values()), [each for each in found if isinstance(each, Silence)]


async def _look(places: Sequence[Place]) -> list[Server | Silence | None]:
    import httpx

    timeout = httpx.Timeout(_READ_S, connect=_CONNECT_S)
    # What listens on this machine is not asked through a proxy.
    own = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}
    async with httpx.AsyncClient(timeout=timeout, mounts=own) as client:
        return await asyncio.gather(*(_within(client, place) for place in places))


async def _within(client: httpx.AsyncClient, place: Place) -> Server | Silence | None:
    try:
        return await asyncio.wait_for(_ask(client, place), _WHOLE_S)
    except asyncio.TimeoutError:
        return Silence(place, "answers too slowly") if place.given else None


async def _ask(client: httpx.AsyncClient, place: Place) -> Server | Silence | None:
    import httpx

    try:
        status, body = await _get(client, place, f"{place.address}/models")
        if status == 404 and not place.address.endswith("/v1"):
            place = replace(place, address=f"{place.address}/v1")
            status, body = await _get(client, place, f"{place.address}/models")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # a key no header can hold
        reason = f"cannot be reached ({type(error).__name__})"
        return Silence(place, reason) if place.given else None
    if status in _LOCKED:
        return Silence(place, "asks for a key", wants_key=True)
    if status == 503:
        return Silence(place, "is not ready yet")
    if status != 200 or not isinstance(body, dict) or "data" not in body:
        reason = f"has no list of models at /models (status {status})"
        return Silence(place, reason) if place.given else None
    listed = objects(body["data"])
    root = place.address.removesuffix("/v1")
    replies = await asyncio.gather(*(_own(client, place, root + path) for path in OWN_PATHS))
    if place.api_key_env is None and any(status in _LOCKED for status, _ in replies):
        # llama.cpp lists its models to anybody, and answers with a key alone.
        return Silence(place, "asks for a key", wants_key=True)
    answered = zip(OWN_PATHS, replies, strict=True)
    own = {path: body for path, (status, body) in answered if status == 200}
    kind, version = kind_of(listed, own)
    models = [model for model in models_of(kind, listed, own) if model.id]
    if kind == OLLAMA:
        models = await _with_uses(client, place, root, models)
    return Server(place, kind, version, tuple(models))


async def _own(client: httpx.AsyncClient, place: Place, url: str) -> tuple[int, Any]:
    import httpx

    try:
        return await _get(client, place, url)
    except (httpx.HTTPError, httpx.InvalidURL):
        return 0, None


async def _with_uses(
    client: httpx.AsyncClient, place: Place, root: str, models: Sequence[Model]
) -> list[Model]:
    """Return Ollama's models with what it says of their uses, which it says of each alone."""
    import httpx

    async def with_use(model: Model) -> Model:
        try:
            asked = {"model": model.id}
            status, body = await _get(client, place, f"{root}/api/show", asked)
        except (httpx.HTTPError, httpx.InvalidURL):
            return model
        if status != 200 or not isinstance(body, dict) or not body.get("capabilities"):
            return model
        return replace(model, not_for=use_of(model.id, body["capabilities"]))

    return list(await asyncio.gather(*map(with_use, models)))


async def _get(
    client: httpx.AsyncClient, place: Place, url: str, body: object = None
) -> tuple[int, Any]:
    """Return a reply's status and what its JSON holds; None where it is not JSON.

    Args:
        body: posted as JSON; None to get the address.
    """
    key = os.environ.get(place.api_key_env) if place.api_key_env else None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    method = "GET" if body is None else "POST"
    async with client.stream(method, url, headers=headers, json=body) as reply:
        read = bytearray()
        async for piece in reply.aiter_bytes():
            read += piece
            if len(read) > _LARGEST:
                return reply.status_code, None
    try:
        return reply.status_code, json.loads(read)
    except (ValueError, RecursionError):
        return reply.status_code, None
