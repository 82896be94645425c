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
    api_key_env = "GPU_KEY"             # the NAME of an environment variable, never a key

A pool file is data: it names models, never code.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import dspy
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from typing_extensions import Unpack

from ..adapters.formats import ADAPTERS
from ..errors import ConfigurationError, DataError, first_mistake
from ..sampling.auto import AutoInFile
from ..sampling.members import Member
from ..text import first_line
from .member_entry import AdapterName, MemberEntry, ResourcesEntry, names_in
from .saved import Otherwise, Schedule
from .saved_file import read_text
from .signature_text import parse_signature
from .slm_mux import MuxArguments, SLMMux

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The largest pool file that is read, in bytes.
_LONGEST = 2**18
#: Dots in a line: the TOML parser takes time quadratic in the parts of a key.
_MOST_DOTS = 100


class PoolFile(BaseModel):
    """A pool file, validated.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "pool.toml")
    >>> _ = path.write_text('k = 5\\n[[members]]\\nname = "small"\\nmodel = "openai/small"\\n')
    >>> pool = PoolFile.load(path)
    >>> pool.k, [member.name for member in pool.members]
    (5, ['small'])
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    program: str = "question -> answer"
    k: int = Field(default=3, ge=1)
    temperature: float = Field(default=0.3, ge=0)
    rule: str = "consistency"
    adapter: AdapterName | None = None
    timeout: float | None = Field(default=None, gt=0)
    schedule: Schedule = "full"
    logprobs: AutoInFile = "auto"
    group: AutoInFile = "auto"
    threshold: float | None = Field(default=None, ge=0, le=1)
    otherwise: Otherwise = "flag"
    escalate: MemberEntry | None = None
    accuracies: dict[str, float] = {}
    members: list[MemberEntry]

    @field_validator("members", mode="before")
    @classmethod
    def _are_tables(cls, members: object) -> object:
        if not isinstance(members, list) or not members:
            raise ValueError("write each member as a table of its own, [[members]]")
        return members

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PoolFile:
        """Read and validate a pool file.

        Raises:
            DataError: the file is missing, cannot be read, or is not TOML.
            ConfigurationError: a setting is wrong or unknown; the message says where.
        """
        name = f"The pool file {str(path)!r}"
        try:
            text = read_text(Path(path), _LONGEST)
            if any(line.count(".") > _MOST_DOTS for line in text.splitlines()):
                raise ValueError(f"one of its lines has more than {_MOST_DOTS} dots")
        except FileNotFoundError as error:
            raise DataError(f"There is no pool file {str(path)!r}.") from error
        except (OSError, ValueError) as error:
            raise DataError(f"{name} cannot be read: {first_line(error)}") from error
        read: dict[str, object] = {}
        try:
            read = tomllib.loads(text)
            return cls.model_validate(read)
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"{name} is not valid TOML: {error}") from error
        except ValidationError as error:
            known = [
                name for table in (cls, MemberEntry, ResourcesEntry) for name in table.model_fields
            ]
            mistake = first_mistake(error, known, names_in(read.get("members")))
            raise ConfigurationError(f"{name} {mistake}") from error
        except (ValueError, RecursionError) as error:  # a huge number, tables nested too deep
            raise DataError(f"{name} is not valid TOML: {type(error).__name__}.") from error

    @property
    def embedded(self) -> list[str]:
        """The names of the members whose models run in this process."""
        return [entry.name or entry.local for entry in self.members if entry.local is not None]

    def completed(self, member: Member) -> Member:
        """Return a member with the file's settings where it has none of its own.

        They are the adapter, and k, temperature, logprobs and group where the file says any.
        """
        given = self.model_fields_set
        return dataclasses.replace(
            member,
            adapter=member.adapter or (ADAPTERS[self.adapter]() if self.adapter else None),
            **{
                name: getattr(self, name)
                for name in ("k", "temperature", "logprobs", "group")
                if name in given and getattr(member, name) is None
            },
        )

    def mux(
        self,
        program: str | type[dspy.Signature] | dspy.Module | None = None,
        *,
        accept_license: bool = False,
        **changes: Unpack[MuxArguments],
    ) -> SLMMux:
        """Build an `SLMMux` over the members.

        Args:
            program: replaces the file's.
            accept_license: accept the terms of embedded weights that ask for it.
            changes: arguments of `SLMMux` that replace the file's.
        """
        arguments: MuxArguments = {
            "k": self.k,
            "temperature": self.temperature,
            "rule": self.rule,
            "timeout": self.timeout,
            "schedule": self.schedule,
            "logprobs": self.logprobs,
            "group": self.group,
            "threshold": self.threshold,
            "otherwise": self.otherwise,
            "escalate": self.escalate and self.escalate.member(accept_license=accept_license),
            "accuracies": self.accuracies,
            "adapter": ADAPTERS[self.adapter]() if self.adapter else None,
        }
        arguments.update(changes)
        members = [entry.member(accept_license=accept_license) for entry in self.members]
        return SLMMux(
            parse_signature(self.program) if program is None else program, members, **arguments
        )


def load_pool(path: str | os.PathLike[str], *, accept_license: bool = False) -> list[Member]:
    """Return the members of a pool file, for `SLMMux(program, lms=…)` or `SLMMux.from_file`.

    A member has the file's adapter, and the file's k, temperature, logprobs and group where it says
    any. Its key is read from the environment variable that the file names.

    Args:
        accept_license: accept the terms of embedded weights that ask for it.

    Raises:
        DataError: the file is missing, cannot be read, or is not TOML.
        ConfigurationError: a setting is wrong or unknown, or a key's variable is not set.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "pool.toml")
    >>> _ = path.write_text('k = 5\\n[[members]]\\nname = "small"\\nmodel = "openai/small"\\n')
    >>> [(member.name, member.k, member.temperature) for member in load_pool(path)]
    [('small', 5, None)]
    """
    file = PoolFile.load(path)
    return [file.completed(entry.member(accept_license=accept_license)) for entry in file.members]
