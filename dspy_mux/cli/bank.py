"""`dspy-mux bank info | import | export | salvage`: look into banks, move draws in and out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from ..answers.reply import CUT_OFF
from ..errors import ConfigurationError
from ..sampling.causes import advice
from .options import FILES, AsJson, BankPath, Dataset
from .output import print_json, say, table

bank_app = typer.Typer(help="What a bank holds; draws in and out of it.", no_args_is_help=True)

_COLUMNS = (
    "dataset",
    "member",
    "program",
    "model",
    "questions",
    "draws",
    "abstentions",
    "errors",
    "cut_off",
    "calls",
    "tokens",
    "cost",
    "temperature",
    "evidence",
)


@bank_app.command("info")
def bank_info(bank: BankPath, dataset: Dataset = None, as_json: AsJson = False) -> None:
    """List datasets, members and programs, with their draws, usage and evidence."""
    from ..bank.jsonl import jsonl_info
    from ..bank.sample_bank import SampleBank
    from ..bank.storage.schema import storable

    rows: Sequence[Mapping[str, object]]
    if bank.endswith(FILES):
        title, rows = bank, jsonl_info(bank, dataset=dataset)
    else:
        opened = SampleBank(bank)
        title, rows = opened.name, opened.info()
        if dataset is not None:
            if storable(dataset) not in (known := opened.datasets()):
                has = f"it has {', '.join(known)}" if known else "it holds no draws yet"
                raise ConfigurationError(f"The bank {title} has no dataset {dataset!r}; {has}.")
            rows = [row for row in rows if row["dataset"] == storable(dataset)]
    if as_json:
        print_json({"draws": rows})
    else:
        heads = [name.replace("_", " ") for name in _COLUMNS]
        table(title, heads, [[_cell(name, row.get(name)) for name in _COLUMNS] for row in rows])
        cut_off: Counter[object] = Counter()
        for row in rows:
            cut_off[row["member"]] += int(str(row.get("cut_off", 0)))
        for member, count in cut_off.items():
            for sentence in advice({CUT_OFF: count}):
                say(f"{member}: {sentence}")


def _cell(column: str, value: object) -> str:
    """Return a value of the overview as text."""
    if value is None:
        return ""
    if column == "cost":
        return f"${value:.4f}"
    if column == "temperature":
        return f"{value:g}"
    return str(value)[:12] if column == "program" else str(value)


@bank_app.command("import")
def bank_import(
    bank: Annotated[str, typer.Argument(help="The bank to add to.")],
    files: Annotated[
        list[str],
        typer.Argument(
            help=".jsonl, .jsonl.gz, .parquet, or result files of the reference implementation."
        ),
    ],
    dataset: Annotated[
        str | None, typer.Option(help="Dataset of rows that do not name one.")
    ] = None,
) -> None:
    """Add draws from files; draws that are there already stay. Unnumbered rows are new draws."""
    from ..bank.import_export import import_file
    from ..bank.sample_bank import SampleBank

    for file in files:
        done = import_file(SampleBank(bank), file, dataset=dataset)
        say(f"{file}: {done.added} draws added, {done.already} there already")


@bank_app.command("export")
def bank_export(
    bank: BankPath,
    file: Annotated[str, typer.Argument(help="A new .jsonl or .parquet file.")],
    dataset: Dataset = None,
) -> None:
    """Write a bank's draws to a file, one per row."""
    from ..bank.import_export import export_file
    from ..bank.sample_bank import SampleBank

    if bank.endswith(FILES):
        raise ConfigurationError(
            f"{bank!r} is a file of rows already: import it into a bank first."
        )
    say(f"{file}: {export_file(SampleBank(bank), file, dataset=dataset)} draws")


@bank_app.command("salvage")
def bank_salvage(
    bank: Annotated[str, typer.Argument(help="A damaged bank.")],
    into: Annotated[str, typer.Argument(metavar="NEW", help="A new file.")],
) -> None:
    """Copy the readable draws of a damaged bank into a new one."""
    from ..bank.storage.salvage import salvage

    saved = salvage(bank, into)
    say(f"{into}: {saved} draws saved of {bank}; run `dspy-mux collect` to redraw the rest.")
