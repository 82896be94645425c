"""Options of `tune` and `MuxOptimizer`: what may be chosen, and how the Optuna study runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, check_number
from ..replay.decisions import RULE_NAMES
from ..replay.grading import CORRECT

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

#: The rules that are tried by default; "probability" where draws have log-probabilities.
DEFAULT_RULES = ("consistency", "pooled", "probability", "calibrated")
#: What a study may minimise beside maximising accuracy.
SECOND_OBJECTIVES = ("calls_per_question", "cost_per_question")
STUDY_NAME = "dspy-mux"
#: The largest λ. From the number of questions on, a larger one changes no ranking; the counts that
#: it weighs stay exact floats up to here.
MOST_PENALTY = 1e6


def check_least(name: str, value: int | None) -> None:
    """Raise ConfigurationError for a number of members or draws below 1; None is no number."""
    if value is None:
        return
    check_number(name, value, 3, whole=True)
    if value < 1:
        raise ConfigurationError(f"{name} must be 1 or more, not {value}.")


@dataclass(frozen=True)
class ChoiceOptions:
    """What a study may choose, and how a choice is scored; `tune` documents each option.

    Raises:
        ConfigurationError: a number below 1, fewer members at most than at least, an unknown rule
            or second objective, or a budget without one.
    """

    max_members: int = 3
    min_members: int = 1
    k_max: int | None = None
    rules: Sequence[str] = DEFAULT_RULES
    context: str | None = None
    threshold: float | None = None
    minimize: str | None = None
    budget: float | None = None
    seed: int = 0

    @property
    def correct(self) -> float:
        """The score from which an answer counts as correct."""
        return CORRECT if self.threshold is None else self.threshold

    def __post_init__(self) -> None:
        for name in ("max_members", "min_members", "k_max"):
            check_least(name, getattr(self, name))
        for name, value, example in (
            ("threshold", self.threshold, 0.5),
            ("budget", self.budget, 6),
        ):
            if value is not None:
                check_number(name, value, example)
        check_number("seed", self.seed, 0, whole=True)
        if isinstance(self.rules, str):
            raise ConfigurationError(f"rules must be a list of names, such as [{self.rules!r}].")
        if self.min_members > self.max_members:
            raise ConfigurationError(
                f"max_members must be min_members={self.min_members} or more, not "
                f"{self.max_members}."
            )
        unknown = [rule for rule in self.rules if rule not in RULE_NAMES]
        if unknown:
            raise ConfigurationError(
                f"There is no rule {unknown[0]!r} to try: choose from {', '.join(RULE_NAMES)}."
            )
        if self.minimize not in (None, *SECOND_OBJECTIVES):
            raise ConfigurationError(
                "minimize must be 'calls_per_question' or 'cost_per_question', "
                f"not {self.minimize!r}."
            )
        if self.budget is not None and self.minimize is None:
            raise ConfigurationError(
                "A budget needs the objective it bounds: minimize='calls_per_question' or "
                "'cost_per_question'."
            )


@dataclass(frozen=True)
class StudyOptions:
    """How the Optuna study runs, and where it is stored; the names are Optuna's.

    Raises:
        ConfigurationError: `n_trials` below 1.
    """

    n_trials: int = 100
    timeout: float | None = None
    n_jobs: int = 1
    callbacks: Sequence[Callable[[optuna.Study, FrozenTrial], None]] = ()
    sampler: optuna.samplers.BaseSampler | None = None
    storage: str | optuna.storages.BaseStorage | None = None
    study_name: str = STUDY_NAME
    study: optuna.Study | None = None

    def __post_init__(self) -> None:
        check_least("n_trials", self.n_trials)
