"""One member of a pool file: which model, where it runs, and how it is asked."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from typing import Any, Literal

import dspy
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..adapters.formats import ADAPTERS
from ..errors import ConfigurationError
from ..keys import may_be_key
from ..local import CATALOG, local_member
from ..redact import is_secret, looks_like_a_key, masked, masked_address
from ..sampling.auto import AutoInFile
from ..sampling.members import Member, Resources
from ..text import first_line

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Names of variables that can be repeated in a message: they cannot be a misplaced key.
_SAFE_VARIABLE = re.compile(r"[A-Z]+|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
#: Members' names that are repeated in a message.
_SHOWN_NAME = re.compile(r"[\w/.:@-]{1,60}")

#: Keys not allowed in `options`: they have a setting of their own, belong to the mux, or are code.
_NOT_OPTIONS = {
    "accept_license",
    "adapter",
    "api_base",
    "api_key",
    "async_engine",
    "base_url",
    "callbacks",
    "engine",
    "finetuning_model",
    "k",
    "launch_kwargs",
    "model",
    "name",
    "prompt_cache",
    "provider",
    "rollout_id",
    "temperature",
    "train_kwargs",
}

AdapterName = Literal["chat", "json", "json_schema", "plain", "completion", "few_shot"]


class ResourcesEntry(BaseModel):
    """A `[members.resources]` table: what an embedded model takes of a cluster's machine."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    num_cpus: float = Field(default=1, gt=0, allow_inf_nan=False)
    num_gpus: float = Field(default=0, ge=0, allow_inf_nan=False)


class MemberEntry(BaseModel):
    """One `[[members]]` table."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str | None = Field(default=None, min_length=1)
    local: str | None = None
    model: str | None = None
    api_base: str | None = None
    api_key_env: str | None = None
    adapter: AdapterName | None = None
    engine: Literal["auto", "lm15", "litellm"] = "auto"
    k: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    logprobs: AutoInFile | None = None
    group: AutoInFile | None = None
    resources: ResourcesEntry | None = None
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse_secrets(cls, entry: Any) -> Any:
        for key, value in _nested_settings(entry):
            if key != "api_key_env" and is_secret(key):
                raise ValueError(
                    f"holds {key!r}: put the key in an environment variable and name that with "
                    "api_key_env"
                )
            if isinstance(value, str) and looks_like_a_key(value):
                raise ValueError(
                    f"holds a key or a password in its {key!r}: put it in an environment variable "
                    "and name that with api_key_env"
                )
        return entry

    @model_validator(mode="after")
    def _check_source(self) -> MemberEntry:
        if (self.local is None) == (self.model is None):
            raise ValueError(
                "needs either model (a model string) or local (a catalog name or .gguf path)"
            )
        if self.model in CATALOG:
            raise ValueError(
                f"has the model {self.model!r}, which runs in this process: "
                f"write local = {self.model!r}"
            )
        if self.local is not None and (self.api_base or self.api_key_env or self.engine != "auto"):
            raise ValueError("has local, which takes no api_base, api_key_env or engine")
        if self.api_base and (fault := address_fault(self.api_base)):
            raise ValueError(fault)
        if self.local is None and self.resources is not None:
            raise ValueError("has resources, which only local takes: its server has its own")
        return self

    @model_validator(mode="after")
    def _check_names(self) -> MemberEntry:
        names = [self.name or "", self.model or "", self.local or "", *self.options]
        if not "".join(names).isprintable():
            raise ValueError("has control characters in a name")
        for option in sorted(_NOT_OPTIONS & self.options.keys()):
            reason = (
                "it has a setting of its own"
                if option in type(self).model_fields
                else "a pool file cannot set it"
            )
            raise ValueError(f"has {option} among its options: {reason}")
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            raise ValueError(
                "has an api_key_env that is not the name of an environment variable: "
                "a pool file never holds the key itself"
            )
        return self

    def member(self, *, accept_license: bool = False) -> Member:
        """Return the member that this entry describes.

        Raises:
            ConfigurationError: its key variable is not set, or its model is unknown.
            MissingExtra: it is an embedded model, and llama.cpp is not installed.
            LocalModelError: its weights cannot be found or fetched.
        """
        settings = dict(self.options)
        if self.max_tokens is not None:
            settings["max_tokens"] = self.max_tokens
        adapter = ADAPTERS[self.adapter]() if self.adapter else None
        if self.local is None:
            settings |= self._server_settings()
        try:
            if self.local is not None:
                member = local_member(
                    self.local,
                    name=self.name,
                    adapter=adapter,
                    k=self.k,
                    temperature=self.temperature,
                    accept_license=accept_license,
                    **settings,
                )
                return dataclasses.replace(
                    member,
                    logprobs=self.logprobs,
                    group=self.group,
                    resources=(
                        None if self.resources is None else Resources(**self.resources.model_dump())
                    ),
                )
            lm = dspy.LM(self.model, engine=self.engine, **settings)
        except (TypeError, ValueError) as error:
            name = self.name or self.local or self.model
            raise ConfigurationError(
                f"Member {name!r} is not a usable LM: {masked(first_line(error))}"
            ) from error
        return Member(
            lm,
            name=self.name,
            adapter=adapter,
            k=self.k,
            temperature=self.temperature,
            logprobs=self.logprobs,
            group=self.group,
        )

    def _server_settings(self) -> dict[str, str]:
        settings = {}
        if self.api_key_env is not None:
            settings["api_key"] = self._key(self.api_key_env)
        elif self.api_base is not None:
            settings["api_key"] = "none"  # local servers ask for no key, clients insist on one
        if self.api_base is not None:
            settings["api_base"] = self.api_base
        return settings

    def _key(self, variable: str) -> str:
        if key := os.environ.get(variable):
            return key
        # Anything else may be the key itself.
        name = variable if _SAFE_VARIABLE.fullmatch(variable) else "NAME"
        raise ConfigurationError(
            f"Member {self.name or self.model!r} takes its key from the environment variable "
            f"{name}, which is not set: export {name}=…, where {name} is what its api_key_env says."
        )


def address_fault(address: str) -> str | None:
    """Return why an address is none of a server, and what to write; None where it is one.

    >>> print(address_fault("localhost:8000/v1"))
    has the api_base "localhost:8000/v1", without http:// or https://: write
    api_base = "http://localhost:8000/v1".
    """
    if address.casefold().startswith(("http://", "https://")):
        return None
    rest = address.rpartition("://")[2].lstrip("/")
    host = rest.partition("/")[0]
    # A name on the internet, without a port: neither a machine nearby nor an IP address.
    scheme = "https" if "." in host and ":" not in host and not host[-1].isdigit() else "http"
    right = masked_address(f"{scheme}://{rest}")
    given = right.partition("://")[2] if rest == address else masked_address(address)
    return (
        f"has the api_base {json.dumps(given)}, without http:// or https://: "
        f"write api_base = {json.dumps(right)}."
    )


def names_in(entries: object) -> list[str | None]:
    """Return what the tables of members call them; None where that cannot be shown."""
    names: list[str | None] = []
    for entry in entries if isinstance(entries, list) else []:
        told = map(entry.get, ("name", "local", "model")) if isinstance(entry, dict) else ()
        name = str(next((one for one in told if one), ""))
        names.append(name if _SHOWN_NAME.fullmatch(name) and not may_be_key(name) else None)
    return names


def _nested_settings(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Yield every key of a nested TOML value with its value; items of a list go by its name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _nested_settings(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield name, inner
            yield from _nested_settings(inner, name)
