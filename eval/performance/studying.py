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
    began = time.perf_counter()
    tuned = tune(record, n_trials=TRIALS, max_members=3)
    ours = time.perf_counter() - began
    empty = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    distributions = tuned.study.trials[-1].distributions
    began = time.perf_counter()
    empty.optimize(lambda trial: _ask(trial, distributions), n_trials=TRIALS)
    yield Figure.of(
        f"study: {TRIALS:,} trials over the same study of empty trials", [ours / (time.perf_counter() - began)], target="≤ 1.5"
    )


def _ask(trial: optuna.Trial, distributions: dict[str, optuna.distributions.BaseDistribution]) -> float:
    """The same questions to the sampler, and no work."""
    for name, distribution in distributions.items():
        trial._suggest(name, distribution)
    return 0.5
