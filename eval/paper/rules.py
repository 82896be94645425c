"""`python -m eval rules`: every rule on the public banks, over random half splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.bank.record import Record
from dspy_mux.replay.decisions import RULE_NAMES
from dspy_mux.replay.replay import replay
from dspy_mux.replay.resample import redrawn
from dspy_mux.replay.splits import Split, holdout

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
    table = Table(
        title=f"k = {k}, {repeats} random halves: accuracy % on the half that fitted nothing"
    )
    for column in ("pool", "n", *_RULES, "calibrated − best other", "spread over splits"):
        table.add_column(column)
    for row in rows:
        figures = [f"{100 * row['rules'][rule]:.1f}" for rule in _RULES]
        table.add_row(
            row["pool"],
            str(row["questions"]),
            *figures,
            f"{100 * row['gain']:+.2f}",
            f"{100 * row['spread']:.2f}",
        )
    console = Console() if Console().is_terminal else Console(width=160)
    console.print(table)
    plain = [row["gain"] for row in rows if row["context"] is None]
    console.print(
        f"Without a category: mean gain {100 * np.mean(plain):+.2f} points over {len(plain)} pools"
        f", worst {100 * min(plain):+.2f}."
    )
    console.print(
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
