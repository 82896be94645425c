"""Open the Optuna study of a tuning, and refuse one whose trials cannot be compared with ours.

A stored study may be continued by another process, years later, and may come from anywhere. What
its trials' values depend on is therefore stored with it and checked, and so is each trial before
it is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError, MissingExtra, MuxError, StorageError
from ..replay.contexts import Contexts
from ..replay.splits import Split
from ..text import visible
from ..voting.tally import Floats, Ints
from .operating import Aimed
from .options import MOST_PENALTY, ChoiceOptions, StudyOptions
from .plan import DRAWS, EVIDENCE, Recorded, plan_of
from .storage import open_storage
from .tuned import TrialRow

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


#: A trial's constraints: by how much its best operating point breaks each part of an aim.
CONSTRAINTS = ("risk", "escalated", "cost")
#: The user attribute that holds them before Optuna 5.
_VIOLATIONS = "violations"


class _StudyDataCore(TypedDict):
    members: list[str]
    draws: str
    scores: str
    calls: str
    splits: str
    threshold: float
    context: str | None
    minimize: str | None


class StudyData(_StudyDataCore, total=False):
    """What a trial's value depends on beside its own choices; arrays as fingerprints.

    `evidence` and `greedy` are absent where the draws have none and there are no such draws, `aim`
    where no operating point is asked for.
    """

    evidence: str
    greedy: str
    aim: str


@dataclass(frozen=True)
class Comparable:
    """What all trials of a study have in common.

    Attributes:
        data: what their values depend on; stored as the study's user attribute "data".
        rules: the rules tried.
        params: the other parameters that every trial chooses.
        members: names of the members to choose from.
        draws: draws of each, at most.
        objectives: 1 or 2; the first is maximised, the second minimised.
    """

    data: StudyData
    rules: tuple[str, ...]
    params: tuple[str, ...]
    members: tuple[str, ...]
    draws: int
    objectives: int

    def check(self, study: optuna.Study) -> None:
        """Claim a new study for our data, or check that an existing one is of the same.

        Raises:
            ConfigurationError: the study is of other data, or has trials that are not of this
                tuning.
        """
        made = [trial for trial in study.trials if trial.state.name != "WAITING"]
        # Read after the trials: whoever makes trials first stores what they are of.
        before = study.user_attrs.get("data")
        if before is None and not made:
            study.set_user_attr("data", dict(self.data))
        elif before is not None and before != self.data:
            known = before if isinstance(before, dict) else {}
            ours = dict(self.data)
            names = [name for name in {**ours, **known} if known.get(name) != ours.get(name)]
            other = ", ".join(map(visible, names))
            raise ConfigurationError(
                f"The study {study.study_name!r} is of other data ({other or 'version'} differ): "
                "name another study, or another storage."
            )
        directions = ["MAXIMIZE", "MINIMIZE"][: self.objectives]
        foreign = before is None and made
        if (
            foreign
            or [way.name for way in study.directions] != directions
            or not all(map(self._has, study.trials))
        ):
            raise ConfigurationError(
                f"The study {study.study_name!r} has trials of other rules, objectives or draws: "
                "name another study, or another storage."
            )

    def _has(self, trial: FrozenTrial) -> bool:
        """Whether a trial may belong to this tuning; an incomplete one is judged by its rules."""
        rules = getattr(trial.distributions.get("rule"), "choices", self.rules)
        if rules != self.rules or trial.state.name != "COMPLETE":
            return bool(rules == self.rules)
        members, calls = (trial.user_attrs.get(name) for name in ("members", "calls_per_question"))
        return (
            all(name in trial.params for name in ("k", "rule", *self.params))
            and 1 <= trial.params["k"] <= self.draws
            and 0 <= trial.params.get("penalty", 0) <= MOST_PENALTY
            and all(map(math.isfinite, trial.values))
            and isinstance(calls, (int, float))
            and isinstance(members, list)
            and set(map(str, members)) <= set(self.members)
            and len(set(map(str, members))) == len(members) > 0
        )


def describe_data(
    draws: Recorded, splits: Sequence[Split], options: ChoiceOptions, aimed: Aimed | None = None
) -> StudyData:
    """Return what a trial's value depends on beside its own choices.

    Raises:
        ConfigurationError: no question has the field `options.context`.
    """
    record = draws.sampled
    contexts = Contexts.of(record, options.context)
    data: StudyData = {
        "members": list(record.members),
        "draws": _hash(record.votes.astype(np.int32)),
        "scores": _hash(record.scores.astype(np.float32)),
        "calls": _hash(record.calls, record.cost),
        "splits": _hash(
            *(part.astype(np.int64) for split in splits for part in (split.train, split.test))
        ),
        "threshold": float(options.correct),
        "context": None if contexts is None else _hash([options.context, contexts.values]),
        "minimize": options.minimize,
    }
    if draws.has_evidence:
        data["evidence"] = _hash(*_figures(record))
    if (greedy := draws.greedy) is not None:
        data["greedy"] = _hash(
            greedy.votes.astype(np.int32),
            greedy.scores.astype(np.float32),
            greedy.calls,
            greedy.cost,
            *_figures(greedy),
        )
    if aimed is not None:
        large = aimed.large
        known = [] if large is None else [large.name, large.cost]
        data["aim"] = _hash([repr(aimed.aim), *known], None if large is None else large.right)
    return data


def _figures(record: Record) -> list[list[object] | Floats]:
    found: list[list[object] | Floats] = []
    for name, values in sorted(record.evidence.items()):
        found += [[name], values.astype(np.float32)]
    return found


def open_study(
    options: StudyOptions, *, seed: int, minimize: str | None, constrained: bool = False
) -> optuna.Study:
    """Return the study given, else one in the storage (new or existing), else one in memory.

    Hold the study's lock: Optuna does not expect two processes to make one at the same time.

    Args:
        constrained: whether trials are constrained (`constrain`).

    Raises:
        MissingExtra: Optuna is not installed.
        Exception: of Optuna or the database; see `opening_errors`.
    """
    if options.study is not None:
        return options.study
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra(
            "Tuning needs Optuna, which is not installed: pip install 'dspy-mux[optimize]'."
        ) from error
    logging.getLogger("optuna").setLevel(logging.WARNING)
    study = optuna.create_study(
        storage=open_storage(options.storage),
        study_name=options.study_name,
        directions=["maximize"] if minimize is None else ["maximize", "minimize"],
        load_if_exists=True,
    )
    if options.sampler is not None:
        study.sampler = options.sampler
    else:
        # Processes that share a study, or continue one, must not try the same settings again.
        runs = study.user_attrs.get("runs", 0)
        study.set_user_attr("runs", runs + 1)
        with warnings.catch_warnings():  # older versions of Optuna call it experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = optuna.samplers.TPESampler(
                seed=seed + runs,
                multivariate=True,
                **({"constraints_func": _violations} if constrained and not _has_own() else {}),
            )
    return study


def constrain(trial: optuna.Trial, violations: Sequence[float]) -> None:
    """Tell Optuna by how much a trial breaks each of `CONSTRAINTS`; 0 or less keeps it."""
    if not _has_own():
        trial.set_user_attr(_VIOLATIONS, list(violations))
        return
    for name, value in zip(CONSTRAINTS, violations, strict=True):
        trial.set_constraint(name, value)


def _has_own() -> bool:
    """Whether trials have constraints of their own, as from Optuna 5 on."""
    import optuna

    return hasattr(optuna.Trial, "set_constraint")


def _violations(trial: FrozenTrial) -> Sequence[float]:
    none = [0.0] * len(CONSTRAINTS)  # of a trial that was pruned
    values: Sequence[float] = trial.user_attrs.get(_VIOLATIONS, none)
    return values


@contextmanager
def opening_errors() -> Iterator[None]:
    """Describe what fails while a storage is opened.

    Raises:
        MissingExtra: the driver of the storage's database is not installed.
        ConfigurationError: the storage is not one that Optuna can use.
        StorageError: the storage cannot be reached or used.
    """
    try:
        yield
    except MuxError:
        raise
    except Exception as error:
        # The message shows neither the URL nor the error's text: they may contain a password.
        raise _storage_error(error) from error


def _storage_error(error: Exception) -> ConfigurationError | MissingExtra | StorageError:
    from sqlalchemy.exc import ArgumentError  # Optuna requires it

    name = type(error).__name__
    if isinstance(error, ImportError):
        return MissingExtra(
            f"The driver of the study's storage is not installed ({name}): install it, or use "
            "another storage, such as sqlite:///study.db."
        )
    kinds = "a database's URL, such as sqlite:///study.db, or a journal file, such as study.log"
    if isinstance(error, (ArgumentError, AttributeError, LookupError, TypeError, ValueError)):
        return ConfigurationError(f"The study's storage cannot be used ({name}): name {kinds}.")
    return StorageError(
        f"The study's storage cannot be used ({name}): check its server or folder, and its name, "
        f"which is {kinds}."
    )


@contextmanager
def storage_errors() -> Iterator[None]:
    """Raise StorageError where the storage of a study fails inside the block."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (
        optuna.exceptions.StorageInternalError,
        SQLAlchemyError,
        OSError,  # of a journal file
        json.JSONDecodeError,
    ) as error:
        raise StorageError(
            f"The study's storage failed ({type(error).__name__}): check its server and disk, then "
            "run again; finished trials are kept."
        ) from error


def pareto_front(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the complete trials with two objectives that no other beats in both.

    `Study.best_trials` cannot be limited to some of the trials.
    """
    kept: list[FrozenTrial] = []
    for trial in sorted(trials, key=lambda each: (-each.values[0], each.values[1], each.number)):
        if not kept or trial.values[1] < kept[-1].values[1] or trial.values == kept[-1].values:
            kept.append(trial)
    return kept


def trial_row(trial: FrozenTrial) -> TrialRow:
    """Return a complete trial as plain values for JSON."""
    plan = plan_of(trial)
    row: TrialRow = {
        "number": trial.number,
        "value": trial.values[0],
        "members": trial.user_attrs["members"],
        "calls_per_question": trial.user_attrs["calls_per_question"],
        "k": plan.k,
        "rule": plan.rule,
    }
    if DRAWS in trial.params:
        row["greedy"] = plan.greedy
    if EVIDENCE in trial.params:
        row["evidence"] = plan.evidence
    if "size" in trial.params:
        row["size"], row["penalty"] = trial.params["size"], trial.params["penalty"]
    return row


def _hash(*values: Ints | Floats | list[object] | None) -> str:
    found = hashlib.sha256()
    for value in values:
        if isinstance(value, np.ndarray):
            found.update(f"{value.shape} {value.dtype} ".encode())
            found.update(np.ascontiguousarray(value).tobytes())
        else:
            found.update(json.dumps(value).encode())
    return found.hexdigest()[:16]
