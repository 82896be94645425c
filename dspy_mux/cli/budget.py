"""`dspy-mux budget`: what early stopping saves and costs, from recorded draws."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .counts import counted, say_untested
from .options import (
    AsJson,
    AtTemperature,
    BankOptions,
    BankPath,
    Context,
    Dataset,
    Draws,
    Members,
    Program,
    Seed,
    SplitField,
    SplitOptions,
    Test,
    Threshold,
    Train,
    parse_numbers,
    say_context,
)
from .output import (
    check_page,
    percent,
    percent_range,
    points,
    print_json,
    table,
    write_page,
)
from .step import step

if TYPE_CHECKING:
    from ..replay.stopping_curve import StoppingPoint

_COLUMNS = (
    "bound",
    "accuracy %",
    "loss to all draws, points (95 %)",
    "calls",
    "saved %",
    "stopped early %",
    "of these changed % (95 %)",
)


@dataclass(frozen=True)
class BudgetOptions:
    """What `dspy-mux budget` is asked for; `bounds` None for the default ones."""

    source: BankOptions
    split: SplitOptions
    bounds: tuple[float, ...] | None
    k: int | None
    threshold: float | None
    context: str | None
    html: Path | None
    as_json: bool


def budget(  # noqa: PLR0913  Typer reads the options from the parameters
    bank: BankPath,
    bounds: Annotated[
        str | None,
        typer.Option(
            help="Bounds on the share of early answers that differ from those of all draws."
        ),
    ] = None,
    k: Draws = None,
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    temperature: AtTemperature = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    seed: Seed = 0,
    threshold: Threshold = None,
    context: Context = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the curve to this file (needs plotly).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the calibrated rule's accuracy against calls when it stops early, without a call.

    A bound is on answers: of those of questions that stop early, the share that all draws would
    have answered otherwise, on average. All figures come from questions that fitted nothing.
    """
    _run(
        BudgetOptions(
            BankOptions(bank, dataset, program, members, temperature),
            SplitOptions(split_field, train, test, seed),
            bounds=None if bounds is None else parse_numbers(bounds, "--bounds"),
            k=k,
            threshold=threshold,
            context=context,
            html=html,
            as_json=as_json,
        )
    )


def _run(options: BudgetOptions) -> None:
    from ..replay.stopping_curve import BOUNDS, stopping_curve

    check_page(options.html)
    record, left_out = options.source.record(options.k)
    say_context(options.context, record)
    with step("measuring"):
        curve = stopping_curve(
            record,
            k=options.k,
            bounds=BOUNDS if options.bounds is None else options.bounds,
            splits=options.split.recorded(record),
            context=options.context,
            threshold=options.threshold,
            seed=options.split.seed,
        )
    if options.html is not None:
        from ..optimize.figure_page import page
        from ..optimize.figures import stopping_figure

        sections = [(record.source, [stopping_figure(curve)])]
        write_page(options.html, page("dspy-mux: budget", sections))
    if options.as_json:
        print_json({"points": [point.as_dict() for point in curve], "left_out": left_out})
        return
    tested, usable = curve[0].questions, len(record.questions)
    table(
        f"{counted(tested, usable + left_out)}, {len(record.members)} members",
        _COLUMNS,
        [_row(point) for point in curve],
        words=0,
    )
    part = options.split.test if options.split.field else None
    say_untested(tested, usable, part, repeats=False)


def _row(point: StoppingPoint) -> list[str]:
    return [
        f"{point.bound:g}",
        percent(point.accuracy),
        points(point.loss, point.loss_low, point.loss_high),
        f"{point.calls_per_question:.2f}",
        percent(point.saved),
        percent(point.stopped),
        _changed(point),
    ]


def _changed(point: StoppingPoint) -> str:
    low, high = point.changed_low, point.changed_high
    if point.changed is None or low is None or high is None:
        return ""
    return f"{percent(point.changed)} ({percent_range(low, high)})"
