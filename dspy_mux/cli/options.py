"""Options that several verbs share, and what they mean: a record, splits, sizes."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from .output import say

if TYPE_CHECKING:
    from ..bank.record import Record
    from ..replay.splits import Split


def finite(value: float | None) -> float | None:
    """An option that must be a number, where Python also takes nan and inf."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no number to compare with")
    return value


#: Endings of files that are read as banks.
FILES = (".jsonl", ".jsonl.gz")
#: No pool has subsets of more members; sizes up to any number may be asked for.
_LARGEST = 10_000

BankPath = Annotated[
    str,
    typer.Argument(help="A bank: an SQLite file, a database URL, or a .jsonl or .jsonl.gz file."),
]
Members = Annotated[
    str | None, typer.Option(help="Members, by comma, in pool order; all by default.")
]
Draws = Annotated[
    int | None, typer.Option("--k", help="Draws per member; all recorded by default.")
]
Dataset = Annotated[str | None, typer.Option(help="Which dataset of several in the bank.")]
Program = Annotated[
    str | None,
    typer.Option(help="Recorded programs: starts of their fingerprints, by comma, or 'latest'."),
]
SplitField = Annotated[
    str | None, typer.Option(help="The field of the questions that holds their split.")
]
Train = Annotated[
    str, typer.Option("--train", help="Its value for the questions that measure and fit.")
]
Test = Annotated[str, typer.Option("--test", help="Its value for the questions that are reported.")]
Holdout = Annotated[
    float, typer.Option(help="Without a recorded split: the share of questions reported.")
]
Repeats = Annotated[int, typer.Option(help="How many random splits.")]
Seed = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Of the splits and the choice of draws.")
]
Threshold = Annotated[
    float, typer.Option(callback=finite, help="The score from which an answer counts as correct.")
]
Context = Annotated[
    str | None,
    typer.Option(help="A field of the questions by which the calibrated rule may weigh."),
]
Timeout = Annotated[
    float | None,
    typer.Option(help="Seconds one draw may take before it abstains; the file's by default."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")
]


def record_of(
    bank: str, dataset: str | None, program: str | None, members: str | None, k: int | None
) -> tuple[Record, int]:
    """The recorded draws that the options choose, and how many questions were left out."""
    from ..bank.record import read_jsonl
    from ..bank.sample_bank import SampleBank

    opened = None if bank.endswith(FILES) else SampleBank(bank)
    record = (
        read_jsonl(bank, dataset=dataset)
        if opened is None
        else opened.record(dataset=dataset, program=program)
    )
    chosen, left_out = record.of(
        None if members is None else [name.strip() for name in members.split(",") if name.strip()],
        k,
    )
    if opened is not None:
        rows = [
            row
            for row in opened.info()
            if dataset in (None, row["dataset"]) and row["member"] in chosen.members
        ]
        if failed := sum(row["errors"] for row in rows):
            told = f"dspy-mux: errors cost {failed} of {sum(row['draws'] for row in rows)} draws, which count as abstentions here"
            say(f"{told}: `dspy-mux collect … --retry-failed` makes them again.", file=sys.stderr)
    return chosen, left_out


def splits_of(
    record: Record,
    field: str | None,
    train: str,
    test: str,
    fraction: float,
    repeats: int,
    seed: int,
) -> Sequence[Split]:
    """The recorded split, or random ones."""
    from ..replay.splits import by_field, holdout

    if field is not None:
        return by_field(record, field, train, test)
    return holdout(len(record.questions), fraction=fraction, repeats=repeats, seed=seed)


def numbers_of(text: str, option: str) -> tuple[float, ...]:
    """Numbers by comma."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"{option} must be numbers like 0.05,0.1, not {text!r}."
        ) from error


def sizes_of(text: str) -> list[int]:
    """Sizes told as 3, 2-5 or 2,4."""
    try:
        sizes: set[int] = set()
        for part in text.split(","):
            first, _, last = part.partition("-")
            sizes.update(range(int(first), min(int(last or first), _LARGEST) + 1))
    except ValueError as error:
        raise ConfigurationError(f"--sizes must be like 3, 2-5 or 2,4, not {text!r}.") from error
    return sorted(sizes)
