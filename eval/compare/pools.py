"""Where the members of a comparison come from: a pool file, or the embedded tiny models."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dspy_mux import ConfigurationError, Member
from dspy_mux.adapters.formats import ADAPTERS
from dspy_mux.local import local_member
from dspy_mux.mux.pool_file import PoolFile

#: Tokens that an embedded model may reply with: everyday answers are a word or two, other tasks want to be reasoned about.
_REASONING_TOKENS = 256


@dataclass(frozen=True)
class Members:
    """A pool, and what it says of how to draw from it.

    Attributes:
        of: task name → the members for it.
    """

    of: Callable[[str], Sequence[Member]]
    k: int = 3
    temperature: float = 0.5
    timeout: float | None = None


def embedded(
    names: Sequence[str] | None, *, max_tokens: int | None, accept_license: bool
) -> Members:
    """The tiny models that run in this process, or some of the catalog's by name.

    Args:
        max_tokens: a reply's length; None for 16 on everyday questions and 256 on others.
    """

    def of(task: str) -> list[Member]:
        length = max_tokens or (MAX_TOKENS if task == "everyday" else _REASONING_TOKENS)
        return [
            local_member(name, max_tokens=length, accept_license=accept_license)
            for name in names or MEMBERS
        ]

    return Members(of)


def of_file(path: Path, names: Sequence[str] | None, *, accept_license: bool) -> Members:
    """The members of a pool file, or some of them by name. In a comparison all draw equally often, whatever k one has in the file.

    Raises:
        ConfigurationError: the file is wrong, or has no member of a name.
    """
    file = PoolFile.load(path)
    adapter = ADAPTERS[file.adapter]() if file.adapter else None
    pool = [entry.member(accept_license=accept_license) for entry in file.members]
    pool = [
        member if member.adapter else dataclasses.replace(member, adapter=adapter)
        for member in pool
    ]
    known = {member.label: member for member in pool}
    for name in names or ():
        if name not in known:
            raise ConfigurationError(
                f"The pool file {str(path)!r} has no member {name!r}; it has {', '.join(known)}."
            )
    chosen = pool if names is None else [known[name] for name in names]
    return Members(lambda task: chosen, file.k, file.temperature, file.timeout)


MEMBERS = ("smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b")


#: Everyday answers are a word or two; a longer reply is rambling.
MAX_TOKENS = 16
