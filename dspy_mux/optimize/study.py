"""The Optuna study of a tuning: opened, and refused where its trials could not be compared with ours.

A study in a storage goes on, perhaps in another process and another year, and may come from anywhere: what its trials are values
of is kept with it and checked, and so is each trial before it is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..replay.splits import Split

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


@dataclass(frozen=True)
class Comparable:
    """What all trials of a study have in common.

    Attributes:
        data: what their values are of, by name (`data_of`); kept in the study.
        rules: those that are tried; params: what else every trial chooses.
        members: names; draws: of each, at most.
        objectives: how many, the first to be maximised and the second to be minimised.
    """

    data: Mapping[str, Any]
    rules: tuple[str, ...]
    params: tuple[str, ...]
    members: tuple[str, ...]
    draws: int
    objectives: int

    def check(self, study: optuna.Study) -> None:
        """Raises ConfigurationError for a study of other data, or with trials that are not of this tuning."""
        made = [trial for trial in study.trials if trial.state.name != "WAITING"]
        # Read after the trials: who makes them says first what they are of.
        before = study.user_attrs.get("data")
        if before is None and not made:
            study.set_user_attr("data", dict(self.data))
        elif before is not None and before != self.data:
            known = before if isinstance(before, dict) else {}
            other = ", ".join(name for name, value in self.data.items() if known.get(name) != value)
            raise ConfigurationError(
                f"The study {study.study_name!r} is of other data ({other or 'version'} differ): name another study, or another "
                "storage."
            )
        directions = ["MAXIMIZE", "MINIMIZE"][: self.objectives]
        foreign = before is None and made
        if (
            foreign
            or [way.name for way in study.directions] != directions
            or not all(map(self._has, study.trials))
        ):
            raise ConfigurationError(
                f"The study {study.study_name!r} has trials of other rules, objectives or draws: name another study, or another "
                "storage."
            )

    def _has(self, trial: FrozenTrial) -> bool:
        """Whether a trial may be one of this tuning; of one that is not complete its rules alone count."""
        rules = getattr(trial.distributions.get("rule"), "choices", self.rules)
        if rules != self.rules or trial.state.name != "COMPLETE":
            return bool(rules == self.rules)
        members, calls = (trial.user_attrs.get(name) for name in ("members", "calls_per_question"))
        return (
            all(name in trial.params for name in ("k", "rule", *self.params))
            and 1 <= trial.params["k"] <= self.draws
            and all(map(math.isfinite, trial.values))
            and isinstance(calls, (int, float))
            and isinstance(members, list)
            and set(map(str, members)) <= set(self.members)
            and len(set(map(str, members))) == len(members) > 0
        )


def data_of(
    record: Record,
    splits: Sequence[Split],
    threshold: float,
    context: str | None,
    minimize: str | None,
) -> dict[str, Any]:
    """What a trial's value depends on beside its own choices, by name; draws and the like as fingerprints.

    Raises:
        ConfigurationError: no question has the field `context`.
    """
    return {
        "members": list(record.members),
        "draws": _hash(record.votes.astype(np.int32)),
        "scores": _hash(record.scores.astype(np.float32)),
        "calls": _hash(record.calls, record.cost),
        "splits": _hash(
            *(part.astype(np.int64) for split in splits for part in (split.train, split.test))
        ),
        "threshold": float(threshold),
        "context": None if context is None else _hash([context, record.field(context)]),
        "minimize": minimize,
    }


def open_study(
    storage: Any, name: str, sampler: Any, seed: int, minimize: str | None
) -> optuna.Study:
    """A study in a storage, a new one or the one that is there; in memory for None.

    Raises:
        ConfigurationError: Optuna is missing, or the storage cannot be used.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigurationError(
            "Tuning needs Optuna, which is not installed: pip install 'dspy-mux[optimize]'."
        ) from error
    logging.getLogger("optuna").setLevel(logging.WARNING)
    sampler = sampler or optuna.samplers.TPESampler(seed=seed, multivariate=True)
    try:
        return optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            directions=["maximize"] if minimize is None else ["maximize", "minimize"],
            load_if_exists=True,
        )
    except Exception as error:
        # Neither the storage nor the error is told in full: there may be a password in them.
        raise ConfigurationError(
            f"The study's storage cannot be used ({type(error).__name__}): check its URL, which is like sqlite:///study.db, and "
            "its server."
        ) from error


def front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Of complete trials with two objectives those that no other beats in both; `Study.best_trials` knows no bounds."""
    kept: list[FrozenTrial] = []
    for trial in sorted(trials, key=lambda each: (-each.values[0], each.values[1], each.number)):
        if not kept or trial.values[1] < kept[-1].values[1] or trial.values == kept[-1].values:
            kept.append(trial)
    return kept


def told(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as plain values for JSON."""
    params = {name: value for name, value in trial.params.items() if not name.startswith("member ")}
    return {
        "number": trial.number,
        "value": trial.values[0],
        "members": trial.user_attrs["members"],
        "calls_per_question": trial.user_attrs["calls_per_question"],
        **params,
    }


def _hash(*values: Any) -> str:
    found = hashlib.sha256()
    for value in values:
        array = isinstance(value, np.ndarray)
        found.update(f"{value.shape} {value.dtype} ".encode() if array else b"")
        found.update(np.ascontiguousarray(value).tobytes() if array else json.dumps(value).encode())
    return found.hexdigest()[:16]
