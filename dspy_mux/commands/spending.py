"""`dspy-mux budget`: what the budgeted rule saves, and what it costs, from recorded draws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import (
    AsJson,
    BankPath,
    Context,
    Dataset,
    Draws,
    Members,
    Program,
    Seed,
    SplitField,
    Test,
    Threshold,
    Train,
    numbers_of,
    record_of,
)
from .printing import check_page, print_json, table, write_page


def budget(
    bank: BankPath,
    bounds: Annotated[str | None, typer.Option(help="Bounds on the chance that a draw to come changes the answer.")] = None,
    k: Draws = None,
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    seed: Seed = 0,
    threshold: Threshold = 1.0,
    context: Context = None,
    html: Annotated[Path | None, typer.Option(help="Also write the curve to this file (needs plotly).")] = None,
    as_json: AsJson = False,
) -> None:
    """Accuracy against calls of the calibrated rule when it stops early, without a call."""
    from ..spending import BOUNDS, spending
    from ..splits import by_field

    check_page(html)
    wanted = BOUNDS if bounds is None else numbers_of(bounds, "--bounds")
    record, left_out = record_of(bank, dataset, program, members, k)
    splits = None if split_field is None else by_field(record, split_field, train, test)
    points = spending(record, k=k, bounds=wanted, splits=splits, context=context, threshold=threshold, seed=seed)
    if html is not None:
        from ..figures import page, spending_figure

        write_page(html, page("dspy-mux: budget", [(record.source, [spending_figure(points)])]))
    if as_json:
        print_json({"points": [point.as_dict() for point in points], "left_out": left_out})
        return
    table(
        f"n = {points[0].questions} questions, {len(record.members)} members",
        ["bound", "accuracy %", "95 % interval", "loss to all draws, points", "calls", "saved %"],
        [
            [
                f"{p.bound:g}",
                f"{100 * p.accuracy:.1f}",
                f"{100 * p.low:.1f} – {100 * p.high:.1f}",
                f"{100 * p.loss:+.2f} ({100 * p.loss_low:+.2f} to {100 * p.loss_high:+.2f})",
                f"{p.calls_per_question:.2f}",
                f"{100 * p.saved:.1f}",
            ]
            for p in points
        ],
    )
