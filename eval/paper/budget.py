"""`python -m eval budget`: the calls that schedules save on public banks of real recorded outputs, and what a bound costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from dspy_mux.bank.record import read_jsonl
from dspy_mux.replay.replay import replay
from dspy_mux.replay.splits import holdout
from dspy_mux.replay.stopping_curve import stopping_curve

from ..tables.text import Shown, show
from .pools import POOLS, Pool


def run(
    *,
    data: Path,
    bounds: Sequence[float],
    k: int,
    repeats: int,
    seed: int,
    as_json: bool,
    markdown: bool,
) -> None:
    """Print, for each pool, what the lossless schedule saves, and what each bound saves and loses."""
    rows = [
        _row(pool, data, bounds, k, repeats, seed)
        for pool in track(POOLS, description="replaying", console=Console(stderr=True))
    ]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    columns = (
        "pool",
        "n",
        "frugal, consistency",
        "frugal, pooled",
        *(f"bound {bound:g}" for bound in bounds),
    )
    cells = [
        [
            row["pool"],
            str(row["questions"]),
            *(f"{100 * row['frugal'][rule]:.0f}" for rule in ("consistency", "pooled")),
            *(
                f"{100 * point['saved']:.0f} ({100 * -point['loss']:+.1f})"
                for point in row["bounds"]
            ),
        ]
        for row in rows
    ]
    title = f"Calls saved, %, at k = {k}; for a bound also the change of accuracy in points, mean of {repeats} random halves"
    show([Shown(title, columns, cells)], [], as_markdown=markdown)


def _row(
    pool: Pool, data: Path, bounds: Sequence[float], k: int, repeats: int, seed: int
) -> dict[str, Any]:
    record, _ = read_jsonl(data / pool.file, dataset=pool.dataset).of(pool.members, k)
    splits = holdout(len(record.questions), repeats=repeats, seed=seed)
    saved = {}
    for rule in ("consistency", "pooled"):
        result = replay(record, rule, k=k, splits=splits, seed=seed)
        saved[rule] = 1 - result.frugal_calls_per_question / result.calls_per_question
    points = stopping_curve(
        record, k=k, bounds=bounds, splits=splits, context=pool.context, seed=seed
    )
    wanted = [point.as_dict() for point in points if point.bound in bounds]
    return {
        "pool": pool.name,
        "questions": len(record.questions),
        "frugal": saved,
        "bounds": wanted,
    }
