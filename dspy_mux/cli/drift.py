"""`dspy-mux drift`: whether a pool in service still does what it did on recorded questions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from ..layout import Cell, Table
from ..text import signed
from . import completion
from .options import (
    AsJson,
    AtTemperature,
    BankOptions,
    BankPath,
    Dataset,
    Program,
    Seed,
    SplitField,
    Test,
)
from .output import percent, points, print_json, say, tables
from .step import step

if TYPE_CHECKING:
    from ..replay.drift import Comparison, Drift

_COLUMNS = (
    "",
    "figure",
    "bank %",
    "log %",
    "change, points (95 %)",
    "p, corrected",
    "seen from, points",
    "questions needed",
)


@dataclass(frozen=True)
class DriftOptions:
    """What `dspy-mux drift` is asked for."""

    source: BankOptions
    log: Path
    mux: Path | None
    split_field: str | None
    test: str
    since: datetime | None
    level: float
    change: float
    seed: int
    fail_on_drift: bool
    as_json: bool


def drift(  # noqa: PLR0913  Typer reads the options from the parameters
    bank: BankPath,
    log: Annotated[
        Path,
        typer.Argument(
            help="The file that VerdictLog writes in service.",
            autocompletion=completion.files(".jsonl"),
        ),
    ],
    mux: Annotated[
        Path | None,
        typer.Option(
            help="The saved mux in service; needed where its rule was fitted on labels. With it, "
            "the share of trusted answers is compared too.",
            autocompletion=completion.mux_files,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Compare verdicts from this date or time on, such as 2026-11-27."),
    ] = None,
    dataset: Dataset = None,
    program: Program = None,
    temperature: AtTemperature = None,
    split_field: SplitField = None,
    test: Test = "test",
    level: Annotated[
        float, typer.Option(help="How often any figure may drift where nothing has changed.")
    ] = 0.05,
    change: Annotated[
        float, typer.Option(help="Change, as a share, to say the number of questions for.")
    ] = 0.1,
    seed: Seed = 0,
    fail_on_drift: Annotated[bool, typer.Option(help="Exit with 1 where a figure drifts.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether a pool in service still does what it did on recorded questions; no label is read.

    Abstentions, agreement and confidences of logged verdicts are compared with those of the bank.
    """
    _run(
        DriftOptions(
            BankOptions(bank, dataset, program, None, temperature),
            log=log,
            mux=mux,
            split_field=split_field,
            test=test,
            since=_time(since),
            level=level,
            change=change,
            seed=seed,
            fail_on_drift=fail_on_drift,
            as_json=as_json,
        )
    )


def _run(options: DriftOptions) -> None:
    from ..mux.verdict_log import read_verdicts
    from ..replay.drift import drift as run
    from ..replay.splits import questions_with

    lines = read_verdicts(options.log, since=options.since)
    record, _ = options.source.whole(None)
    if options.split_field is not None:
        record = record.rows(questions_with(record, options.split_field, options.test))
    with step("comparing"):
        found = run(
            record,
            lines,
            mux=options.mux,
            level=options.level,
            change=options.change,
            seed=options.seed,
        )
    if options.as_json:
        print_json(found.as_dict())
    else:
        _show(found)
    if found.drifted and options.fail_on_drift:
        raise SystemExit(1)


def _show(found: Drift) -> None:
    from ..voting.ballot import draws_text

    pool = draws_text(zip(found.members, found.k, strict=True))
    lost = f" ({found.left_out} left out for lack of draws)" if found.left_out else ""
    shown = Table(
        f"{found.log_questions} questions in the log, {found.bank_questions} in the bank{lost}; "
        f"{found.rule}; {pool}",
        _COLUMNS,
        [_row(each) for each in found.comparisons],
        words=2,
        key=2,
    )
    tables(shown, members=found.members)
    drifted = [each for each in found.comparisons if each.drifted]
    for each in drifted:
        say(f"Drift: {_sentence(each)}")
    if not drifted:
        say("No figure drifts.")
    say(
        f"Where nothing has changed, any figure drifts in at most {percent(found.level)} % of "
        "cases, if the questions of bank and log are alike. 'Seen from': the smallest change for "
        "the worse that is seen in about 80 % of cases with so many questions in the log; "
        f"'questions needed': in the log, to see one of {percent(found.change)} points."
    )
    first = found.comparisons[0]
    if first.smallest_change is not None:
        moved = percent(first.bank + first.smallest_change)
        say(
            f"With {first.log_questions} questions, for example, abstentions of the pool are seen "
            f"to rise from {percent(first.bank)} to {moved} %."
        )


def _row(each: Comparison) -> list[Cell]:
    smallest, needed = each.smallest_change, each.questions_needed
    return [
        "the pool" if each.member is None else (each.member,),
        each.figure,
        percent(each.bank),
        percent(each.log),
        points(each.change, each.low, each.high),
        f"{_p(each.p_corrected)}{' drift' if each.drifted else ''}",
        "–" if smallest is None else signed(100 * smallest),
        "–" if needed is None else str(needed),
    ]


def _sentence(each: Comparison) -> str:
    whose = "the pool" if each.member is None else each.member
    p = _p(each.p_corrected)
    p = f"p < {p[1:]}" if p.startswith("<") else f"p = {p}"
    return (
        f"the {each.figure} of {whose} went from {percent(each.bank)} to {percent(each.log)} % "
        f"({p}, corrected)."
    )


def _p(value: float) -> str:
    """Return a p-value with four decimals; it is never 0."""
    return f"{value:.4f}" if value >= 0.00005 else "<0.0001"


def _time(text: str | None) -> datetime | None:
    """Parse a date or time; without a zone it is local."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone()
    except ValueError as error:
        raise ConfigurationError(
            f"--since must be a date or time such as 2026-11-27T08:00, not {text!r}."
        ) from error
