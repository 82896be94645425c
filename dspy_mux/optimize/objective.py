"""The objective of a study: what one trial's members, k and rule score on recorded draws.

A trial's size, k and λ determine the subset on each split's training part, by exact search where
the pool can be enumerated; in larger pools the study chooses member by member. A trial's value is
the replayed accuracy of that mux on the split's test part. One split is a training and a
validation set; several are folds, and the value is then cross-fitted: no question is scored by a
subset that it helped to choose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError
from ..replay.replay import Result, replay
from ..replay.splits import Split, folds
from ..voting.tally import Floats, Ints
from .options import ChoiceOptions
from .search import ENUMERABLE, search
from .study import Comparable, describe_data

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

#: The paper's own setting (section "Main Results"): three draws, λ = 1, its rule.
PAPER_K, PAPER_PENALTY, PAPER_RULE = 3, 1.0, "consistency"
#: λ is tried in steps of this size, so that equal subsets are searched and replayed only once.
PENALTY_STEP = 0.05

Members = tuple[str, ...]


class Objective:
    """Score trials of one record: call it with an Optuna trial.

    Searches and replays are remembered, as many trials share them.

    Raises:
        ConfigurationError: there is nothing to choose, no draw reaches the threshold, or the cost
            is to be minimised and the record lacks the cost of some draw.
    """

    def __init__(self, record: Record, splits: Sequence[Split] | None, options: ChoiceOptions):
        recorded = record.votes.shape[2]
        self.record, self.options = record, options
        self.cross_fitted = splits is None or len(splits) > 1
        self.splits = (
            folds(len(record.questions), seed=options.seed) if splits is None else list(splits)
        )
        self.k_max = recorded if options.k_max is None else min(options.k_max, recorded)
        most = min(options.max_members, len(record.members))
        self.sizes = range(max(1, options.min_members), most + 1)
        self.rules = tuple(dict.fromkeys((PAPER_RULE, *options.rules)))
        if not self.sizes or self.k_max < 1:
            raise ConfigurationError(
                f"There is nothing to choose: {options.min_members} to {options.max_members} of "
                f"{len(record.members)} members, {self.k_max} draws."
            )
        if options.minimize == "cost_per_question":
            _check_costs(record)
        self.enumerable = math.comb(len(record.members), self.sizes[-1]) <= ENUMERABLE
        self._check_threshold()
        self._training: dict[int | None, Record] = {}
        self._subsets: dict[tuple[int, float, int, int | None], Members] = {}
        self._scores: dict[tuple[int, Members, int, str], tuple[Floats, float]] = {}

    def _check_threshold(self) -> None:
        highest = float(self.record.scores[self.training_rows()].max())
        if highest < self.options.threshold:
            raise ConfigurationError(
                "No draw of the questions that choose the members reaches the threshold "
                f"{self.options.threshold:g}, from which an answer counts as correct; the highest "
                f"score is {highest:g}: give a threshold that good answers reach, or other members."
            )

    # --- one trial

    def __call__(self, trial: optuna.Trial) -> float | tuple[float, float]:
        """Score a trial: its accuracy, and the second objective where there is one."""
        k = trial.suggest_int("k", 1, self.k_max)
        rule = trial.suggest_categorical("rule", list(self.rules))
        chosen, final = self._searched(trial, k) if self.enumerable else self._picked(trial)
        value, cost = self.score(chosen, k, rule)
        trial.set_user_attr("members", list(final))
        trial.set_user_attr("calls_per_question", cost)
        return value if self.options.minimize is None else (value, cost)

    def _searched(self, trial: optuna.Trial, k: int) -> tuple[list[Members], Members]:
        """The subset of each split and the final one, by the size and λ of a trial."""
        import optuna

        size = trial.suggest_int("size", self.sizes[0], self.sizes[-1])
        penalty = round(trial.suggest_float("penalty", 0.0, 2.0, step=PENALTY_STEP), 6)
        if size not in self.sizes or k > self.k_max:
            # Queued by an earlier run with other bounds and never tried.
            raise optuna.TrialPruned()
        return self.subsets(k, penalty, size), self.subset(k, penalty, size, None)

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

    def subset(self, k: int, penalty: float, size: int, split: int | None) -> Members:
        """The best subset by O(S) on a split's training part; for None on `training_rows`."""
        key = (k, penalty, size, split)
        if key not in self._subsets:
            if split not in self._training:
                rows = self.training_rows() if split is None else self.splits[split].train
                self._training[split] = self.record.rows(rows)
            part = self._training[split].first(k)
            found = search(part, [size], penalty=penalty, top=1, threshold=self.options.threshold)
            self._subsets[key] = found.results[0].members
        return self._subsets[key]

    def subsets(self, k: int, penalty: float, size: int) -> list[Members]:
        """The best subset of each split."""
        return [self.subset(k, penalty, size, split) for split in range(len(self.splits))]

    def score(self, chosen: Sequence[Members], k: int, rule: str) -> tuple[float, float]:
        """Mean accuracy and cost over the test parts, where `chosen` has one subset per split."""
        parts = [self._on_split(at, members, k, rule) for at, members in enumerate(chosen)]
        tested = sum(len(scores) for scores, _ in parts)
        return (
            float(sum(scores.sum() for scores, _ in parts) / tested),
            float(sum(cost * len(scores) for scores, cost in parts) / tested),
        )

    def per_question(self, chosen: Sequence[Members], k: int, rule: str) -> Floats:
        """The score of each tested question, split after split."""
        return np.concatenate(
            [self._on_split(at, members, k, rule)[0] for at, members in enumerate(chosen)]
        )

    def _on_split(self, at: int, members: Members, k: int, rule: str) -> tuple[Floats, float]:
        """Scores of a split's test questions, and the mean cost of one of them."""
        key = (at, members, k, rule)
        if key not in self._scores:
            part = self.record.of(members, None)[0].first(k)
            result = self.replay(part, rule, [self.splits[at]])
            cost = (
                result.cost_per_question
                if self.options.minimize == "cost_per_question"
                else result.calls_per_question
            )
            assert cost is not None  # costs are only minimised where every draw has one
            self._scores[key] = (result.per_question, cost)
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

    def first_trials(self) -> list[dict[str, int | float | str | bool]]:
        """Trials to queue: the paper's defaults for each size, and each rule at the largest."""
        k = min(PAPER_K, self.k_max)
        if not self.enumerable:
            subset = set(self.record.members[: self.sizes[-1]])
            flags = {f"member {name}": name in subset for name in self.record.members}
            return [{"k": k, "rule": PAPER_RULE, **flags}]
        paper: list[dict[str, int | float | str | bool]] = [
            {"k": k, "rule": PAPER_RULE, "size": size, "penalty": PAPER_PENALTY}
            for size in reversed(self.sizes)
        ]
        return [*paper, *({**paper[0], "rule": rule, "k": self.k_max} for rule in self.rules)]

    def comparable(self) -> Comparable:
        """What the trials of a study must share with this objective's."""
        record = self.record
        return Comparable(
            data=describe_data(record, self.splits, self.options),
            rules=self.rules,
            params=("size", "penalty")
            if self.enumerable
            else tuple(f"member {name}" for name in record.members),
            members=record.members,
            draws=record.votes.shape[2],
            objectives=1 if self.options.minimize is None else 2,
        )

    def allows(self, trial: FrozenTrial) -> bool:
        """Whether a complete trial keeps to the sizes and draws asked for.

        An earlier run of the same study may have been asked for others.
        """
        size = trial.params["size"] if self.enumerable else len(trial.user_attrs["members"])
        return size in self.sizes and trial.params["k"] <= self.k_max


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
