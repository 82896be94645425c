"""The members of a comparison: from a pool file, or the tiny models that run in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dspy

from dspy_mux import ConfigurationError, Member
from dspy_mux.adapters.formats import ADAPTERS
from dspy_mux.local import CATALOG, local_member
from dspy_mux.mux.pool_file import PoolFile

#: The tiny models, by their names in the catalogue.
MEMBERS = ("smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b")
#: Longest reply to an everyday question, in tokens: an answer is a word or two.
MAX_TOKENS = 16
#: Longest reply to other questions, which need reasoning.
_REASONING_TOKENS = 256


@dataclass(frozen=True)
class PoolOptions:
    """Which members to compare.

    Attributes:
        path: a pool file; None for the tiny models.
        names: some of the members; None for all.
        max_tokens: longest reply of a tiny model; None for the task's default.
        large: what doubtful answers are escalated to: a member of the pool file, weights that run
            in this process (a name of the catalogue or a .gguf file), or a model string of DSPy's;
            None for nothing. It is in no pool.
    """

    path: Path | None = None
    names: Sequence[str] | None = None
    max_tokens: int | None = None
    accept_license: bool = False
    large: str | None = None

    def load(self) -> ComparedPool:
        """Return the members.

        Raises:
            ConfigurationError: options that exclude each other, or a name that the pool lacks.
        """
        if self.path is None:
            pool = tiny_models(
                self._pool(MEMBERS), max_tokens=self.max_tokens, accept_license=self.accept_license
            )
            return pool if self.large is None else replace(pool, large_for=self._tiny_or_lm)
        if self.max_tokens is not None:
            raise ConfigurationError(
                "--max-tokens is for the tiny models: a pool file gives each member its own "
                "max_tokens."
            )
        every = pool_file_members(self.path, None, accept_license=self.accept_license)
        known = {member.label: member for member in every.for_task("")}
        pool = pool_file_members(
            self.path, self._pool(list(known)), accept_license=self.accept_license
        )
        if self.large is None:
            return pool
        recorded = known.get(self.large)
        large = self._tiny_or_lm if recorded is None else lambda task: recorded
        return replace(pool, large_for=large)

    def _pool(self, known: Sequence[str]) -> Sequence[str] | None:
        """Return the members by name, without the large model."""
        if self.large in (self.names or ()):
            raise ConfigurationError(
                f"--escalate {self.large} stands for the large model, so it cannot be in the pool "
                "too: leave it out of --members."
            )
        if self.names is not None or self.large not in known:
            return self.names
        return [name for name in known if name != self.large]

    def _tiny_or_lm(self, task: str) -> Member:
        """Return the large model that is in no pool file."""
        assert self.large is not None
        if self.large in CATALOG or self.large.endswith(".gguf"):
            options = PoolOptions(None, [self.large], self.max_tokens, self.accept_license)
            return options.load().for_task(task)[0]
        if "/" not in self.large:
            raise ConfigurationError(
                f"--escalate {self.large!r} is neither a member of the pool file, nor a local "
                f"model ({', '.join(CATALOG)}, or a .gguf file), nor a model string such as "
                "'openai/gpt-4o-mini'."
            )
        return Member(dspy.LM(self.large), name=self.large)


@dataclass(frozen=True)
class ComparedPool:
    """A pool, and its settings for drawing from it.

    Attributes:
        for_task: task name → the members for it.
        large_for: task name → the large model; None without one.
    """

    for_task: Callable[[str], Sequence[Member]]
    k: int = 3
    temperature: float = 0.5
    timeout: float | None = None
    large_for: Callable[[str], Member] | None = None


def tiny_models(
    names: Sequence[str] | None, *, max_tokens: int | None, accept_license: bool
) -> ComparedPool:
    """Return the tiny models that run in this process, or some of the catalogue by name.

    Args:
        max_tokens: longest reply; None for 16 on everyday questions and 256 on others.
    """

    def for_task(task: str) -> list[Member]:
        length = max_tokens or (MAX_TOKENS if task == "everyday" else _REASONING_TOKENS)
        return [
            local_member(name, max_tokens=length, accept_license=accept_license)
            for name in names or MEMBERS
        ]

    return ComparedPool(for_task)


def pool_file_members(
    path: Path, names: Sequence[str] | None, *, accept_license: bool
) -> ComparedPool:
    """Return the members of a pool file, or some of them by name.

    In a comparison all members draw equally often; a member's own k in the file is ignored.

    Raises:
        ConfigurationError: the file is wrong, or lacks a member of that name.
    """
    file = PoolFile.load(path)
    adapter = ADAPTERS[file.adapter]() if file.adapter else None
    pool = [entry.member(accept_license=accept_license) for entry in file.members]
    pool = [member if member.adapter else replace(member, adapter=adapter) for member in pool]
    known = {member.label: member for member in pool}
    for name in names or ():
        if name not in known:
            raise ConfigurationError(
                f"The pool file {str(path)!r} has no member {name!r}; it has {', '.join(known)}."
            )
    chosen = pool if names is None else [known[name] for name in names]
    return ComparedPool(lambda task: chosen, file.k, file.temperature, file.timeout)
