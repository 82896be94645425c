"""`python -m eval compare` from its options: load tasks and members, compare, print the table."""

from __future__ import annotations

import dataclasses
import logging
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dspy_mux import ConfigurationError
from dspy_mux.cli.options import parse_names
from dspy_mux.cli.output import json_text, line_width, print_json, say
from dspy_mux.redact import masked_address
from dspy_mux.text import visible
from programs.tasks import Task, task

from ..runs.folder import Run
from ..tables.comparison import Comparison
from ..tables.text import show
from .methods import Options
from .pools import PoolOptions
from .run import compare


@dataclass(frozen=True)
class Command:
    """What `python -m eval compare` is asked for.

    Attributes:
        tasks: their names; files: their questions, as `NAME=PATH`, or a path for a single task.
        k, temperature: in place of the pool's; None for those.
        options: all else that shapes the comparison.
        out: the run folder; None for one named after the tasks.
        bank: where draws are kept; None for the run's own bank.
    """

    tasks: Sequence[str]
    files: Sequence[str]
    pool: PoolOptions
    k: int | None
    temperature: float | None
    options: Options
    out: Path | None
    bank: str | None
    as_json: bool


def run(command: Command) -> None:
    """Compare, write the table beside the rows, and print it."""
    pool = command.pool.load()
    tasks = load_tasks(command.tasks, command.files)
    folder = command.out or Path("runs") / "-".join(each.name.replace(":", "-") for each in tasks)
    logging.getLogger("dspy").setLevel(logging.ERROR)  # each row holds why its draws failed
    finished = compare(
        tasks,
        pool.for_task,
        dataclasses.replace(
            command.options,
            k=pool.k if command.k is None else command.k,
            temperature=pool.temperature if command.temperature is None else command.temperature,
            timeout=pool.timeout,
        ),
        out=folder,
        bank=command.bank,
        # A bank's address may have a password.
        command=masked_address(shlex.join(["python", "-m", "eval", *sys.argv[1:]])),
        console=Console(stderr=True),
        large_of=pool.large_for,
    )
    table = write_table(finished)
    if command.as_json:
        print_json({"run": str(folder), **table.as_dict()})
    else:
        _show(table, folder)


def _show(table: Comparison, folder: Path) -> None:
    width = line_width()
    show(table.shown(width), table.captions(width), as_markdown=False)
    for note in table.notes:
        say(f"- {note}")
    say(f"Rows, draws and the table (Markdown, CSV, JSON) are in {folder}; to look at them:")
    # A command stays one line, to be copied.
    print(visible(f"  python -m eval report {shlex.quote(str(folder))} --out report.html"))


def write_table(run: Run) -> Comparison:
    """Write the run's table into its folder, as table.md, table.csv and table.json.

    Raises:
        StorageError: the folder cannot be written.
    """
    table = Comparison.of(run)
    command = " ".join(visible(str(run.manifest["command"])).split())
    run.write("table.md", f"    {command}\n\n{table.markdown()}")
    run.write("table.csv", table.csv())
    run.write("table.json", json_text(table.as_dict()) + "\n")
    return table


def load_tasks(names: Sequence[str], files: Sequence[str]) -> list[Task]:
    """Return tasks by name, each with its file: `NAME=PATH`, or a path for a single task.

    Raises:
        ConfigurationError: an unknown task, or a file for none of the tasks.
    """
    paths: dict[str, Path] = {}
    for given in files:
        name, equals, path = given.partition("=")
        if equals and name in names:
            paths[name] = Path(path)
        elif len(names) == 1:
            paths[names[0]] = Path(given)
        else:
            raise ConfigurationError(
                f"--file {given} does not say whose it is: write NAME=PATH, "
                f"NAME out of {', '.join(names)}."
            )
    return [task(name, file=paths.get(name)) for name in names]


def names(text: str | None) -> tuple[str, ...] | None:
    """Parse comma-separated names; None for None."""
    return None if text is None else tuple(parse_names(text))
