"""The result types of a study: the chosen setting, its comparisons, every trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import optuna


class _TrialCore(TypedDict):
    number: int
    value: float
    members: list[str]
    calls_per_question: float
    k: int
    rule: str


class TrialRow(_TrialCore, total=False):
    """One complete trial as plain values for JSON.

    `value` is an accuracy from 0 to 1. `size` and `penalty` are absent where the pool is too
    large to enumerate.
    """

    size: int
    penalty: float


@dataclass(frozen=True)
class Setting:
    """One way to set up a mux, and what it scored.

    Attributes:
        members: names, in pool order.
        k: draws per member.
        penalty: the λ that chose the members; None where the study chose them one by one.
        rule: the rule's name.
        value: replayed accuracy, from 0 to 1, on the questions that `Tuned.cross_fitted` describes.
        cost: the second objective per question (calls, or US dollars); calls where there is none.
    """

    members: tuple[str, ...]
    k: int
    penalty: float | None
    rule: str
    value: float
    cost: float


@dataclass(frozen=True)
class Tuned:
    """What `tune` found. Accuracies are fractions from 0 to 1.

    Attributes:
        best: the setting to use. Its rule differs from the paper's only where it won under
            cross-validation inside the training part.
        baseline: the paper's defaults on the same questions.
        single: self-consistency of the most accurate member on the same questions.
        difference: best − baseline, paired over questions: (mean, low, high) with a 95 % interval.
        questions: distinct questions that score the settings.
        left_out: questions of the bank that are not in the record, as the caller counted them.
        cross_fitted: True where every question is scored by a subset chosen without it; False
            where values are those of the validation split. Either way the trials are compared on
            these questions, which flatters the best of them.
        study: the Optuna study, with every trial in it.
        trials: the complete trials within the sizes and draws asked for.
        front: the settings that no other beats in both objectives; empty with one objective.
    """

    best: Setting
    baseline: Setting
    single: Setting
    difference: tuple[float, float, float]
    questions: int
    left_out: int
    cross_fitted: bool
    study: optuna.Study
    trials: list[TrialRow] = field(default_factory=list)
    front: list[Setting] = field(default_factory=list)

    @property
    def note(self) -> str:
        """One sentence on which questions the accuracies come from, and how they are biased."""
        of = (
            "cross-fitted (no question is scored by a subset it chose)"
            if self.cross_fitted
            else "of the validation split"
        )
        return (
            f"Accuracies are {of}, on the very questions by which the best of the trials "
            f"({len(self.trials)}) was taken: that flatters it, and a test split would not."
        )
