"""`python -m eval budget`: the calls that schedules save on the public banks, and their cost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from dspy_mux.bank.jsonl import read_jsonl
from dspy_mux.replay.replay import replay
from dspy_mux.replay.splits import holdout
from dspy_mux.replay.stopping_curve import stopping_curve

from ..tables.text import Shown, show, signed
from .pools import POOLS, Pool


@dataclass(frozen=True)
class BudgetTable:
    """What `python -m eval budget` is asked for.

    Attributes:
        data: the folder of the public banks.
        bounds: on the share of early answers that differ from those of all draws.
        repeats: number of random half splits.
    """

    data: Path
    bounds: Sequence[float]
    k: int
    repeats: int
    seed: int
    as_json: bool
    as_markdown: bool


def run(options: BudgetTable) -> None:
    """Print the calls that frugal schedules save, and what each bound saves and costs."""
    rows = [
        _row(pool, options)
        for pool in track(POOLS, description="replaying", console=Console(stderr=True))
    ]
    if options.as_json:
        print(json.dumps(rows, indent=2))
        return
    columns = (
        "pool",
        "n",
        "frugal, consistency",
        "frugal, pooled",
        *(f"bound {bound:g}" for bound in options.bounds),
    )
    cells = [
        [
            row["pool"],
            str(row["questions"]),
            *(f"{100 * row['frugal'][rule]:.0f}" for rule in ("consistency", "pooled")),
            *(f"{100 * point['saved']:.0f} ({signed(-point['loss'])})" for point in row["bounds"]),
        ]
        for row in rows
    ]
    title = (
        f"Calls saved, %, at k = {options.k}; for a bound also the change of accuracy in points, "
        f"mean of {options.repeats} random halves"
    )
    show([Shown(title, columns, cells)], [], as_markdown=options.as_markdown)


def _row(pool: Pool, options: BudgetTable) -> dict[str, Any]:
    k, seed = options.k, options.seed
    record, _ = read_jsonl(options.data / pool.file, dataset=pool.dataset).of(pool.members, k)
    splits = holdout(len(record.questions), repeats=options.repeats, seed=seed)
    saved = {}
    for rule in ("consistency", "pooled"):
        result = replay(record, rule, k=k, splits=splits, seed=seed)
        saved[rule] = 1 - result.frugal_calls_per_question / result.calls_per_question
    points = stopping_curve(
        record, k=k, bounds=options.bounds, splits=splits, context=pool.context, seed=seed
    )
    wanted = [point.as_dict() for point in points if point.bound in options.bounds]
    return {
        "pool": pool.name,
        "questions": len(record.questions),
        "frugal": saved,
        "bounds": wanted,
    }
