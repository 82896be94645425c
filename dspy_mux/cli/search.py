"""`dspy-mux search`: the subsets that complement each other best, from recorded draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import ConfigurationError
from ..layout import Cell, Table
from . import completion
from .counts import counted
from .options import (
    AsJson,
    AtTemperature,
    BankOptions,
    BankPath,
    Dataset,
    Draws,
    Members,
    Penalty,
    Program,
    Seed,
    Threshold,
    finite,
    parse_sizes,
)
from .output import percent, percent_range, print_json, say, tables
from .step import step

if TYPE_CHECKING:
    from ..bank.record import Record
    from ..optimize.search import Found, Subset

Ranking = Literal["objective", "accuracy"]


@dataclass(frozen=True)
class SearchOptions:
    """What `dspy-mux search` is asked for."""

    source: BankOptions
    sizes: list[int]
    k: int | None
    penalty: float
    top: int
    by: Ranking
    rule: str | None
    seed: int
    threshold: float | None
    time_limit: float | None
    as_json: bool


def search(  # noqa: PLR0913  Typer reads the options from the parameters
    bank: BankPath,
    sizes: Annotated[str, typer.Option(help="Sizes of the subsets: 3, 2-5, or 2,4.")] = "2-3",
    k: Draws = None,
    penalty: Penalty = 1.0,
    top: Annotated[int, typer.Option(help="Number of subsets to show.")] = 10,
    by: Annotated[
        Ranking,
        typer.Option(help="What ranks them: O(S), or consistency's accuracy."),
    ] = "objective",
    rule: Annotated[
        str | None,
        typer.Option(
            help="Also show this rule's accuracy (any but calibrated).",
            autocompletion=completion.words("pooled", "probability", "self_consistency"),
        ),
    ] = "consistency",
    members: Members = None,
    dataset: Dataset = None,
    program: Program = None,
    temperature: AtTemperature = None,
    seed: Seed = 0,
    threshold: Threshold = None,
    time_limit: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, help="Seconds, for pools too large to enumerate."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find the subsets with the best union accuracy − λ · contradiction, exactly."""
    _run(
        SearchOptions(
            BankOptions(bank, dataset, program, members, temperature),
            sizes=parse_sizes(sizes),
            k=k,
            penalty=penalty,
            top=top,
            by=by,
            rule=rule,
            seed=seed,
            threshold=threshold,
            time_limit=time_limit,
            as_json=as_json,
        )
    )


def _run(options: SearchOptions) -> None:
    from ..optimize.search import search as run

    record, left_out = options.source.record(options.k)
    _check_rule(options.rule, record)
    possible = [size for size in options.sizes if size <= len(record.members)]
    with step("searching"):
        found = run(
            record,
            possible or options.sizes,
            k=options.k,
            penalty=options.penalty,
            top=options.top,
            threshold=options.threshold,
            by=options.by,
            rule=options.rule,
            seed=options.seed,
            time_limit=options.time_limit,
        )
    if options.as_json:
        print_json(
            {
                "results": [subset.as_dict() for subset in found.results],
                "evaluated": found.evaluated,
                "exact": found.exact,
                "gap": found.gap,
                "seconds": found.seconds,
                "questions": len(record.questions),
                "left_out": left_out,
                "chosen_on_these_questions": True,
            }
        )
    else:
        usable = len(record.questions)
        _show(found, counted(usable, usable + left_out), record.members, options)


def _check_rule(rule: str | None, record: Record) -> None:
    from ..replay.decisions import check_rule

    if rule is None:
        return
    check_rule(rule, record.members)
    if rule == "calibrated":
        raise ConfigurationError(
            "search cannot score the calibrated rule, which needs fitting: replay the subset."
        )


def _show(found: Found, asked: str, members: Sequence[str], options: SearchOptions) -> None:
    columns = ["members", "objective % ± 95 %", "union %", "contradiction %", "floor – ceiling %"]
    if options.rule is not None:
        columns.append(f"{options.rule} %")
    shown = Table(
        f"{asked}, λ = {options.penalty:g}, {found.evaluated:,} subsets in {found.seconds:.2f} s",
        columns,
        [_row(subset)[: len(columns)] for subset in found.results],
    )
    tables(shown, members=members)
    say(
        "objective: union − λ · contradiction, ± half of its 95 % interval. union: some member is "
        "right. contradiction: some member is right while another is wrong in all its draws. "
        "floor – ceiling: the rule consistency scores at most the ceiling, and where no tie "
        "decides at least the floor."
    )
    if found.exact:
        say("Proven best.")
    else:
        say(f"Best found; another may be better by at most {100 * found.gap:.2f} points.")
    say(
        "All figures are in-sample: these questions chose the subsets. `replay` them on a "
        "held-out split."
    )


def _row(subset: Subset) -> list[Cell]:
    return [
        tuple(subset.members),
        f"{percent(subset.objective)} ± {196 * subset.stderr:.1f}",
        percent(subset.union_accuracy),
        percent(subset.contradiction),
        percent_range(subset.floor, subset.ceiling),
        "" if subset.accuracy is None else percent(subset.accuracy),
    ]
