"""Members of a mux: one language model each, how to talk to it and how often to draw from it.

Pools are checked at construction, so that no mux has confidences that mean nothing: those of
members that answer from each other's cache, or of draws that are copies of one draw.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from ..errors import ConfigurationError
from ..text import whole
from . import forks
from .auto import check_auto
from .grouped_call import Group
from .keyless import pickled_fields
from .logprobs import AskLogprobs

#: Draws are numbered below this; arrays have a place for each number up to the highest.
MOST_DRAWS = 10_000
#: Keys that DSPy leaves out of its cache key (dspy/clients/execution.py, IGNORED_CACHE_KEYS).
NOT_IN_CACHE_KEY = frozenset({"api_key", "api_base", "base_url"})


@dataclass(frozen=True)
class Resources:
    """What a member with weights of its own takes of a cluster's machine.

    Attributes:
        num_cpus: CPU cores; llama.cpp computes on as many threads.
        num_gpus: GPUs, or a part of one.
    """

    num_cpus: float = 1
    num_gpus: float = 0


@dataclass(frozen=True)
class Member:
    """One language model of the pool.

    Its own settings come before the arguments of a mux; those of a saved mux come before both.

    Args:
        lm: any `dspy.LM`.
        name: unique within the pool, for verdicts, banks and reports; None for the model string.
        adapter: the DSPy adapter that this member's model can follow; None for the mux's.
        k: draws per question; None for the mux's.
        temperature: sampling temperature of the draws; None for the mux's.
        logprobs: whether its draws ask for log-probabilities: True, False, or "auto" where
            something reads them; None for the mux's.
        group: whether its draws of a question share one request for several choices: True, False,
            or "auto" where its server is not known to refuse that; None for the mux's.
        resources: what it takes of a cluster's machine, where it has weights of its own
            (`docs/scale.md`); None for one CPU.

    Raises:
        ConfigurationError: `lm` is not a DSPy LM, or a setting is wrong: `k` below 1, say.

    >>> member = Member(dspy.utils.DummyLM([{"answer": "4"}]), name="small", k=5)
    >>> member.label, member.k
    ('small', 5)
    """

    lm: dspy.BaseLM
    name: str | None = None
    adapter: dspy.Adapter | None = None
    k: int | None = None
    temperature: float | None = None
    logprobs: AskLogprobs | None = None
    group: Group | None = None
    resources: Resources | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.lm, dspy.BaseLM):
            raise ConfigurationError(
                f"A member's lm must be a dspy.LM, not {type(self.lm).__name__}: "
                "write dspy.LM('provider/model')."
            )
        if self.name is not None and (not isinstance(self.name, str) or not self.name.strip()):
            raise ConfigurationError(
                f"A member's name must be a non-empty string, not {self.name!r}."
            )
        if self.label != whole(self.label):
            raise ConfigurationError(
                f"The name of member {self.label!r} contains a lone surrogate; remove it."
            )
        if self.adapter is not None and not isinstance(self.adapter, dspy.Adapter):
            raise ConfigurationError(
                f"The adapter of member {self.label!r} must be a dspy.Adapter instance, "
                f"not {type(self.adapter).__name__}."
            )
        if self.k is not None:
            check_k(self.k, f"member {self.label!r}")
        if self.temperature is not None:
            check_temperature(self.temperature, f"member {self.label!r}")
        if self.logprobs is not None:
            check_auto("logprobs", self.logprobs, f"member {self.label!r}")
        if self.group is not None:
            check_auto("group", self.group, f"member {self.label!r}")
        forks.watch(self.lm)

    @property
    def label(self) -> str:
        """The member's name; without one, its LM's model string."""
        return self.name or str(self.lm.model)

    def asks(self, of_the_mux: AskLogprobs) -> AskLogprobs:
        """Return whether its draws ask for log-probabilities, given what the mux says."""
        return of_the_mux if self.logprobs is None else self.logprobs

    def filled(self, *, k: int, temperature: float, adapter: dspy.Adapter | None) -> Member:
        """Return this member with the mux's values where its own are None."""
        return dataclasses.replace(
            self,
            name=self.label,
            k=k if self.k is None else self.k,
            temperature=temperature if self.temperature is None else self.temperature,
            adapter=self.adapter or adapter,
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Member:
        # Copies of a program share the LM: its connections, its loaded weights and its history.
        return self

    def __copy__(self) -> Member:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickle goes to disk, to registries and to other machines: it holds no key.
        return _unpickled, (pickled_fields(vars(self)),)


def _unpickled(fields: dict[str, Any]) -> Member:
    return Member(**fields)


#: What a mux takes as its pool.
Pool = Sequence[dspy.BaseLM | Member] | Mapping[str, dspy.BaseLM | Member]


def build_pool(
    lms: Pool, *, k: int, temperature: float, adapter: dspy.Adapter | None
) -> list[Member]:
    """Return the pool as complete members, in the order given.

    Raises:
        ConfigurationError: an empty pool, two members of one name, two that would share cache
            entries, or a member whose draws could only be copies of one another.
    """
    check_k(k, "the mux")
    check_temperature(temperature, "the mux")
    return check_members(
        [member.filled(k=k, temperature=temperature, adapter=adapter) for member in members_of(lms)]
    )


def members_of(lms: Pool) -> list[Member]:
    """Return the pool as members, in the order given, with their own settings alone.

    Raises:
        ConfigurationError: it is empty, or not a pool.
    """
    if isinstance(lms, (dspy.BaseLM, Member, str)) or not isinstance(lms, Iterable):
        raise ConfigurationError(
            "lms must be a list or a dict of LMs: write lms=[...], also for a pool of one."
        )
    if isinstance(lms, Mapping):
        given = [_named(name, entry) for name, entry in lms.items()]
    else:
        given = [
            entry if isinstance(entry, Member) else Member(entry, name=_dummy_name(entry, number))
            for number, entry in enumerate(lms, 1)
        ]
    if not given:
        raise ConfigurationError("The pool is empty: a mux needs at least one LM.")
    return given


def check_members(members: list[Member]) -> list[Member]:
    """Return `members`, complete ones, after the checks that every pool must pass."""
    for member in members:
        _check_draws_differ(member)
    _check_names(members)
    _check_cache_entries(members)
    return members


def check_k(k: int, whose: str) -> None:
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ConfigurationError(
            f"k of {whose} must be a whole number of draws, 1 or more, not {k!r}."
        )


def check_temperature(temperature: float, whose: str) -> None:
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, (int, float))
        or not 0 <= temperature < float("inf")
    ):
        raise ConfigurationError(
            f"The temperature of {whose} must be a number, 0 or more, not {temperature!r}."
        )


def _dummy_name(lm: object, number: int) -> str | None:
    """Return a name for a `DummyLM` of a test: they all have one model string."""
    return f"dummy-{number}" if isinstance(lm, dspy.utils.DummyLM) else None


def _named(name: str, entry: dspy.BaseLM | Member) -> Member:
    if isinstance(entry, Member):
        if entry.name is not None and entry.name != name:
            raise ConfigurationError(
                f"The pool's key {name!r} holds a Member named {entry.name!r}: give it one name."
            )
        return dataclasses.replace(entry, name=name)
    return Member(entry, name=name)


def _check_draws_differ(member: Member) -> None:
    k, settings = member.k or 1, member.lm.kwargs
    if (settings.get("n") or 1) != 1:
        raise ConfigurationError(
            f"The LM of member {member.name!r} has n={settings['n']!r}: leave n out, "
            "k is the number of draws."
        )
    if k == 1:
        return
    if member.temperature == 0:
        raise ConfigurationError(
            f"Member {member.name!r} would draw {k} times at temperature 0, where every draw is "
            "the same and the confidence is always 1: raise the temperature or set k=1."
        )
    if settings.get("seed") is not None:
        raise ConfigurationError(
            f"The LM of member {member.name!r} has the fixed seed {settings['seed']!r}, which "
            f"makes its {k} draws equal: leave the seed out (re-runs are served from DSPy's cache) "
            "or set k=1."
        )


def _check_names(members: Sequence[Member]) -> None:
    seen: set[str] = set()
    for member in members:
        if member.label in seen:
            raise ConfigurationError(
                f"Two members are named {member.label!r}: name them apart with "
                "Member(lm, name=…), in a pool file with name = …."
            )
        seen.add(member.label)


def _check_cache_entries(members: Sequence[Member]) -> None:
    """Refuse members that would share answers in DSPy's cache.

    Its key holds the model string and the call's settings, but not the server.
    """
    seen: dict[str, Member] = {}
    for member in members:
        if not member.lm.cache or not getattr(member.lm, "_cache_responses", True):
            continue
        settings = {
            name: value for name, value in member.lm.kwargs.items() if name not in NOT_IN_CACHE_KEY
        }
        settings.update(
            model=member.lm.model, type=member.lm.model_type, temperature=member.temperature
        )
        key = json.dumps(settings, sort_keys=True, default=repr)
        if key in seen:
            raise ConfigurationError(
                f"Members {seen[key].name!r} and {member.name!r} have the same model string "
                f"{member.lm.model!r} and the same settings, so each would be answered from the "
                "other's cache: give them different model strings, or temperatures with "
                "Member(lm, temperature=…), as the mux overrides an LM's own, or pass cache=False "
                "to both LMs (in a pool file: temperature = …, options = {cache = false})."
            )
        seen[key] = member
