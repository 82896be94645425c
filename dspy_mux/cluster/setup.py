"""What a worker is given to begin with: the mux, the metric and the bank's place, without keys.

The mux and the metric travel as pickles, which Ray's own cloudpickle makes and the workers load:
a cluster is machines of one's own.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import dspy

from .. import __version__
from ..bank.sample_bank import SampleBank
from ..bank.score import Metric, Scorer
from ..bank.session import Session
from ..errors import ConfigurationError
from ..keys import PLACEHOLDERS
from ..mux.slm_mux import SLMMux
from ..redact import keys_in_environment, keys_of
from ..sampling.keyless import key_variable, pickled_adapter
from .place import Place
from .ray_module import ray_module


@dataclass(frozen=True)
class Setup:
    """A worker's setup, as plain values and pickles of what is the user's.

    Attributes:
        version: of dspy-mux.
        mux, metric, adapter: pickles; the adapter is DSPy's configured one.
        variables: environment variables that hold members' keys.
        place: of the bank.
        programs: of the members, in pool order.
        k: program → draws to have of each question.
        max_cost: of the budget.
        limited: whether there is a budget.
        disk_cache, memory_cache: whether DSPy keeps replies there.
    """

    version: str
    mux: bytes
    metric: bytes
    adapter: bytes
    variables: tuple[str, ...]
    place: Place
    programs: tuple[int, ...]
    k: dict[int, int]
    max_cost: float | None
    limited: bool
    disk_cache: bool
    memory_cache: bool

    @classmethod
    def of(cls, session: Session, k: Mapping[int, int]) -> Setup:
        """Return the setup for the workers of a session.

        Raises:
            ConfigurationError: something cannot be pickled, or would take a key along.
        """
        budget, cache = session.budget, dspy.cache
        setup = cls(
            version=__version__,
            mux=_pickled(_for_draws(session.mux), "mux"),
            metric=_pickled(session.scorer.metric, "metric"),
            adapter=_pickled(pickled_adapter(dspy.settings.adapter), "configured adapter"),
            variables=key_variables(session.mux),
            place=Place.of(session.bank),
            programs=tuple(session.programs),
            k=dict(k),
            max_cost=None if budget is None else budget.max_cost,
            limited=budget is not None,
            disk_cache=cache.enable_disk_cache,
            # Each draw is made once: what the memory keeps beside the disk would only grow.
            memory_cache=cache.enable_memory_cache and not cache.enable_disk_cache,
        )
        setup._refuse_keys(session.mux)
        return setup

    def _refuse_keys(self, mux: SLMMux) -> None:
        """Raise ConfigurationError where a pickle holds a key, such as a metric's own."""
        keys = [key for member in mux.members for key in keys_of(member.lm)]
        secret = {key for key in keys if key.lower() not in PLACEHOLDERS}
        for key in {*secret, *keys_in_environment()}:
            for part in ("mux", "metric", "adapter"):
                if key.encode("utf-8", "surrogatepass") in getattr(self, part):
                    raise ConfigurationError(
                        f"The {part} holds a key, which may not travel to a cluster's machines: "
                        "read it from an environment variable where it is used."
                    )

    def pickled(self) -> bytes:
        """Return the setup as it travels."""
        return pickle.dumps(asdict(self) | {"place": self.place})

    @classmethod
    def loaded(cls, data: bytes) -> Setup:
        """Return the setup that a driver has pickled."""
        return cls(**pickle.loads(data))

    def session(self, num_threads: int) -> Session:
        """Return the session of a worker, without examples yet.

        Raises:
            ConfigurationError: this machine lacks something; the message says what.
        """
        here = f"The cluster's machine {socket.gethostname()}"
        if self.version != __version__:
            raise ConfigurationError(
                f"{here} has dspy-mux {__version__}, and the collection was started with "
                f"{self.version}: install one version on all of them."
            )
        dspy.configure(adapter=_loaded(self.adapter, "configured adapter", here))
        dspy.configure_cache(
            enable_disk_cache=self.disk_cache, enable_memory_cache=self.memory_cache
        )
        mux: SLMMux = _loaded(self.mux, "mux", here)
        for variable in self.variables:
            _check_variable(variable, here)
        metric: Metric | None = _loaded(self.metric, "metric", here)
        bank: SampleBank = self.place.bank()
        examples: dict[int, dspy.Example] = {}
        scorer = Scorer(mux, metric, examples, {})
        return Session(mux, bank, self.programs, examples, scorer, None, num_threads)


def key_variables(mux: SLMMux) -> tuple[str, ...]:
    """Return the environment variables that hold the members' keys.

    Raises:
        ConfigurationError: a member has a key that no variable holds.
    """
    found = []
    for member in mux.members:
        variable, lost = key_variable(member.lm)
        if lost:
            raise ConfigurationError(
                f"Member {member.label!r} has a key that no environment variable holds, and that "
                "may not travel to a cluster's machines: export it as a variable here and on all "
                "of them, as a pool file's api_key_env says it."
            )
        if variable is not None:
            found.append(variable)
    return tuple(dict.fromkeys(found))


def _for_draws(mux: SLMMux) -> SLMMux:
    """Return a copy of a mux with what makes draws, which a mux's escalation does not."""
    copy = mux.deepcopy()
    copy.escalation = None
    return copy


def _check_variable(name: str, here: str) -> None:
    if not os.environ.get(name):
        raise ConfigurationError(
            f"{here} lacks the environment variable {name}, which holds a member's key: set it "
            "there before Ray starts."
        )


def _pickled(value: object, what: str) -> bytes:
    ray = ray_module()
    try:
        data: bytes = ray.cloudpickle.dumps(value)
    except Exception as error:
        raise ConfigurationError(
            f"The {what} cannot travel to a cluster's machines, as it cannot be pickled "
            f"({type(error).__name__}: {error}): keep locks, connections and files out of it."
        ) from error
    return data


def _loaded(data: bytes, what: str, here: str) -> Any:
    try:
        return pickle.loads(data)
    except Exception as error:
        raise ConfigurationError(
            f"{here} cannot load the {what} ({type(error).__name__}: {error}): install there what "
            "it is made of, or pass it along as runtime_env of RayCluster."
        ) from error
