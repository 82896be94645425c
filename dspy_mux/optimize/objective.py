"""The objective of a study: what one trial's members, draws and rule score on recorded draws.

A trial's size, draws and λ determine the subset on each split's training part, by exact search
where the pool can be enumerated; in larger pools the study chooses member by member. A trial's
value is the replayed accuracy of that mux on the split's test part. One split is a training and a
validation set; several are folds, and the value is then cross-fitted: no question is scored by a
subset that it helped to choose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..replay.decisions import check_evidence, picks_on
from ..replay.replay import Result, replay
from ..replay.splits import Split, folds
from ..replay.threshold import Judged
from ..voting.tally import Floats, Ints
from .operating import Aimed, Answers, Weighed, weigh
from .options import DEFAULT_RULES, ChoiceOptions
from .plan import (
    CALIBRATED,
    DRAWS,
    EVIDENCE,
    GREEDY,
    PROBABILITY,
    SAMPLED,
    Plan,
    Recorded,
    plan_of,
)
from .search import ENUMERABLE, search
from .study import Comparable, constrain, describe_data

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

#: The paper's own setting (section "Main Results"): three draws, λ = 1, its rule.
PAPER_K, PAPER_PENALTY, PAPER_RULE = 3, 1.0, "consistency"
#: λ is tried in steps of this size, so that equal subsets are searched and replayed only once.
PENALTY_STEP = 0.05

Members = tuple[str, ...]
Params = dict[str, int | float | str | bool]


class Objective:
    """Score trials of one record: call it with an Optuna trial.

    Searches and replays are remembered, as many trials share them.

    Raises:
        ConfigurationError: there is nothing to choose, no draw reaches the threshold, scores lie
            outside 0 to 1 and no threshold is stated, or the cost is to be minimised and the record
            lacks the cost of some draw.
    """

    def __init__(
        self,
        draws: Recorded,
        splits: Sequence[Split] | None,
        options: ChoiceOptions,
        aimed: Aimed | None = None,
    ):
        recorded_as = draws.sampled
        draws, correct = draws.graded(options.threshold)
        record = draws.sampled
        recorded = record.votes.shape[2]
        self.draws, self.record = draws, record
        self.options, self.aimed = replace(options, threshold=correct), aimed
        self.cross_fitted = splits is None or len(splits) > 1
        self.splits = (
            folds(len(record.questions), seed=options.seed) if splits is None else list(splits)
        )
        self.k_max = recorded if options.k_max is None else min(options.k_max, recorded)
        most = min(options.max_members, len(record.members))
        self.sizes = range(max(1, options.min_members), most + 1)
        self.rules = _rules(draws, options)
        if not self.sizes or self.k_max < 1:
            raise ConfigurationError(
                f"There is nothing to choose: {options.min_members} to {options.max_members} of "
                f"{len(record.members)} members, {self.k_max} draws."
            )
        if options.minimize == "cost_per_question":
            for each in filter(None, (record, draws.greedy)):
                _check_costs(each)
        self.enumerable = math.comb(len(record.members), self.sizes[-1]) <= ENUMERABLE
        self._check_threshold(recorded_as, options.correct)
        self._parts: dict[Plan, Record] = {}
        self._subsets: dict[tuple[Plan, float, int, int | None], Members] = {}
        self._scores: dict[tuple[int, Members, Plan], Result] = {}
        self._judged: dict[tuple[int, Members, Plan], Judged] = {}

    def _check_threshold(self, record: Record, threshold: float) -> None:
        highest = float(record.scores[self.training_rows()].max())
        if highest < threshold:
            raise ConfigurationError(
                "No draw of the questions that choose the members reaches the threshold "
                f"{threshold:g}, from which an answer counts as correct; the highest "
                f"score is {highest:g}: give a threshold that good answers reach, or other members."
            )

    # --- one trial

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        """Score a trial: its accuracy, and the second objective where there is one."""
        plan = self._suggested(trial)
        chosen, final = self._searched(trial, plan) if self.enumerable else self._picked(trial)
        value, cost = self.score(chosen, plan)
        trial.set_user_attr("members", list(final))
        trial.set_user_attr("calls_per_question", self.calls(chosen, plan))
        if self.aimed is not None:
            constrain(trial, self.weighed(chosen, plan).violations)
        return value if self.options.minimize is None else (value, cost)

    def _suggested(self, trial: optuna.Trial) -> Plan:
        """The plan of a trial.

        Each trial has all parameters, also where others leave one no effect: a sampler learns best
        from a space that is always the same.
        """
        if self.draws.greedy is not None:
            trial.suggest_categorical(DRAWS, [SAMPLED, GREEDY])
        trial.suggest_int("k", 1, self.k_max)
        trial.suggest_categorical("rule", list(self.rules))
        if self.draws.has_evidence:
            trial.suggest_categorical(EVIDENCE, [True, False])
        return plan_of(trial)

    def _searched(self, trial: optuna.Trial, plan: Plan) -> tuple[list[Members], Members]:
        """The subset of each split and the final one, by the size and λ of a trial."""
        import optuna

        size = trial.suggest_int("size", self.sizes[0], self.sizes[-1])
        penalty = round(trial.suggest_float("penalty", 0.0, 2.0, step=PENALTY_STEP), 6)
        if size not in self.sizes or plan.k > self.k_max:
            # Queued by an earlier run with other bounds and never tried.
            raise optuna.TrialPruned()
        return self.subsets(plan, penalty, size), self.subset(plan, penalty, size, None)

    def _picked(self, trial: optuna.Trial) -> tuple[list[Members], Members]:
        """The subset that a trial picks member by member, for each split and as the final one."""
        names = [
            name
            for name in self.record.members
            if trial.suggest_categorical(f"member {name}", [False, True])
        ]
        if not self.sizes[0] <= len(names) <= self.sizes[-1]:
            names = self._resized(names)
        return [tuple(names)] * len(self.splits), tuple(names)

    def _resized(self, names: list[str]) -> list[str]:
        """A subset of an allowed size: without its last members, or with the first missing ones."""
        names = names[: self.sizes[-1]]
        missing = [name for name in self.record.members if name not in names]
        return sorted(
            names + missing[: max(0, self.sizes[0] - len(names))], key=self.record.members.index
        )

    # --- subsets and their scores

    def training_rows(self) -> Ints:
        """Questions that choose the final subset: all if cross-fitted, else the training part."""
        if self.cross_fitted:
            return np.arange(len(self.record.questions))
        return self.splits[0].train

    def part(self, plan: Plan) -> Record:
        """The draws that a plan would make, by all members."""
        if plan not in self._parts:
            self._parts[plan] = self.draws.of(plan)
        return self._parts[plan]

    def subset(self, plan: Plan, penalty: float, size: int, split: int | None) -> Members:
        """The best subset by O(S) on a split's training part; for None on `training_rows`."""
        drawn = Plan(plan.k, PAPER_RULE, plan.greedy)  # the votes are all that counts
        key = (drawn, penalty, size, split)
        if key not in self._subsets:
            rows = self.training_rows() if split is None else self.splits[split].train
            found = search(
                self.part(drawn).rows(rows),
                [size],
                penalty=penalty,
                top=1,
                threshold=self.options.threshold,
            )
            self._subsets[key] = found.results[0].members
        return self._subsets[key]

    def subsets(self, plan: Plan, penalty: float, size: int) -> list[Members]:
        """The best subset of each split."""
        return [self.subset(plan, penalty, size, split) for split in range(len(self.splits))]

    def score(self, chosen: Sequence[Members], plan: Plan) -> tuple[float, float]:
        """Mean accuracy and cost over the test parts, where `chosen` has one subset per split."""
        value = float(self.per_question(chosen, plan).mean())
        if self.options.minimize != "cost_per_question":
            return value, self.calls(chosen, plan)
        costs = [(each.cost_per_question, each.questions) for each in self._results(chosen, plan)]
        # Costs are only minimised where every draw has one.
        return value, _mean([(cost, count) for cost, count in costs if cost is not None])

    def calls(self, chosen: Sequence[Members], plan: Plan) -> float:
        """Mean LM calls per question over the test parts."""
        results = self._results(chosen, plan)
        return _mean([(each.calls_per_question, each.questions) for each in results])

    def per_question(self, chosen: Sequence[Members], plan: Plan) -> Floats:
        """The score of each tested question, split after split."""
        return np.concatenate([each.per_question for each in self._results(chosen, plan)])

    def weighed(self, chosen: Sequence[Members], plan: Plan) -> Weighed:
        """How well a mux serves the aim, where `chosen` has one subset per split."""
        assert self.aimed is not None  # only then is it asked
        parts = [self._judged_on(at, members, plan) for at, members in enumerate(chosen)]
        judged = Judged(
            np.concatenate([part.confidence for part in parts]),
            np.concatenate([part.wrong for part in parts]),
        )
        tested = np.concatenate([split.test for split in self.splits])
        # Splits may have other members; those of any one cost about the same.
        drawn = self.part(plan).of(chosen[-1], None)[0]
        return weigh(self.aimed.aim, Answers.of(judged, self.aimed.large_at(tested), drawn))

    def _judged_on(self, at: int, members: Members, plan: Plan) -> Judged:
        """The answers to a split's test part, with the rule's own confidences.

        A scale would not change their order, but would differ from one split to the next.
        """
        key = (at, members, plan)
        if key not in self._judged:
            plan, split = self.draws.readable(members, plan), self.splits[at]
            part, threshold = self.part(plan).of(members, None)[0], self.options.threshold
            context = self.options.context if plan.rule == CALIBRATED else None
            picks = picks_on(part, plan.rule, split, context=context, threshold=threshold)
            self._judged[key] = Judged.of(picks, part.scores[split.test], self.options.correct)
        return self._judged[key]

    def _results(self, chosen: Sequence[Members], plan: Plan) -> list[Result]:
        return [self._on_split(at, members, plan) for at, members in enumerate(chosen)]

    def _on_split(self, at: int, members: Members, plan: Plan) -> Result:
        key = (at, members, plan)
        if key not in self._scores:
            plan = self.draws.readable(members, plan)
            part = self.part(plan).of(members, None)[0]
            self._scores[key] = self.replay(part, plan.rule, [self.splits[at]])
        return self._scores[key]

    def replay(self, part: Record, rule: str, splits: Sequence[Split]) -> Result:
        """Replay a rule with the study's context and threshold."""
        return replay(
            part,
            rule,
            splits=splits,
            context=self.options.context,
            threshold=self.options.threshold,
        )

    # --- the study's trials

    def first_trials(self) -> list[Params]:
        """Trials to queue: the paper's defaults for each size, and each rule at the largest."""
        k = min(PAPER_K, self.k_max)
        sampled: Params = {} if self.draws.greedy is None else {DRAWS: SAMPLED}
        if self.draws.has_evidence:
            sampled[EVIDENCE] = True
        if not self.enumerable:
            subset = set(self.record.members[: self.sizes[-1]])
            flags = {f"member {name}": name in subset for name in self.record.members}
            return [{**sampled, "k": k, "rule": PAPER_RULE, **flags}]
        paper: list[Params] = [
            {**sampled, "k": k, "rule": PAPER_RULE, "size": size, "penalty": PAPER_PENALTY}
            for size in reversed(self.sizes)
        ]
        others = [{**paper[0], "rule": rule, "k": self.k_max} for rule in self.rules]
        return [*paper, *others, *self._few_draws(sampled)]

    def _few_draws(self, sampled: Params) -> list[Params]:
        """Trials of a draw or two of each member, where that may be enough."""
        if self.draws.greedy is None and not self.draws.has_evidence:
            return []
        kinds = [{**sampled, "k": k} for k in range(1, min(2, self.k_max) + 1)]
        if self.draws.greedy is not None:
            kinds.insert(0, {**kinds[0], DRAWS: GREEDY})
        # With one draw every member is sure, so that a wrong one always contradicts: λ = 0.
        return [
            {**kind, "rule": rule, "size": self.sizes[-1], "penalty": 0.0}
            for kind in kinds
            for rule in self.rules
            if rule != PAPER_RULE
        ]

    def comparable(self) -> Comparable:
        """What the trials of a study must share with this objective's."""
        record = self.record
        return Comparable(
            data=describe_data(self.draws, self.splits, self.options, self.aimed),
            rules=self.rules,
            params=(
                *((DRAWS,) if self.draws.greedy is not None else ()),
                *((EVIDENCE,) if self.draws.has_evidence else ()),
                *(
                    ("size", "penalty")
                    if self.enumerable
                    else (f"member {name}" for name in record.members)
                ),
            ),
            members=record.members,
            draws=record.votes.shape[2],
            objectives=1 if self.options.minimize is None else 2,
        )

    def allows(self, trial: FrozenTrial) -> bool:
        """Whether a complete trial keeps to the sizes and draws asked for.

        An earlier run of the same study may have been asked for others.
        """
        size = trial.params["size"] if self.enumerable else len(trial.user_attrs["members"])
        return size in self.sizes and plan_of(trial).k <= self.k_max


def _mean(parts: Sequence[tuple[float, int]]) -> float:
    """The mean of values, each of a number of questions."""
    return float(sum(value * count for value, count in parts) / sum(count for _, count in parts))


def _rules(draws: Recorded, options: ChoiceOptions) -> tuple[str, ...]:
    """The rules to try, the paper's among them; of the default ones those that can be followed."""
    rules = tuple(dict.fromkeys((PAPER_RULE, *options.rules)))
    if PROBABILITY not in rules or draws.has_probabilities:
        return rules
    if tuple(options.rules) != DEFAULT_RULES:
        check_evidence(PROBABILITY, draws.sampled)
    return tuple(rule for rule in rules if rule != PROBABILITY)


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
            f"{record.source} lacks the cost of {unknown[worst]} of the draws of "
            f"{record.members[worst]!r} (draws from a cache have no price), so the cost per "
            "question cannot be minimised: leave that member out, or minimise the calls."
        )
