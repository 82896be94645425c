"""An Optuna study over subset, k, λ and rule, decided on recorded draws: no trial costs a call.

A trial's size, k and λ give the subset on each split's training part, by exact search where the pool can be enumerated (else the
subset is the study's own to choose, member by member); its value is the replayed accuracy of that mux on the split's test part.
With one split that is a train and a validation set; with folds it is cross-fitted: no question is scored by what it chose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..replay.intervals import bootstrap_difference
from ..replay.replay import RULE_NAMES, Result, compare, replay
from ..replay.splits import Split, folds
from .search import ENUMERABLE, most_accurate, search
from .study import Comparable, data_of, front, open_study, told

if TYPE_CHECKING:
    import optuna

#: The paper's own setting (section "Main Results"): three draws, λ = 1, its rule.
PAPER: Mapping[str, Any] = {"k": 3, "penalty": 1.0, "rule": "consistency"}
#: λ is tried in steps, so that trials that differ by nothing cost nothing.
PENALTY_STEP = 0.05
STUDY_NAME = "dspy-mux"


@dataclass(frozen=True)
class Setting:
    """A mux that a study chose.

    Attributes:
        value: its replayed accuracy; `Tuned.cross_fitted` tells on which questions.
        cost: what the second objective counts, per question; calls where there is none.
    """

    members: tuple[str, ...]
    k: int
    penalty: float | None
    rule: str
    value: float
    cost: float


@dataclass(frozen=True)
class Tuned:
    """What a study found.

    Attributes:
        best: the setting taken. Its rule is another than the paper's only where that won under cross-validation.
        baseline: the paper's defaults on the same questions; single: self-consistency of the best member.
        paper_rule: the best setting under the paper's rule, its other choices the same.
        difference: best − baseline, paired, with its 95 % interval, on the same questions.
        cross_fitted: whether no question's value is of a subset that it chose; else values are of the validation split. Either way
            the trials were compared on these very questions, which flatters the best of them.
        front: the settings that no other beats in both objectives, where two were asked for.
    """

    best: Setting
    baseline: Setting
    single: Setting
    difference: tuple[float, float, float]
    questions: int
    left_out: int
    cross_fitted: bool
    study: optuna.Study
    trials: list[dict[str, Any]] = field(default_factory=list)
    front: list[Setting] = field(default_factory=list)

    @property
    def note(self) -> str:
        """What the figures are of."""
        of = (
            "cross-fitted (no question is scored by a subset it chose)"
            if self.cross_fitted
            else "of the validation split"
        )
        return (
            f"Accuracies are {of}, on the very questions by which the best of the trials ({len(self.trials)}) was taken: that "
            "flatters it, and a test split would not."
        )


def tune(
    record: Record,
    *,
    splits: Sequence[Split] | None = None,
    max_members: int = 3,
    min_members: int = 1,
    k_max: int | None = None,
    rules: Sequence[str] = ("consistency", "pooled", "calibrated"),
    n_trials: int = 100,
    seed: int = 0,
    context: str | None = None,
    threshold: float = 1.0,
    minimize: str | None = None,
    budget: float | None = None,
    study: optuna.Study | None = None,
    storage: Any = None,
    study_name: str = STUDY_NAME,
    sampler: optuna.samplers.BaseSampler | None = None,
    n_jobs: int = 1,
    timeout: float | None = None,
    callbacks: Sequence[Callable[..., None]] = (),
    left_out: int = 0,
) -> Tuned:
    """Find the best mux over the record's members.

    Args:
        splits: None for five folds.
        max_members, min_members: sizes to try; k_max: draws per member, at most; None for all recorded.
        rules: which to try; the paper's is always among them.
        minimize: a second objective, "calls_per_question" or "cost_per_question"; `budget` is the most of it that the taken setting
            may spend (without one, the most accurate on the front is taken).
        study, storage, study_name, sampler, n_jobs, timeout, callbacks: as in Optuna; an existing study of the same data goes on,
            and of its trials those within the sizes and draws asked for count.

    Raises:
        ConfigurationError: nothing to choose from, no draw that reaches the threshold, an unknown rule or objective, a study of
            other data, or Optuna is missing.
    """
    tuner = _Tuner(
        record, splits, max_members, min_members, k_max, rules, context, threshold, minimize, seed
    )
    if budget is not None and minimize is None:
        raise ConfigurationError(
            "A budget needs the objective it bounds: minimize='calls_per_question' or 'cost_per_question'."
        )
    if n_trials < 1:
        raise ConfigurationError(f"n_trials must be 1 or more, not {n_trials}.")
    study = study or open_study(storage, study_name, sampler, seed, minimize)
    tuner.comparable().check(study)
    for params in tuner.first_trials():
        study.enqueue_trial(params, skip_if_exists=True)
    study.optimize(
        tuner.objective,
        n_trials=n_trials,
        timeout=timeout,
        n_jobs=n_jobs,
        callbacks=list(callbacks) or None,
    )
    return tuner.result(study, budget, left_out)


class _Tuner:
    def __init__(
        self,
        record: Record,
        splits: Sequence[Split] | None,
        max_members: int,
        min_members: int,
        k_max: int | None,
        rules: Sequence[str],
        context: str | None,
        threshold: float,
        minimize: str | None,
        seed: int,
    ):
        recorded = record.votes.shape[2]
        self.record, self.context, self.threshold, self.minimize, self.seed = (
            record,
            context,
            threshold,
            minimize,
            seed,
        )
        self.cross_fitted = splits is None or len(splits) > 1
        self.splits = (
            list(splits) if splits is not None else folds(len(record.questions), seed=seed)
        )
        self.k_max = recorded if k_max is None else min(k_max, recorded)
        self.sizes = range(max(1, min_members), min(max_members, len(record.members)) + 1)
        self.rules = tuple(dict.fromkeys(("consistency", *rules)))
        unknown = [rule for rule in self.rules if rule not in RULE_NAMES]
        if unknown:
            raise ConfigurationError(
                f"There is no rule {unknown[0]!r} to try: choose from {', '.join(RULE_NAMES)}."
            )
        if not self.sizes or self.k_max < 1:
            raise ConfigurationError(
                f"There is nothing to choose: {min_members} to {max_members} of {len(record.members)} members, {self.k_max} draws."
            )
        if minimize not in (None, "calls_per_question", "cost_per_question"):
            raise ConfigurationError(
                f"minimize must be 'calls_per_question' or 'cost_per_question', not {minimize!r}."
            )
        if minimize == "cost_per_question":
            _check_costs(record)
        self.enumerable = math.comb(len(record.members), self.sizes[-1]) <= ENUMERABLE
        highest = float(record.scores[self.all_rows()].max())
        if highest < threshold:
            raise ConfigurationError(
                f"No draw of the questions that choose the members reaches the threshold {threshold:g}, from which an answer "
                f"counts as correct; the highest score is {highest:g}: give a threshold that good answers reach, or other members."
            )
        self._training: dict[int | None, Record] = {}
        self._subsets: dict[tuple[int, float, int, int | None], tuple[str, ...]] = {}
        self._scores: dict[tuple[Any, ...], tuple[Any, float]] = {}
        self._wins: dict[tuple[Any, ...], bool] = {}

    # --- one trial

    def objective(self, trial: optuna.Trial) -> float | tuple[float, float]:
        import optuna

        k = trial.suggest_int("k", 1, self.k_max)
        rule = trial.suggest_categorical("rule", list(self.rules))
        penalty: float | None = None
        if self.enumerable:
            size = trial.suggest_int("size", self.sizes[0], self.sizes[-1])
            penalty = round(trial.suggest_float("penalty", 0.0, 2.0, step=PENALTY_STEP), 6)
            if size not in self.sizes or k > self.k_max:
                # Queued by an earlier run with other bounds and never tried.
                raise optuna.TrialPruned()
            chosen = [self.subset(k, penalty, size, at) for at in range(len(self.splits))]
            final = self.subset(k, penalty, size, None)
        else:
            names = [
                name
                for name in self.record.members
                if trial.suggest_categorical(f"member {name}", [False, True])
            ]
            if not self.sizes[0] <= len(names) <= self.sizes[-1]:
                names = self._trimmed(names)
            final = tuple(names)
            chosen = [final] * len(self.splits)
        value, cost = self.score(chosen, k, rule)
        for name, known in (("members", list(final)), ("calls_per_question", cost)):
            trial.set_user_attr(name, known)
        return value if self.minimize is None else (value, cost)

    def subset(self, k: int, penalty: float, size: int, split: int | None) -> tuple[str, ...]:
        """The best subset by O(S) on the training part of a split; on all that is not held out for None."""
        key = (k, penalty, size, split)
        if key not in self._subsets:
            if split not in self._training:
                self._training[split] = self.record.rows(
                    self.all_rows() if split is None else self.splits[split].train
                )
            found = search(
                self._training[split].first(k),
                [size],
                penalty=penalty,
                top=1,
                threshold=self.threshold,
            )
            self._subsets[key] = found.results[0].members
        return self._subsets[key]

    def all_rows(self) -> Any:
        """What the final subset is searched on: everything where values are cross-fitted, else the training part."""
        return np.arange(len(self.record.questions)) if self.cross_fitted else self.splits[0].train

    def score(self, chosen: Sequence[tuple[str, ...]], k: int, rule: str) -> tuple[float, float]:
        """Mean accuracy and cost over the splits."""
        parts = [self._of_split(at, members, k, rule) for at, members in enumerate(chosen)]
        tested = sum(len(scores) for scores, _ in parts)
        return (
            float(sum(scores.sum() for scores, _ in parts) / tested),
            float(sum(cost * len(scores) for scores, cost in parts) / tested),
        )

    def per_question(self, chosen: Sequence[tuple[str, ...]], k: int, rule: str) -> Any:
        return np.concatenate(
            [self._of_split(at, members, k, rule)[0] for at, members in enumerate(chosen)]
        )

    def _of_split(self, at: int, members: tuple[str, ...], k: int, rule: str) -> tuple[Any, float]:
        key = (at, members, k, rule)
        if key not in self._scores:
            result = self._replayed(members, k, rule, self.splits[at])
            cost = (
                result.cost_per_question
                if self.minimize == "cost_per_question"
                else result.calls_per_question
            )
            assert cost is not None  # costs are only minimised where every draw tells its own
            self._scores[key] = (result.per_question, cost)
        return self._scores[key]

    def _replayed(self, members: Sequence[str], k: int, rule: str, split: Split) -> Result:
        part, _ = self.record.of(members, None)
        return replay(
            part.first(k), rule, splits=[split], context=self.context, threshold=self.threshold
        )

    def _trimmed(self, names: list[str]) -> list[str]:
        """A subset of an allowed size: without its last members, or with the first ones that are missing."""
        names = names[: self.sizes[-1]]
        missing = [name for name in self.record.members if name not in names]
        return sorted(
            names + missing[: max(0, self.sizes[0] - len(names))], key=self.record.members.index
        )

    # --- the study

    def first_trials(self) -> list[dict[str, Any]]:
        """The paper's defaults, for each size; and the same for the other rules at the largest."""
        k = min(int(PAPER["k"]), self.k_max)
        if not self.enumerable:
            subset = set(self.record.members[: self.sizes[-1]])
            return [
                {
                    "k": k,
                    "rule": "consistency",
                    **{f"member {name}": name in subset for name in self.record.members},
                }
            ]
        paper = [
            {"k": k, "rule": "consistency", "size": size, "penalty": PAPER["penalty"]}
            for size in reversed(self.sizes)
        ]
        others = [{**paper[0], "rule": rule, "k": self.k_max} for rule in self.rules]
        return [*paper, *others]

    def comparable(self) -> Comparable:
        """What a study's trials must have in common with ours."""
        record = self.record
        return Comparable(
            data=data_of(record, self.splits, self.threshold, self.context, self.minimize),
            rules=self.rules,
            params=("size", "penalty")
            if self.enumerable
            else tuple(f"member {name}" for name in record.members),
            members=record.members,
            draws=record.votes.shape[2],
            objectives=1 if self.minimize is None else 2,
        )

    def within(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether a complete trial keeps to the sizes and draws asked for now; an earlier run may have been asked for others."""
        size = trial.params["size"] if self.enumerable else len(trial.user_attrs["members"])
        return size in self.sizes and trial.params["k"] <= self.k_max

    def result(self, study: optuna.Study, budget: float | None, left_out: int) -> Tuned:
        import optuna

        complete = [
            trial for trial in study.trials if trial.state == optuna.trial.TrialState.COMPLETE
        ]
        done = [trial for trial in complete if self.within(trial)]
        if not done:
            raise ConfigurationError(
                "No trial of the sizes and draws asked for was completed: give the study more time or trials."
            )
        best_of_two = [] if self.minimize is None else front(done)
        candidates = best_of_two or done
        if budget is not None:
            affordable = [trial for trial in done if trial.values[1] <= budget]
            if not affordable:
                least = min(trial.values[1] for trial in done)
                raise ConfigurationError(
                    f"No setting stays within the budget of {budget:g}; the cheapest tried takes {least:g}."
                )
            candidates = affordable
        # Equal values: the fewest draws, then the first tried.
        ranked = sorted(
            candidates, key=lambda t: (-t.values[0], t.user_attrs["calls_per_question"], t.number)
        )
        # The paper's rule is always tried, so one of them passes; on a front without it, the best one's other choices stand.
        best = next((trial for trial in ranked if self._rule_wins(trial)), ranked[0])
        rule = best.params["rule"] if self._rule_wins(best) else "consistency"
        chosen = self._chosen(best)
        paper = self._paper()
        ours = self.per_question(chosen, best.params["k"], rule)
        theirs = self.per_question(*paper, "consistency")
        # The same mux differs from itself on no question, whatever the questions.
        alike = (chosen, best.params["k"], rule) == (*paper, "consistency")
        difference = (0.0, 0.0, 0.0) if alike else _paired(ours, theirs, self.seed)
        single = self._single(best.params["k"])
        return Tuned(
            best=self._setting(best, rule),
            baseline=Setting(
                self.subset(paper[1], float(PAPER["penalty"]), self.sizes[-1], None)
                if self.enumerable
                else chosen[0],
                paper[1],
                float(PAPER["penalty"]),
                "consistency",
                *self.score(*paper, "consistency"),
            ),
            single=single,
            difference=difference,
            questions=len(ours),
            left_out=left_out,
            cross_fitted=self.cross_fitted,
            study=study,
            trials=[told(trial) for trial in done],
            front=[self._setting(trial, trial.params["rule"]) for trial in best_of_two],
        )

    def _members(self, trial: optuna.trial.FrozenTrial) -> tuple[str, ...]:
        """The subset that a trial's choices come to: searched again rather than read, for the study may have been kept for long."""
        if not self.enumerable:
            return tuple(trial.user_attrs["members"])
        return self.subset(
            trial.params["k"], round(trial.params["penalty"], 6), trial.params["size"], None
        )

    def _chosen(self, trial: optuna.trial.FrozenTrial) -> list[tuple[str, ...]]:
        if not self.enumerable:
            return [self._members(trial)] * len(self.splits)
        at = (trial.params["k"], round(trial.params["penalty"], 6), trial.params["size"])
        return [self.subset(*at, split) for split in range(len(self.splits))]

    def _rule_wins(self, trial: optuna.trial.FrozenTrial) -> bool:
        """Whether a trial's rule is the paper's, or beats it under cross-validation inside the training part."""
        rule, members, k = trial.params["rule"], self._members(trial), trial.params["k"]
        if rule == "consistency":
            return True
        if (members, k, rule) not in self._wins:
            rows = self.all_rows()
            part = self.record.rows(rows).of(members, None)[0].first(k)
            inner = folds(len(rows), count=min(5, len(rows)), seed=self.seed + 1)
            ours, paper = (
                replay(part, name, splits=inner, context=self.context, threshold=self.threshold)
                for name in (rule, "consistency")
            )
            self._wins[members, k, rule] = compare(ours, paper).mean > 0
        return self._wins[members, k, rule]

    def _paper(self) -> tuple[list[tuple[str, ...]], int]:
        k = min(int(PAPER["k"]), self.k_max)
        if not self.enumerable:
            return [self.record.members[: self.sizes[-1]]] * len(self.splits), k
        return [
            self.subset(k, float(PAPER["penalty"]), self.sizes[-1], at)
            for at in range(len(self.splits))
        ], k

    def _single(self, k: int) -> Setting:
        """Self-consistency of the member most accurate on each training part."""
        everyone = [self.record.members] * len(self.splits)
        value, cost = self.score(everyone, k, "self_consistency")
        part = self.record.rows(self.all_rows()).first(k)
        return Setting(most_accurate(part, 1), k, None, "self_consistency", value, cost)

    def _setting(self, trial: optuna.trial.FrozenTrial, rule: str) -> Setting:
        value, cost = self.score(self._chosen(trial), trial.params["k"], rule)
        return Setting(
            self._members(trial), trial.params["k"], trial.params.get("penalty"), rule, value, cost
        )


def _check_costs(record: Record) -> None:
    prices = record.prices()
    if prices is None:
        raise ConfigurationError(
            f"{record.source} has no costs, so the cost per question cannot be minimised."
        )
    unknown = np.isnan(prices).sum(axis=(0, 2))
    if unknown.any():
        worst = int(unknown.argmax())
        raise ConfigurationError(
            f"{record.source} does not tell what {unknown[worst]} of the draws of {record.members[worst]!r} cost (from a cache "
            "they have no price), so the cost per question cannot be minimised: leave that member out, or minimise the calls."
        )


def _paired(ours: Any, theirs: Any, seed: int) -> tuple[float, float, float]:
    differences = ours - theirs
    return float(differences.mean()), *bootstrap_difference(differences, seed=seed)
