"""A study of MuxOptimizer over recorded draws, beside the same study whose trials do nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import optuna

from dspy_mux.optimize.tune import tune

from .figures import Figure, peak_memory
from .search import synthetic

TRIALS = 1000
MEMBERS = 6
RUNS = 2
FITS = "the calibrated rule is fitted anew for each of the subsets and k that a study tries"
RULES = {
    "all rules": ("consistency", "pooled", "calibrated"),
    "without the calibrated rule": ("consistency", "pooled"),
}


def figures() -> Iterator[Figure]:
    for title, rules in RULES.items():
        # In a process of its own: its peak of memory is its own.
        command = [sys.executable, "-m", __name__, *rules]
        measured = [
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            for _ in range(RUNS)
        ]
        name = f"study: {TRIALS:,} trials over as many empty trials of the same study, {title}"
        yield Figure.of(name, [float(over) for over, _ in measured], target="≤ 1.5", why=FITS)
        name = f"study: peak memory that its second half adds, {title}"
        yield Figure.of(name, [float(added) for _, added in measured], "MB", "≤ 5")


def _study(rules: list[str]) -> tuple[float, float]:
    """The ratio, and the megabytes that the second half of the trials adds to the peak."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    record = synthetic(MEMBERS, 300, 5)
    peaks: list[float] = []
    began = time.perf_counter()
    tuned = tune(
        record,
        n_trials=TRIALS,
        max_members=3,
        rules=rules,
        callbacks=[lambda *_: peaks.append(peak_memory())],
    )
    ours = time.perf_counter() - began
    over = ours / _empty(tuned.study.trials[-1].distributions)
    return over, peaks[-1] - peaks[TRIALS // 2]


def _empty(distributions: dict[str, optuna.distributions.BaseDistribution]) -> float:
    """Seconds of a study with the same sampler that asks it the same, and does nothing."""
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, multivariate=True)
    )
    began = time.perf_counter()
    study.optimize(lambda trial: _ask(trial, distributions), n_trials=TRIALS)
    return time.perf_counter() - began


def _ask(
    trial: optuna.Trial, distributions: dict[str, optuna.distributions.BaseDistribution]
) -> float:
    """The same questions to the sampler, and no work."""
    for name, distribution in distributions.items():
        trial._suggest(name, distribution)
    return 0.5


if __name__ == "__main__":
    print(*_study(sys.argv[1:]))
