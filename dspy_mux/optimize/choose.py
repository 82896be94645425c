"""Choose the setting to use among a study's complete trials, and compare it with the paper's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..replay.intervals import bootstrap_difference
from ..replay.replay import compare
from ..replay.splits import folds
from ..voting.tally import Floats
from .objective import PAPER_K, PAPER_PENALTY, PAPER_RULE, Members, Objective
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
        self._wins: dict[tuple[Members, int, str], bool] = {}

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
        best, rule = self._best(candidates)
        k, chosen = best.params["k"], self._chosen(best)
        paper_chosen, paper_k = self._paper()
        ours = self.objective.per_question(chosen, k, rule)
        theirs = self.objective.per_question(paper_chosen, paper_k, PAPER_RULE)
        # The same mux differs from itself on no question, so its interval is exactly zero.
        alike = (chosen, k, rule) == (paper_chosen, paper_k, PAPER_RULE)
        return Tuned(
            best=self._setting(best, rule),
            baseline=self._baseline(paper_chosen, paper_k),
            single=self._single(k),
            difference=(0.0, 0.0, 0.0) if alike else _paired(ours, theirs, self.options.seed),
            questions=len(ours),
            left_out=left_out,
            cross_fitted=self.objective.cross_fitted,
            study=study,
            trials=[trial_row(trial) for trial in done],
            front=[self._setting(trial, trial.params["rule"]) for trial in front],
        )

    def _best(self, candidates: Sequence[FrozenTrial]) -> tuple[FrozenTrial, str]:
        """The most accurate trial whose rule wins; equal values: fewest calls, then first tried.

        The paper's rule is always tried, so some trial wins; on a front without it, the most
        accurate trial is taken with its rule replaced by the paper's.
        """
        ranked = sorted(
            candidates, key=lambda t: (-t.values[0], t.user_attrs["calls_per_question"], t.number)
        )
        best = next((trial for trial in ranked if self._rule_wins(trial)), None)
        return (ranked[0], PAPER_RULE) if best is None else (best, best.params["rule"])

    def _rule_wins(self, trial: FrozenTrial) -> bool:
        """Whether a trial's rule is the paper's, or beats it by cross-validation in training."""
        rule, members, k = trial.params["rule"], self._members(trial), trial.params["k"]
        if rule == PAPER_RULE:
            return True
        if (members, k, rule) not in self._wins:
            rows = self.objective.training_rows()
            part = self.objective.record.rows(rows).of(members, None)[0].first(k)
            inner = folds(len(rows), count=min(5, len(rows)), seed=self.options.seed + 1)
            ours, paper = (self.objective.replay(part, name, inner) for name in (rule, PAPER_RULE))
            self._wins[members, k, rule] = compare(ours, paper).mean > 0
        return self._wins[members, k, rule]

    def _members(self, trial: FrozenTrial) -> Members:
        """The subset of a trial.

        Searched again rather than read: a stored study may have been written by other code.
        """
        if not self.objective.enumerable:
            return tuple(trial.user_attrs["members"])
        return self.objective.subset(*_search_key(trial), None)

    def _chosen(self, trial: FrozenTrial) -> list[Members]:
        """The subset of a trial on each split."""
        if not self.objective.enumerable:
            return [self._members(trial)] * len(self.objective.splits)
        return self.objective.subsets(*_search_key(trial))

    def _setting(self, trial: FrozenTrial, rule: str) -> Setting:
        k = trial.params["k"]
        value, cost = self.objective.score(self._chosen(trial), k, rule)
        return Setting(self._members(trial), k, trial.params.get("penalty"), rule, value, cost)

    def _paper(self) -> tuple[list[Members], int]:
        """The paper's subset on each split, and its k."""
        objective = self.objective
        k, size = min(PAPER_K, objective.k_max), objective.sizes[-1]
        if not objective.enumerable:
            return [objective.record.members[:size]] * len(objective.splits), k
        return objective.subsets(k, PAPER_PENALTY, size), k

    def _baseline(self, chosen: list[Members], k: int) -> Setting:
        objective = self.objective
        members = (
            objective.subset(k, PAPER_PENALTY, objective.sizes[-1], None)
            if objective.enumerable
            else chosen[0]
        )
        value, cost = objective.score(chosen, k, PAPER_RULE)
        return Setting(members, k, PAPER_PENALTY, PAPER_RULE, value, cost)

    def _single(self, k: int) -> Setting:
        """Self-consistency of the most accurate member of each training part."""
        objective = self.objective
        everyone = [objective.record.members] * len(objective.splits)
        value, cost = objective.score(everyone, k, "self_consistency")
        part = objective.record.rows(objective.training_rows()).first(k)
        return Setting(most_accurate(part, 1), k, None, "self_consistency", value, cost)


def _affordable(trials: Sequence[FrozenTrial], budget: float) -> list[FrozenTrial]:
    affordable = [trial for trial in trials if trial.values[1] <= budget]
    if not affordable:
        least = min(trial.values[1] for trial in trials)
        raise ConfigurationError(
            f"No setting stays within the budget of {budget:g}; the cheapest tried takes {least:g}."
        )
    return affordable


def _search_key(trial: FrozenTrial) -> tuple[int, float, int]:
    """k, λ and size of a trial."""
    return trial.params["k"], round(trial.params["penalty"], 6), trial.params["size"]


def _paired(ours: Floats, theirs: Floats, seed: int) -> tuple[float, float, float]:
    differences = ours - theirs
    return float(differences.mean()), *bootstrap_difference(differences, seed=seed)
