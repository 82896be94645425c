"""Choose the setting to use among a study's complete trials, and compare it with the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..replay.intervals import difference_interval, standard_error
from ..replay.replay import compare
from ..replay.splits import folds
from ..voting.tally import Floats
from .curve import curve_of
from .objective import PAPER_K, PAPER_PENALTY, PAPER_RULE, Members, Objective
from .plan import Plan, plan_of
from .search import most_accurate
from .study import pareto_front, trial_row
from .tuned import Setting, Tuned

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


class Chooser:
    """Choose among the trials of one study, all scored by one objective."""

    def __init__(self, objective: Objective):
        self.objective, self.options = objective, objective.options
        self._wins: dict[tuple[Members, Plan], bool] = {}

    def tuned(self, study: optuna.Study, left_out: int) -> Tuned:
        """The best setting of a study and what it is compared with.

        Raises:
            ConfigurationError: no complete trial is within the sizes, draws or budget asked for.
        """
        complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
        done = [trial for trial in complete if self.objective.allows(trial)]
        if not done:
            raise ConfigurationError(
                "No trial of the sizes and draws asked for was completed: give the study more "
                "time or trials."
            )
        front = [] if self.options.minimize is None else pareto_front(done)
        candidates = front or done
        if self.options.budget is not None:
            candidates = _affordable(done, self.options.budget)
        best, plan = self._best(candidates) if self.objective.aimed is None else self._aimed(done)
        chosen = self._chosen(best)
        paper_chosen, paper = self._paper()
        ours = self.objective.per_question(chosen, plan)
        theirs = self.objective.per_question(paper_chosen, paper)
        # The same mux differs from itself on no question, so its interval is exactly zero.
        alike = (chosen, plan) == (paper_chosen, paper)
        return Tuned(
            best=self._setting(best, plan),
            baseline=self._baseline(paper_chosen, paper),
            single=self._single(plan),
            difference=(0.0, 0.0, 0.0) if alike else _paired(ours, theirs),
            questions=len(ours),
            left_out=left_out,
            cross_fitted=self.objective.cross_fitted and self.objective.enumerable,
            searched=self.objective.enumerable,
            validated=not self.objective.cross_fitted,
            study=study,
            trials=[trial_row(trial) for trial in done],
            front=[
                self._setting(
                    trial, self.objective.draws.readable(self._members(trial), plan_of(trial))
                )
                for trial in front
            ],
            fewer=None
            if self.objective.aimed is not None
            else self._fewer(candidates, chosen, plan),
            curve=curve_of(self.objective, paper_chosen),
        )

    def _best(self, candidates: Sequence[FrozenTrial]) -> tuple[FrozenTrial, Plan]:
        """The most accurate trial whose rule wins.

        Equal values: least of the second objective, fewest calls, then first tried.

        The paper's rule is always tried, so some trial wins; on a front without it, the most
        accurate trial is taken with its rule replaced by the paper's.
        """
        ranked = sorted(
            candidates,
            key=lambda t: (
                -t.values[0],
                *t.values[1:],
                t.user_attrs["calls_per_question"],
                t.number,
            ),
        )
        best = next((trial for trial in ranked if self._rule_wins(trial)), None)
        if best is None:
            return ranked[0], replace(plan_of(ranked[0]), rule=PAPER_RULE, evidence=False)
        return best, self.objective.draws.readable(self._members(best), plan_of(best))

    def _aimed(self, done: Sequence[FrozenTrial]) -> tuple[FrozenTrial, Plan]:
        """The trial whose operating point serves the aim best.

        That is the one that breaks it least, then the best figure, then as for `_best`. A rule need
        not beat the paper's in accuracy: a confidence that ranks answers better serves an aim.
        """
        if self.options.budget is not None:
            done = _affordable(done, self.options.budget)

        def rank(trial: FrozenTrial) -> tuple[float, ...]:
            weighed = self.objective.weighed(self._chosen(trial), plan_of(trial))
            calls = trial.user_attrs["calls_per_question"]
            broken = sum(weighed.violations)
            return (broken, -weighed.figure, -trial.values[0], calls, trial.number)

        best = min(done, key=rank)
        return best, self.objective.draws.readable(self._members(best), plan_of(best))

    def _fewer(
        self, candidates: Sequence[FrozenTrial], chosen: list[Members], plan: Plan
    ) -> Setting | None:
        """The fewest calls that the best does not beat by more than the standard error of that.

        Equal calls: the more accurate, then the first tried. None where the best has the fewest.
        """
        ours = self.objective.per_question(chosen, plan)
        ranked = sorted(
            candidates, key=lambda t: (t.user_attrs["calls_per_question"], -t.values[0], t.number)
        )
        most = self.objective.calls(chosen, plan)
        for trial in ranked:
            if trial.user_attrs["calls_per_question"] >= most:
                break
            own = self.objective.draws.readable(self._members(trial), plan_of(trial))
            gaps = ours - self.objective.per_question(self._chosen(trial), own)
            if gaps.mean() <= standard_error(gaps) and self._rule_wins(trial):
                return self._setting(trial, own)
        return None

    def _rule_wins(self, trial: FrozenTrial) -> bool:
        """Whether a trial's rule is the paper's, or beats it by cross-validation in training."""
        members = self._members(trial)
        plan = self.objective.draws.readable(members, plan_of(trial))
        if plan.rule == PAPER_RULE:
            return True
        if (members, plan) not in self._wins:
            rows = self.objective.training_rows()
            part = self.objective.part(plan).rows(rows).of(members, None)[0]
            inner = folds(len(rows), count=min(5, len(rows)), seed=self.options.seed + 1)
            ours, paper = (
                self.objective.replay(part, name, inner) for name in (plan.rule, PAPER_RULE)
            )
            self._wins[members, plan] = compare(ours, paper).mean > 0
        return self._wins[members, plan]

    def _members(self, trial: FrozenTrial) -> Members:
        """The subset of a trial.

        Searched again rather than read: a stored study may have been written by other code.
        """
        if not self.objective.enumerable:
            return tuple(trial.user_attrs["members"])
        return self.objective.subset(plan_of(trial), *_search_key(trial), None)

    def _chosen(self, trial: FrozenTrial) -> list[Members]:
        """The subset of a trial on each split."""
        if not self.objective.enumerable:
            return [self._members(trial)] * len(self.objective.splits)
        return self.objective.subsets(plan_of(trial), *_search_key(trial))

    def _setting(self, trial: FrozenTrial, plan: Plan) -> Setting:
        return self._set(self._members(trial), self._chosen(trial), plan, _penalty(trial))

    def _set(
        self, members: Members, chosen: Sequence[Members], plan: Plan, penalty: float | None
    ) -> Setting:
        value, cost = self.objective.score(chosen, plan)
        temperature = self.objective.draws.temperature(members, plan)
        return Setting(
            members,
            plan.k,
            penalty,
            plan.rule,
            value,
            cost,
            temperature,
            plan.greedy,
            plan.evidence,
        )

    def _paper(self) -> tuple[list[Members], Plan]:
        """The paper's subset on each split, and its plan."""
        objective = self.objective
        plan, size = Plan(min(PAPER_K, objective.k_max), PAPER_RULE), objective.sizes[-1]
        if not objective.enumerable:
            return [objective.record.members[:size]] * len(objective.splits), plan
        return objective.subsets(plan, PAPER_PENALTY, size), plan

    def _baseline(self, chosen: list[Members], plan: Plan) -> Setting:
        objective = self.objective
        members = (
            objective.subset(plan, PAPER_PENALTY, objective.sizes[-1], None)
            if objective.enumerable
            else chosen[0]
        )
        return self._set(members, chosen, plan, PAPER_PENALTY)

    def _single(self, best: Plan) -> Setting:
        """Self-consistency of the most accurate member of each training part, with equal draws."""
        objective = self.objective
        plan = Plan(best.k, "self_consistency", best.greedy)
        everyone = [objective.record.members] * len(objective.splits)
        part = objective.part(plan).rows(objective.training_rows())
        return self._set(most_accurate(part, 1), everyone, plan, None)


def _affordable(trials: Sequence[FrozenTrial], budget: float) -> list[FrozenTrial]:
    affordable = [trial for trial in trials if trial.values[1] <= budget]
    if not affordable:
        least = min(trial.values[1] for trial in trials)
        raise ConfigurationError(
            f"No setting stays within the budget of {budget:g}; the cheapest tried takes {least:g}."
        )
    return affordable


def _search_key(trial: FrozenTrial) -> tuple[float, int]:
    """λ and size of a trial."""
    return round(trial.params["penalty"], 6), trial.params["size"]


def _penalty(trial: FrozenTrial) -> float | None:
    penalty: float | None = trial.params.get("penalty")
    return penalty


def _paired(ours: Floats, theirs: Floats) -> tuple[float, float, float]:
    differences = ours - theirs
    return float(differences.mean()), *difference_interval(differences)
