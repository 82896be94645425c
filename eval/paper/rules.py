"""`python -m eval rules`: every rule on the public banks, over random half splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.bank.record import Record
from dspy_mux.cli.output import say, tables
from dspy_mux.layout import Table
from dspy_mux.replay.decisions import RULE_NAMES
from dspy_mux.replay.replay import replay
from dspy_mux.replay.resample import redrawn
from dspy_mux.replay.splits import Split, holdout
from dspy_mux.text import signed

from .pools import POOLS, Pool

#: The banks have no evidence.
_RULES = tuple(rule for rule in RULE_NAMES if rule != "probability")


def run(*, data: Path, k: int, repeats: int, seed: int, as_json: bool) -> None:
    """Print each rule's accuracy, and how much calibrated gains over the best other rule."""
    rows = [
        _row(pool, data, k, repeats, seed)
        for pool in track(POOLS, description="replaying", console=Console(stderr=True))
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    tables(
        Table(
            f"k = {k}, {repeats} random halves: accuracy % on the half that fitted nothing",
            ("pool", "n", *_RULES, "calibrated − best other", "spread over splits"),
            [
                [
                    row["pool"],
                    str(row["questions"]),
                    *(f"{100 * row['rules'][rule]:.1f}" for rule in _RULES),
                    signed(100 * row["gain"], 2),
                    f"{100 * row['spread']:.2f}",
                ]
                for row in rows
            ],
        )
    )
    plain = [row["gain"] for row in rows if row["context"] is None]
    say(
        f"Without a category: mean gain {signed(100 * float(np.mean(plain)), 2)} points over "
        f"{len(plain)} pools, worst {signed(100 * min(plain), 2)}."
    )
    say(
        "The best other rule is the best of the three by its mean over the splits; "
        "the spread is the difference's deviation."
    )


def _row(pool: Pool, data: Path, k: int, repeats: int, seed: int) -> dict[str, Any]:
    record, left_out = read_jsonl(data / pool.file, dataset=pool.dataset).of(pool.members, k)
    splits = holdout(len(record.questions), repeats=repeats, seed=seed)
    by_split = {
        rule: [
            _accuracy(record, rule, split, k, at, pool.context) for at, split in enumerate(splits)
        ]
        for rule in _RULES
    }
    means = {rule: float(np.mean(values)) for rule, values in by_split.items()}
    best = max((rule for rule in _RULES if rule != "calibrated"), key=means.__getitem__)
    differences = np.array(by_split["calibrated"]) - np.array(by_split[best])
    return {
        "pool": pool.name,
        "context": pool.context,
        "questions": len(record.questions),
        "left_out": left_out,
        "rules": means,
        "best_other": best,
        "gain": float(differences.mean()),
        "spread": float(differences.std(ddof=1)) if repeats > 1 else 0.0,
    }


def _accuracy(
    record: Record, rule: str, split: Split, k: int, seed: int, context: str | None
) -> float:
    """Score a rule on one random choice of k recorded draws, the same for every rule."""
    return replay(
        redrawn(record, k, np.random.default_rng(seed)), rule, splits=[split], context=context
    ).accuracy
