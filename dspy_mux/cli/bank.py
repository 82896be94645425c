"""`dspy-mux collect`, and `dspy-mux bank info | import | export`: draws into banks and out of them."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import BankError, ConfigurationError
from .options import FILES, AsJson, BankPath, Dataset, Timeout, finite
from .output import cell, print_json, say, table

bank_app = typer.Typer(help="What a bank holds; draws in and out of it.", no_args_is_help=True)


def collect(
    task: Annotated[
        str,
        typer.Argument(
            help="A module with program(), examples(split) and metric, such as programs.everyday."
        ),
    ],
    pool: Annotated[Path, typer.Option(help="Pool file (TOML).")],
    bank: Annotated[str, typer.Option(help="Where draws are recorded.")],
    k: Annotated[
        int | None, typer.Option(min=1, help="Draws per member; the pool file's by default.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Which of the task's splits; all by default.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many examples.")] = None,
    num_threads: Annotated[int, typer.Option(min=1, help="Draws in flight at once.")] = 16,
    timeout: Timeout = None,
    max_calls: Annotated[
        int | None, typer.Option(min=1, help="Stop before more LM calls than this.")
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, help="Stop before more US dollars than this."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option(help="Draw again what failed with an error.")
    ] = False,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the models' licences.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw every member k times on a task's examples; goes on where an earlier collection stopped."""
    from dataclasses import asdict

    import dspy
    from rich.console import Console

    from ..bank.collect import collect as run
    from ..bank.sample_bank import SampleBank
    from ..mux.options import SharedOptions
    from ..mux.pool_file import PoolFile

    if dspy.cache.enable_disk_cache:
        dspy.cache.enable_memory_cache = (
            False  # a draw is made once: what is kept in memory too would only grow
        )
    module = _task(task)
    asked: SharedOptions = {} if timeout is None else {"timeout": timeout}
    mux = PoolFile.load(pool).mux(module.program(), accept_license=accept_license, **asked)
    examples = module.examples(split) if limit is None else module.examples(split, limit=limit)
    fields = {} if split is None else {"split": split}
    console, recorded = Console(stderr=True), SampleBank(bank)
    done = run(
        mux,
        examples,
        module.metric,
        recorded,
        dataset=task.rpartition(".")[2],
        k=k,
        fields=fields,
        num_threads=num_threads,
        max_calls=max_calls,
        max_cost=max_cost,
        retry_failed=retry_failed,
        console=console,
    )
    if as_json:
        print_json(asdict(done))
    else:
        cost = "" if done.cost is None else f", ${done.cost:.4f}"
        rescored = f", {done.rescored} of them scored anew" if done.rescored else ""
        stopped = (
            ""
            if done.stopped is None
            else f"; stopped at --{done.stopped.replace('_', '-')}, {done.missing} draws missing"
        )
        say(
            f"{done.drawn} draws recorded in {recorded.name} ({done.already} were there{rescored}), {done.abstained} abstained, "
            f"{done.calls} calls{cost}, {done.seconds:.0f} s{stopped}."
        )
        if done.errors is not None:
            say(done.errors)


@bank_app.command("info")
def bank_info(bank: BankPath, dataset: Dataset = None, as_json: AsJson = False) -> None:
    """Datasets, members and programs, with their draws and what they took."""
    from ..bank.record import read_jsonl
    from ..bank.sample_bank import SampleBank
    from ..bank.storage.schema import storable

    if bank.endswith(FILES):
        title, rows = bank, read_jsonl(bank, dataset=dataset).info()
    else:
        opened = SampleBank(bank)
        title, rows = opened.name, opened.info()
        if dataset is not None:
            if storable(dataset) not in (known := opened.datasets()):
                has = f"it has {', '.join(known)}" if known else "it holds no draws yet"
                raise BankError(f"The bank {title} has no dataset {dataset!r}; {has}.")
            rows = [row for row in rows if row["dataset"] == storable(dataset)]
    if as_json:
        print_json({"draws": rows})
        return
    names = [
        "dataset",
        "member",
        "program",
        "model",
        "questions",
        "draws",
        "abstentions",
        "errors",
        "calls",
        "tokens",
        "cost",
    ]
    table(title, names, [[cell(name, row.get(name)) for name in names] for row in rows])


@bank_app.command("import")
def bank_import(
    bank: Annotated[str, typer.Argument(help="The bank to add to.")],
    files: Annotated[
        list[str],
        typer.Argument(
            help=".jsonl, .jsonl.gz, .parquet, or result files of the reference implementation."
        ),
    ],
    dataset: Annotated[str | None, typer.Option(help="The dataset of rows that name none.")] = None,
) -> None:
    """Add draws from files; what is there already stays as it is. Rows that do not number their draws are further ones."""
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
    """Write a bank's draws, one a row."""
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
    """Copy what can still be read of a damaged bank into a new one."""
    from ..bank.storage.salvage import salvage

    say(f"{into}: {salvage(bank, into)} draws saved of {bank}; collect draws the rest again.")


def _task(name: str) -> Any:
    """The user's own module, named on the command line: run from the folder that holds it."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(
            f"A task is named by its module, such as programs.everyday, which {name!r} is not."
        )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"There is no task module {name!r} to import from here ({error})."
        ) from error
    lacking = [part for part in ("program", "examples", "metric") if not hasattr(module, part)]
    if lacking:
        raise ConfigurationError(f"The module {name!r} is no task: it lacks {', '.join(lacking)}.")
    return module
