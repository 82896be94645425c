"""The result types of a study: the chosen setting, its comparisons, every trial."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, TypedDict

from ..errors import ConfigurationError
from ..mux.points import OperatingPoints
from ..mux.saved_rule import check_asks
from ..mux.slm_mux import SLMMux
from ..replay.live import Policy
from ..text import signed
from ..voting.rules import rule_of
from .drawing import greedy_member
from .operation import Operation, warn_of_threshold
from .plan import Plan

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
    large to enumerate, `greedy` where no greedy draws were made, and `evidence` where the rule
    has no choice to read it or not.
    """

    greedy: bool
    evidence: bool

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
        temperature: of the draws; None where it is not known, or not the same for all members.
        greedy: whether the one draw of each member is at temperature 0, in place of k others.
        evidence: whether the rule may read evidence.
    """

    members: tuple[str, ...]
    k: int
    penalty: float | None
    rule: str
    value: float
    cost: float
    temperature: float | None = None
    greedy: bool = False
    evidence: bool = False

    @property
    def plan(self) -> Plan:
        """How the mux draws and decides, apart from its members."""
        return Plan(self.k, self.rule, self.greedy, self.evidence)


@dataclass(frozen=True)
class CurvePoint:
    """One plan on the curve. Accuracies are fractions from 0 to 1.

    Attributes:
        plan: draws and rule.
        calls_per_question: LM calls under the full schedule.
        low, high: the 95 % interval of the accuracy over questions.
    """

    plan: Plan
    calls_per_question: float
    accuracy: float
    low: float
    high: float

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON, the plan's among them."""
        plain = asdict(self)
        return {**plain.pop("plan"), **plain}


@dataclass(frozen=True)
class Curve:
    """Accuracy against calls.

    Attributes:
        points: every rule, from the fewest draws up.
        few: a rule that reads evidence, at one draw of each member, greedy if there are such;
            None where no draw has evidence.
        without: the most accurate point that reads none; equals: the fewest calls.
        difference: few − without, paired over questions: (mean, low, high) with a 95 % interval;
            None where there is no `few`. `without` is the best of several, which favours it.
    """

    points: list[CurvePoint]
    few: CurvePoint | None
    without: CurvePoint
    difference: tuple[float, float, float] | None

    def as_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        plain: dict[str, object] = {
            "points": [point.as_dict() for point in self.points],
            "few": None if self.few is None else self.few.as_dict(),
            "without": self.without.as_dict(),
            "difference": None,
        }
        if self.difference is not None:
            mean, low, high = self.difference
            plain["difference"] = {"mean": mean, "ci95": [low, high]}
        return plain

    @property
    def note(self) -> str:
        """A sentence on one draw with evidence against the best without."""
        if self.few is None or self.difference is None:
            return ""
        few, without = self.few, self.without
        mean, low, high = (signed(100 * value) for value in self.difference)
        draw = "greedy draw" if few.plan.greedy else "draw"
        return (
            f"One {draw} each, by {few.plan.label}: {100 * few.accuracy:.1f} % with "
            f"{few.calls_per_question:.1f} calls a question; the best without evidence "
            f"({without.plan.label}, k = {without.plan.draws}): {100 * without.accuracy:.1f} % "
            f"with {without.calls_per_question:.1f}. Difference {mean} points (95 % interval "
            f"{low} to {high}, paired)."
        )


@dataclass(frozen=True)
class Tuned:
    """What `tune` found. Accuracies are fractions from 0 to 1.

    Attributes:
        best: the setting to use. Its rule differs from the paper's only where it won under
            cross-validation inside the training part, or where its `points` serve an aim best.
        baseline: the paper's defaults on the same questions.
        single: self-consistency of the most accurate member on the same questions.
        difference: best − baseline, paired over questions: (mean, low, high) with a 95 % interval.
        questions: distinct questions that score the settings.
        left_out: questions of the bank that are not in the record, as the caller counted them.
        cross_fitted: whether every question is scored by a subset chosen without it. Else values
            are those of the validation split, or the study chose the members (`searched`). In any
            case the trials are compared on these questions, which flatters the best of them.
        study: the Optuna study, with every trial in it.
        trials: the complete trials within the sizes and draws asked for.
        front: the settings that no other beats in both objectives; empty with one objective.
        fewer: the setting of the fewest calls that `best` does not beat by more than the standard
            error of the paired difference; None where every setting tried has as many calls.
        curve: accuracy against calls, with and without evidence; None where the draws have no
            evidence and none are greedy.
        searched: whether each trial's members come from a search on training questions. False where
            the pool is too large to enumerate: the study then chooses them by these very figures.
        validated: whether the questions are those of a validation split.
        points: the operating points of `best`, measured on questions that are not among these;
            None where none were asked for.
        policy: `best`, fitted on the questions that chose it; None where a compilation fits it.
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
    fewer: Setting | None = None
    curve: Curve | None = None
    searched: bool = True
    validated: bool = False
    points: OperatingPoints | None = None
    policy: Policy | None = None

    def mux(self, student: SLMMux) -> SLMMux:
        """Return a copy of a mux that is set up as `best`, with the threshold that was chosen.

        Its members must be those that were recorded: nothing here can tell. `student` is not
        changed.

        Args:
            student: the program over the pool, of which `best` names the members.

        Raises:
            ConfigurationError: the pool lacks one of them, does not ask for the log-probabilities
                that the rule reads, or has no input by which it weighs; the threshold counts on a
                large model that the mux lacks, or there is none and the mux would withhold answers.
        """
        if self.policy is None:
            raise ConfigurationError(
                "A compilation's study is already set up, in the mux that compile returned: use "
                "that one."
            )
        rule = self.policy.rule
        check_asks(rule, student.members, student.pool.settings.logprobs)
        _check_context(getattr(rule, "context", None), student)
        policy = replace(self.policy, schedule=student.schedule)
        mux = set_up(student, self.best, policy, self.points)
        if self.points is None:
            warn_of_threshold(student)
            return mux
        return Operation.as_tuned(student, self.points).set_up(mux)

    @property
    def scored_on(self) -> str:
        """In words, which questions score the settings."""
        if self.cross_fitted:
            return "cross-fitted"
        return "of the validation split" if self.validated else "of the questions that chose"

    @property
    def note(self) -> str:
        """Sentences on which questions the accuracies come from, and how they are biased."""
        how = " (no question is scored by a subset it chose)" if self.cross_fitted else ""
        taken = f"the best of the trials ({len(self.trials)}) was taken"
        if not self.searched:
            taken = f"the study chose the members, and {taken}"
        why = "" if self.searched else " The pool is too large to search its subsets apart."
        return (
            f"Accuracies are {self.scored_on}{how}, on the very questions by which {taken}: that "
            f"flatters it, and a test split would not.{why}"
        )


def set_up(
    student: SLMMux, setting: Setting, policy: Policy, points: OperatingPoints | None
) -> SLMMux:
    """Return a copy of a mux that draws as a setting says, and decides by its fitted policy."""
    plain = student.deepcopy()
    # The student's own rule and points may be of other members.
    plain.pool.rule, plain.pool.points = rule_of("consistency"), None
    mux = plain.subset(setting.members)
    mux.pool.members = [
        greedy_member(member) if setting.greedy else replace(member, k=setting.k)
        for member in mux.members
    ]
    mux.pool.accuracies = {
        name: value
        for name, value in zip(policy.members, policy.accuracies, strict=True)
        if value is not None
    }
    mux.pool.rule, mux.pool.scale = policy.rule, policy.scale
    mux.pool.settings.schedule = policy.schedule
    mux.pool.points = points
    return mux


def _check_context(context: str | None, student: SLMMux) -> None:
    """Raise ConfigurationError if the rule weighs by what the mux is never given."""
    inputs = student.programs[0].predictors()[0].signature.input_fields
    if context is not None and context not in inputs:
        raise ConfigurationError(
            f"The calibrated rule weighs by {context!r}, and the program takes "
            f"{', '.join(inputs)}: make it an input of the program, or leave the context out."
        )
