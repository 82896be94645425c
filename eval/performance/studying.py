"""A study of MuxOptimizer over recorded draws, beside the same study whose trials do nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import optuna

from dspy_mux.tuning import tune

from .figures import Figure
from .searching import synthetic

TRIALS = 1000
MEMBERS = 6


def figures() -> Iterator[Figure]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    record = synthetic(MEMBERS, 300, 5)
    for rules, told in (
        (("consistency", "pooled", "calibrated"), "all rules"),
        (("consistency", "pooled"), "without the calibrated rule"),
    ):
        began = time.perf_counter()
        tuned = tune(record, n_trials=TRIALS, max_members=3, rules=rules)
        ours = time.perf_counter() - began
        over = ours / _empty(tuned.study.trials[-1].distributions)
        yield Figure.of(f"study: {TRIALS:,} trials over as many empty trials of the same study, {told}", [over], target="≤ 1.5")


def _empty(distributions: dict[str, optuna.distributions.BaseDistribution]) -> float:
    """Seconds of a study that asks the sampler the same, and does nothing."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    began = time.perf_counter()
    study.optimize(lambda trial: _ask(trial, distributions), n_trials=TRIALS)
    return time.perf_counter() - began


def _ask(trial: optuna.Trial, distributions: dict[str, optuna.distributions.BaseDistribution]) -> float:
    """The same questions to the sampler, and no work."""
    for name, distribution in distributions.items():
        trial._suggest(name, distribution)
    return 0.5
