"""What a server allows: limits, keys, and whom it answers."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ConfigurationError

_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class ServeSettings:
    """The limits of a server, and whom it answers.

    Args:
        keys: name → API key that clients may have; empty for none. The names stand in metrics and
            logs, the keys nowhere.
        max_concurrency: questions that are answered at once; further ones are refused with 429.
        max_calls: LM calls that the process makes; None for no limit.
        max_cost: US dollars that the process spends; None for no limit.
        max_calls_per_key: LM calls that each key may make.
        max_cost_per_key: US dollars that each key may spend.
        deadline: seconds that a question may take.
        max_body: bytes of a request's body.
        body_timeout: seconds in which a request's body must have come.
        hosts: names by which clients may call the server, as their `Host` header has them; empty
            for any. None is any where there are keys, else the names of this machine alone: to
            others, a stranger's web page may give its own address.
        origins: web pages that may call it, such as `https://chat.example`; others may not.
        image_urls: whether clients may name images by http(s) addresses, which members' servers
            fetch, or for some providers this one; and a program's files by a `file_id`.
        grace: seconds that questions under way have to end when the server is stopped.

    Raises:
        ConfigurationError: a limit cannot work.
    """

    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_concurrency: int = 64
    max_calls: int | None = None
    max_cost: float | None = None
    max_calls_per_key: int | None = None
    max_cost_per_key: float | None = None
    deadline: float = 600.0
    max_body: int = 8 * 2**20
    body_timeout: float = 30.0
    hosts: Sequence[str] | None = None
    origins: Sequence[str] = ()
    image_urls: bool = False
    grace: float = 30.0

    def __post_init__(self) -> None:
        least = {"max_concurrency": 1, "max_body": 1, "max_calls": 1, "max_calls_per_key": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise ConfigurationError(f"{name} must be {lowest} or more, not {value!r}.")
        for name in ("deadline", "body_timeout", "max_cost", "max_cost_per_key"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ConfigurationError(f"{name} must be a number above 0, not {value!r}.")
        if not self.keys and (self.max_cost_per_key or self.max_calls_per_key):
            raise ConfigurationError("A limit for each key needs keys: pass some.")
        if "" in self.keys.values():
            raise ConfigurationError("An API key is empty.")
        if self.hosts is None:
            object.__setattr__(self, "hosts", () if self.keys else _LOCAL_NAMES)


def keys_from_environment(variables: Sequence[str]) -> dict[str, str]:
    """Return the API keys in environment variables, by the variables' names.

    Raises:
        ConfigurationError: one is not set, or two hold the same key.
    """
    keys: dict[str, str] = {}
    for name in variables:
        key = os.environ.get(name, "").strip()
        if not key:
            raise ConfigurationError(
                f"The environment variable {name!r}, which should hold an API key, is not set."
            )
        if not key.isascii() or not key.isprintable():
            raise ConfigurationError(
                f"The API key in {name!r} has characters that no HTTP header can hold."
            )
        if key in keys.values():
            raise ConfigurationError(f"Two variables hold the same API key; {name!r} is one.")
        keys[name] = key
    return keys


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def allowed_hosts(host: str, further: Sequence[str]) -> tuple[str, ...]:
    """Return the names that clients may call a server by; empty for any.

    A server for this machine alone that answered to any name would answer the web page of a
    stranger whose name resolves to this machine.
    """
    if not further and not is_loopback(host):
        return ()
    return tuple(dict.fromkeys((*_LOCAL_NAMES, *further)))
