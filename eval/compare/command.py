"""`python -m eval compare` from its options: tasks and members by name, the run, and its table as text and files."""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from dspy_mux import ConfigurationError
from dspy_mux.cli.output import json_text, print_json
from dspy_mux.redact import masked_address
from dspy_mux.text import visible
from programs.tasks import Task, task

from ..runs.folder import Run
from ..tables.comparison import Comparison
from . import run as compare
from .methods import Options
from .pools import Members


def run(
    tasks: Sequence[Task],
    members: Members,
    options: Options,
    *,
    out: Path | None,
    bank: str | None,
    as_json: bool,
) -> None:
    """Compare, write the table beside the rows, and print it."""
    console = Console(stderr=True)
    folder = out or Path("runs") / "-".join(each.name.replace(":", "-") for each in tasks)
    logging.getLogger("dspy").setLevel(logging.ERROR)  # what a draw failed with is told in its row
    command = masked_address(
        shlex.join(["python", "-m", "eval", *sys.argv[1:]])
    )  # a bank's URL may have a password
    finished = compare.run(
        tasks, members.of, options, out=folder, bank=bank, command=command, console=console
    )
    table = write_table(finished)
    if as_json:
        print_json({"run": str(folder), **table.as_dict()})
        return
    shown = Console() if Console().is_terminal else Console(width=200)
    for each in table.rich(shown.width):
        shown.print(each)
    for note in table.notes:
        shown.print(f"- {visible(note)}", markup=False, highlight=False)
    shown.print(
        f"Rows, draws and the table (Markdown, CSV, JSON) are in {visible(str(folder))}; to look at them: "
        f"python -m eval report {shlex.quote(str(folder))} --out report.html",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def write_table(run: Run) -> Comparison:
    """The run's table, written into its folder as table.md, table.csv and table.json; raises MuxError where it cannot be."""
    table = Comparison.of(run)
    command = " ".join(visible(str(run.manifest["command"])).split())
    run.write("table.md", f"    {command}\n\n{table.markdown()}")
    run.write("table.csv", table.csv())
    run.write("table.json", json_text(table.as_dict()) + "\n")
    return table


def tasks_of(names: Sequence[str], files: Sequence[str]) -> list[Task]:
    """Tasks by name, each with the file that is given for it: `NAME=PATH`, or a path alone for a single task.

    Raises:
        ConfigurationError: an unknown task, or a file for none of them.
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
                f"--file {given} does not say whose it is: write NAME=PATH, NAME out of {', '.join(names)}."
            )
    return [task(name, file=paths.get(name)) for name in names]


def listed(text: str | None) -> tuple[str, ...] | None:
    """Names by comma; None for None."""
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
