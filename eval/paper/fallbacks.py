"""`python -m eval fallbacks`: `calibrated` with few labels, against the best simple rule.

The best simple rule is chosen in hindsight, by its mean on the very questions that are scored, so
that 0 is what nobody who has only the labels can be sure of.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from scipy.stats import t as student

from dspy_mux import DataError, Record, read_jsonl
from dspy_mux.replay.intervals import standard_error
from dspy_mux.replay.resample import redrawn
from dspy_mux.voting.calibrated import simple_picks
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.tally import Tally

from ..tables.text import Shown, show, signed

#: A test part needs so many questions; a larger one is cut.
_LEAST, _MOST = 20, 300
#: Pools of each bank, at most.
_POOLS, _TASK_POOLS = 6, 1


@dataclass(frozen=True)
class FallbackTable:
    """What `python -m eval fallbacks` is asked for.

    Attributes:
        data: the folder of the public banks.
        labels: numbers of questions that are fitted on.
        k: draws per member, as far as they are recorded.
        repeats: random choices of questions and draws for each pool.
        votes_only: leave the banks with evidence out.
    """

    data: Path
    labels: Sequence[int]
    k: Sequence[int]
    repeats: int
    seed: int
    votes_only: bool
    as_json: bool
    as_markdown: bool


def run(options: FallbackTable) -> None:
    """Print the mean and the worst difference over pools, by labels and draws."""
    pools = _pools(options)
    rows = [
        row
        for at, (name, record) in enumerate(
            track(pools, description="fitting", console=Console(stderr=True))
        )
        for row in _rows(at, name, record, options)
    ]
    if options.as_json:
        print(json.dumps(rows, indent=2))
        return
    by_setting = defaultdict(list)
    for row in rows:
        by_setting[row["labels"], row["k"]].append(row)
    cells = [_cells(labels, k, by_setting[labels, k]) for labels, k in sorted(by_setting)]
    title = (
        f"calibrated − the best simple rule in hindsight, points, over {len(pools)} pools of banks "
        f"({options.repeats} random choices of labels and draws each)"
    )
    columns = ("labels", "k", "pools", "mean", "95 % over pools", "worst", "worst pool")
    show([Shown(title, columns, cells, words=0)], [], as_markdown=options.as_markdown)


def _cells(labels: int, k: int, rows: Sequence[dict[str, Any]]) -> list[str]:
    gains = np.array([row["gain"] for row in rows])
    worst = min(rows, key=lambda row: float(row["gain"]))
    between = "–"
    if len(gains) > 1:
        half = float(student.ppf(0.975, len(gains) - 1)) * standard_error(gains)
        between = f"{signed(gains.mean() - half)} to {signed(gains.mean() + half)}"
    return [
        str(labels),
        str(k),
        str(len(rows)),
        signed(float(gains.mean())),
        between,
        signed(worst["gain"]),
        f"{worst['pool']} ({worst['best']})",
    ]


def _rows(at: int, name: str, record: Record, options: FallbackTable) -> Iterator[dict[str, Any]]:
    questions, _, draws = record.votes.shape
    for k, labels in itertools.product(options.k, options.labels):
        if k > draws or questions - labels < _LEAST:
            continue
        scores = defaultdict(list)
        for repeat in range(options.repeats):
            random = np.random.default_rng([options.seed, at, k, labels, repeat])
            for rule, accuracy in _tried(redrawn(record, k, random), labels, random).items():
                scores[rule].append(accuracy)
        means = {rule: float(np.mean(values)) for rule, values in scores.items()}
        learned = means.pop("calibrated")
        best = max(means, key=means.__getitem__)
        yield {
            "pool": name,
            "questions": questions,
            "k": k,
            "labels": labels,
            "calibrated": learned,
            "simple": means,
            "best": best,
            "gain": learned - means[best],
        }


def _tried(record: Record, labels: int, random: np.random.Generator) -> dict[str, float]:
    """Fit on `labels` random questions, and return each rule's accuracy on others."""
    order = random.permutation(len(record.questions))
    train, test = np.sort(order[:labels]), np.sort(order[labels : labels + _MOST])
    known, asked = _tally(record.rows(train)), _tally(record.rows(test))
    fitted = fit(Training(known, record.scores[train], record.members))
    right = (record.scores[test] >= 1).astype(float)
    simple = simple_picks(asked, fitted.accuracies).items()
    picks = {"calibrated": fitted.pick(asked), **{str(rule): picks for rule, picks in simple}}
    return {rule: float(each.scores(right).mean()) for rule, each in picks.items()}


def _tally(record: Record) -> Tally:
    return Tally(record.votes, None, record.evidence)


def _pools(options: FallbackTable) -> list[tuple[str, Record]]:
    """Return pools of 3 to 6 members of every bank, the tasks of reasoning-gym apart as well."""
    random = np.random.default_rng(options.seed)
    data = options.data
    gym = read_jsonl(data / "rgym_short_dev.jsonl.gz")
    found = _subsets("reasoning-gym", gym, _POOLS, random)
    tasks = np.array(gym.field("task"))
    for task in np.unique(tasks).tolist():
        one = gym.rows(np.flatnonzero(tasks == task))
        found += _subsets(f"reasoning-gym/{task}", one, _TASK_POOLS, random)
    for dataset in ("GSM8K", "AQUA"):
        bank = read_jsonl(data / "faithful_cot_gsm8k_aqua.jsonl.gz", dataset=dataset)
        found += _subsets(dataset, bank, _POOLS, random)
    found += _subsets("everyday", read_jsonl(data / "tiny_slms_everyday.jsonl.gz"), 1, random)
    if options.votes_only:
        return found
    from ..evidence.sources import read_source

    for name, file in (
        ("everyday, probabilities", "everyday_logprobs.jsonl.gz"),
        ("GSM8K, chain of thought", "gsm8k_cot_logprobs.jsonl.gz"),
    ):
        found += _subsets(name, read_source(str(data / file)).sampled, 1, random)
    return found


def _subsets(
    name: str, record: Record, most: int, random: np.random.Generator
) -> list[tuple[str, Record]]:
    """Return the record cut to random subsets of 3 to 6 members that have answered together."""
    every = [
        subset for size in range(3, 7) for subset in itertools.combinations(record.members, size)
    ]
    chosen = random.permutation(len(every))[:most]
    pools = []
    for at in sorted(chosen.tolist()):
        try:
            cut, _ = record.of(every[at], record.votes.shape[2])
        except DataError:
            continue
        pools.append((f"{name}, {len(every[at])} members", cut))
    return pools
