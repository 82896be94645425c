"""`dspy-mux scale`: accuracy and cost against the number of members and draws."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..layout import Cell, Table
from .counts import counted, say_untested
from .options import (
    AsJson,
    AtTemperature,
    BankOptions,
    BankPath,
    Dataset,
    MaxDraws,
    Members,
    Penalty,
    Program,
    Seed,
    SplitField,
    SplitOptions,
    Test,
    Threshold,
    Train,
)
from .output import (
    check_page,
    percent,
    percent_range,
    print_json,
    say,
    tables,
    write_page,
)
from .step import step

if TYPE_CHECKING:
    from ..bank.record import Record
    from ..optimize.scaling import Point, Scaling

_COLUMNS = (
    "members",
    "rule",
    "accuracy % (95 %)",
    "union %",
    "contradiction %",
    "calls",
)


@dataclass(frozen=True)
class ScaleOptions:
    """What `dspy-mux scale` is asked for."""

    source: BankOptions
    split: SplitOptions
    k: int | None
    k_max: int | None
    max_members: int
    penalty: float
    repeats: int
    threshold: float | None
    html: Path | None
    as_json: bool


def scale(  # noqa: PLR0913  Typer reads the options from the parameters
    bank: BankPath,
    k: Annotated[
        int | None,
        typer.Option(
            "--k", min=1, help="Draws per member while members are added. Default: 3, or all."
        ),
    ] = None,
    k_max: MaxDraws = None,
    max_members: Annotated[int, typer.Option(min=1, help="Most members.")] = 5,
    penalty: Penalty = 1.0,
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    temperature: AtTemperature = None,
    split_field: SplitField = None,
    train: Train = "train",
    test: Test = "test",
    repeats: Annotated[
        int, typer.Option(help="Random halves that the figures are the mean of.")
    ] = 10,
    seed: Seed = 0,
    threshold: Threshold = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write the figures to this file (needs plotly).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show accuracy and cost against the number of members and the draws per member."""
    _run(
        ScaleOptions(
            BankOptions(bank, dataset, program, members, temperature),
            SplitOptions(split_field, train, test, seed),
            k=k,
            k_max=k_max,
            max_members=max_members,
            penalty=penalty,
            repeats=repeats,
            threshold=threshold,
            html=html,
            as_json=as_json,
        )
    )


def _run(options: ScaleOptions) -> None:
    from ..optimize.scaling import scale as run

    check_page(options.html)
    record, left_out = options.source.record(None, at_most=options.k_max)
    with step("measuring"):
        scaling = run(
            record,
            k=options.k,
            k_max=options.k_max,
            max_members=options.max_members,
            penalty=options.penalty,
            splits=options.split.recorded(record),
            repeats=options.repeats,
            threshold=options.threshold,
            seed=options.split.seed,
        )
    if options.html is not None:
        from ..optimize.figure_page import page
        from ..optimize.figures import scaling_figures

        sections = [(record.source, scaling_figures(scaling))]
        write_page(options.html, page("dspy-mux: scaling", sections))
        say(f"The figures are in {options.html}.", file=sys.stderr)
    if options.as_json:
        print_json({**scaling.as_dict(), "left_out": left_out})
    else:
        _show(scaling, record, left_out)
        part = options.split.test if options.split.field else None
        tested = scaling.by_members[0].questions
        say_untested(tested, len(record.questions), part, repeats=False)


def _show(scaling: Scaling, record: Record, left_out: int) -> None:
    every = len(record.questions) + left_out
    by_members, by_draws = scaling.by_members, scaling.by_draws
    shown = [
        Table(
            f"Members, at k={scaling.k}, {counted(by_members[0].questions, every)}",
            _COLUMNS,
            [_row(point) for point in by_members],
            words=2,
        ),
        Table(
            f"Draws per member, {counted(by_draws[0].questions, every)}",
            (*_COLUMNS[:2], "k", *_COLUMNS[2:]),
            [[*_row(point)[:2], str(point.k), *_row(point)[2:]] for point in by_draws],
            words=2,
        ),
    ]
    tables(*shown, members=record.members)
    say(f"Sweet spot: {scaling.reason}")


def _row(point: Point) -> list[Cell]:
    return [
        tuple(point.members),
        point.rule,
        f"{percent(point.accuracy)} ({percent_range(point.low, point.high)})",
        percent(point.union_accuracy),
        percent(point.contradiction),
        f"{point.calls_per_question:.1f}",
    ]
