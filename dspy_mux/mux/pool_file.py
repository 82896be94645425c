"""Pool files: a pool of members and the mux over them, as TOML.

    program = "question -> answer"      # a signature; the default
    k = 3
    temperature = 0.5

    [[members]]
    local = "smollm2-135m"              # a catalog name or a path to a .gguf file

    [[members]]
    name = "qwen"
    model = "openai/qwen2.5-7b"         # any DSPy / LiteLLM model string
    api_base = "http://gpu:8000/v1"
    api_key_env = "GPU_KEY"             # the NAME of an environment variable; keys never stand in a file

A pool file is data: it names models, never code.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import dspy
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..adapters.formats import ADAPTERS
from ..errors import ConfigurationError, MuxError, first_mistake
from ..local import CATALOG, local_member
from ..redact import is_secret, looks_like_a_key, masked
from ..sampling.members import Member, check_members
from .saved import SAVED_OPTIONS, SavedPool, Schedule, check_rule
from .signature_text import signature_of
from .slm_mux import SLMMux

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: No pool file and no saved mux is as long, in bytes; what is was not made by us.
_LONGEST_POOL, _LONGEST_MUX = 2**18, 2**26
_MOST_DOTS = 100  # in a line; the reader of TOML takes time quadratic in the parts of a key
_VERSION = re.compile(r"[\w.+!-]{1,40}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Names of variables that cannot be a key somebody wrote in their place.
_TELLABLE = re.compile(r"[A-Z]+|[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")

#: What of a member no option says: it has a setting of its own, is the mux's to choose, or is no data.
_NO_OPTION = {"api_base", "api_key", "base_url", "k", "model", "name", "adapter", "engine", "async_engine", "temperature"} | {
    "accept_license", "callbacks", "provider", "rollout_id", "launch_kwargs", "train_kwargs", "finetuning_model", "prompt_cache",
}  # fmt: skip

AdapterName = Literal["chat", "json", "json_schema", "plain", "completion", "few_shot"]


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
    options: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _no_secrets(cls, entry: Any) -> Any:
        for key, value in _settings(entry):
            if key != "api_key_env" and is_secret(key):
                raise ValueError(
                    f"holds {key!r}: put the key in an environment variable and name that with api_key_env"
                )
            if isinstance(value, str) and looks_like_a_key(value):
                raise ValueError(
                    f"holds a key or a password in its {key!r}: put it in an environment variable and name that with api_key_env"
                )
        return entry

    @model_validator(mode="after")
    def _one_source(self) -> MemberEntry:
        if (self.local is None) == (self.model is None):
            raise ValueError(
                "needs either model (a model string) or local (a catalog name or .gguf path)"
            )
        if self.model in CATALOG:
            raise ValueError(
                f"has the model {self.model!r}, which runs in this process: write local = {self.model!r}"
            )
        if self.local is not None and (self.api_base or self.api_key_env or self.engine != "auto"):
            raise ValueError("has local, which takes no api_base, api_key_env or engine")
        if not "".join(
            [self.name or "", self.model or "", self.local or "", *self.options]
        ).isprintable():
            raise ValueError("has control characters in a name")
        for option in sorted(_NO_OPTION & self.options.keys()):
            own = (
                "it has a setting of its own"
                if option in type(self).model_fields
                else "a pool file does not say that"
            )
            raise ValueError(f"has {option} among its options: {own}")
        if self.api_key_env is not None and not _VARIABLE.fullmatch(self.api_key_env):
            raise ValueError(
                "has an api_key_env that is no name of an environment variable: the key itself never stands in a file"
            )
        return self

    def member(self, *, accept_license: bool = False) -> Member:
        """The member this entry describes.

        Raises:
            ConfigurationError: its key variable is not set, or its model is unknown.
        """
        settings: dict[str, Any] = dict(self.options)
        if self.max_tokens is not None:
            settings["max_tokens"] = self.max_tokens
        adapter = ADAPTERS[self.adapter]() if self.adapter else None
        if self.local is not None:
            try:
                return local_member(
                    self.local,
                    name=self.name,
                    adapter=adapter,
                    k=self.k,
                    temperature=self.temperature,
                    accept_license=accept_license,
                    **settings,
                )
            except (TypeError, ValueError) as error:
                raise self._unusable(error) from error
        if self.api_key_env is not None:
            if not os.environ.get(self.api_key_env):
                told = (
                    self.api_key_env if _TELLABLE.fullmatch(self.api_key_env) else "NAME"
                )  # or it may be the key itself
                raise ConfigurationError(
                    f"Member {self.name or self.model!r} takes its key from the environment variable {told}, which is not set: "
                    f"export {told}=…, where {told} is what its api_key_env says."
                )
            settings["api_key"] = os.environ[self.api_key_env]
        elif self.api_base is not None:
            settings["api_key"] = (
                "none"  # servers on one's own machines ask for none, clients insist on one
            )
        if self.api_base is not None:
            settings["api_base"] = self._address(self.api_base)
        try:
            lm = dspy.LM(self.model, engine=self.engine, **settings)
        except (TypeError, ValueError) as error:
            raise self._unusable(error) from error
        return Member(lm, name=self.name, adapter=adapter, k=self.k, temperature=self.temperature)

    def _unusable(self, error: Exception) -> ConfigurationError:
        name = self.name or self.local or self.model
        return ConfigurationError(f"Member {name!r} is no usable LM: {masked(_first_line(error))}")

    def _address(self, given: str) -> str:
        """Ollama's usual address is that of its own API; DSPy talks to its OpenAI-compatible one, a path further."""
        ours = (
            str(self.model).startswith("ollama")
            and self.engine != "litellm"
            and not urlsplit(given).path.strip("/")
        )
        return f"{given.rstrip('/')}/v1" if ours else given


class PoolFile(BaseModel):
    """A pool file, validated."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    program: str = "question -> answer"
    k: int = Field(default=3, ge=1)
    temperature: float = Field(default=0.3, ge=0)
    rule: str = "consistency"
    adapter: AdapterName | None = None
    timeout: float | None = Field(default=None, gt=0)
    schedule: Schedule = "full"
    accuracies: dict[str, float] = {}
    members: list[MemberEntry] = Field(min_length=1)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PoolFile:
        """Read and validate a pool file.

        Raises:
            ConfigurationError: the file is missing, no TOML, or names something unknown; the sentence says where.
        """
        try:
            text = _read(Path(path), _LONGEST_POOL)
            if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
                raise ValueError(f"a line of it has more than {_MOST_DOTS} dots")
        except FileNotFoundError as error:
            raise ConfigurationError(f"There is no pool file {str(path)!r}.") from error
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"The pool file {str(path)!r} cannot be read: {_first_line(error)}"
            ) from error
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(
                f"The pool file {str(path)!r} is not valid TOML: {error}"
            ) from error
        except ValidationError as error:
            known = [*cls.model_fields, *MemberEntry.model_fields]
            raise ConfigurationError(
                f"The pool file {str(path)!r} {first_mistake(error, known)}"
            ) from error
        except (
            ValueError,
            RecursionError,
        ) as error:  # a number of thousands of digits, tables in tables in tables
            raise ConfigurationError(
                f"The pool file {str(path)!r} is not valid TOML: {type(error).__name__}."
            ) from error

    def mux(
        self, program: dspy.Module | None = None, *, accept_license: bool = False, **changes: Any
    ) -> SLMMux:
        """An `SLMMux` over the members; `program` and `changes` (arguments of `SLMMux`) go before what the file says."""
        settings: dict[str, Any] = {
            "k": self.k,
            "temperature": self.temperature,
            "rule": self.rule,
            "timeout": self.timeout,
            "schedule": self.schedule,
            "accuracies": self.accuracies,
            "adapter": ADAPTERS[self.adapter]() if self.adapter else None,
            **changes,
        }
        members = [entry.member(accept_license=accept_license) for entry in self.members]
        return SLMMux(
            signature_of(self.program) if program is None else program, members, **settings
        )


def open_mux(
    pool: Path | None,
    saved: Path | None,
    *,
    k: int | None = None,
    timeout: float | None = None,
    accept_license: bool = False,
) -> SLMMux:
    """The mux of a pool file, of a saved mux, or of a saved mux whose members the pool file names.

    `k` and `timeout` go before what the files say.

    A saved mux alone is enough when its members are embedded models or hosted ones whose key stands in the provider's usual
    environment variable: a saved mux holds no key and no address.

    Raises:
        ConfigurationError: a file is missing or wrong, a member cannot be reached from what they say, or the saved rule was fitted
            for another k.
    """
    asked = {} if timeout is None else {"timeout": timeout}
    if saved is None:
        assert pool is not None  # the caller gives one of them
        return _with_k(PoolFile.load(pool).mux(accept_license=accept_license, **asked), k)
    state = _saved_pool(saved)
    source = PoolFile.load(pool) if pool is not None else _pool_of(state, saved)
    mux = source.mux(
        _program_of(state, saved),
        accept_license=accept_license,
        answer_field=state.answer_field,
        **asked,
    )
    names = [member.name for member in state.members]
    if set(names) < set(mux.pool.names):
        mux = mux.subset(names)  # an optimizer may have left members of the pool out
    try:
        mux.load(saved)
    except MuxError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        NotImplementedError,
        RecursionError,
    ) as error:
        raise ConfigurationError(
            f"{str(saved)!r} is a damaged saved mux, or another version's: save it again."
        ) from error
    if timeout is not None:
        mux.pool.settings.timeout = timeout
    return _with_k(mux, k)


def _with_k(mux: SLMMux, k: int | None) -> SLMMux:
    if k is not None:
        members = check_members([dataclasses.replace(member, k=k) for member in mux.members])
        check_rule(mux.rule, members)
        mux.pool.members = members
    return mux


def _saved_pool(path: Path) -> SavedPool:
    if path.suffix != ".json":
        raise ConfigurationError(
            f"A saved mux is a .json file, which {str(path)!r} is not: save one with mux.save('mux.json')."
        )
    try:
        told = json.loads(_read(path, _LONGEST_MUX))
        state, versions = told["pool"], told["metadata"]["dependency_versions"]
        if not all(
            _VERSION.fullmatch(name) and _VERSION.fullmatch(version)
            for name, version in versions.items()
        ):
            raise ValueError("versions that are none, which DSPy would print")
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no saved mux {str(path)!r}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigurationError(
            f"{str(path)!r} is no saved mux: save one with mux.save('mux.json')."
        ) from error
    return SavedPool.read(state)


def _program_of(state: SavedPool, path: Path) -> dspy.Module:
    if state.program is None:
        raise ConfigurationError(
            f"The saved mux {str(path)!r} runs a program that is no plain signature: load it in Python, into a mux of that program."
        )
    modules = {"predict": dspy.Predict, "chain_of_thought": dspy.ChainOfThought}
    return modules[state.program.module](signature_of(state.program.signature))


def _pool_of(state: SavedPool, path: Path) -> PoolFile:
    """The pool file that a saved mux amounts to."""
    entries: list[dict[str, Any]] = []
    for member in state.members:
        kind, _, name = member.model.partition("/")
        if member.own_server or (kind == "local" and name not in CATALOG):
            raise ConfigurationError(
                f"The saved mux {str(path)!r} does not say where its member {member.name!r} runs: pass --pool too."
            )
        if "://" in member.model or not member.model.isprintable():
            # Some providers take an address there, to which the question and the provider's key would go.
            raise ConfigurationError(
                f"The saved mux {str(path)!r} names an address as its model, {member.model!r}: pass --pool with one that you trust."
            )
        options = {key: value for key, value in member.options.items() if key in SAVED_OPTIONS}
        where = {"local": name} if kind == "local" else {"model": member.model}
        entries.append(
            {"name": member.name, "adapter": member.adapter, "options": options, **where}
        )
    try:
        return PoolFile.model_validate({"members": entries})
    except ValidationError as error:
        raise ConfigurationError(f"The saved mux {str(path)!r} {first_mistake(error)}") from error


def _settings(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a nested TOML value with what it holds; the parts of a list go by the list's name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _settings(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield name, inner
            yield from _settings(inner, name)


def _read(path: Path, longest: int) -> str:
    """A text file; raises ValueError where it is longer, or no text."""
    with path.open("rb") as file:
        content = file.read(longest + 1)
    if len(content) > longest:
        raise ValueError(f"it is longer than {longest // 2**10} kB")
    return content.decode("utf-8")


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
