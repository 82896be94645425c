"""`dspy-mux bank info | import | export | salvage`: look into banks, move draws in and out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, TypeAlias, cast

import typer

from ..errors import ConfigurationError
from ..layout import Cell, Table
from ..text import shortened
from . import completion
from .help_text import Verb, Verbs
from .import_options import ImportOptions
from .options import FILES, AsJson, BankPath, Dataset
from .output import print_json, say, tables
from .step import step

_Causes: TypeAlias = Mapping[str, int]

bank_app = typer.Typer(
    cls=Verbs, help="What a bank holds; draws in and out of it.", no_args_is_help=True
)

#: Columns that are said once, above, where all rows have the same.
_ONCE = ("dataset", "temperature", "questions", "model", "program")
#: Tables under each other: what was drawn, and what it took.
_DRAWN = ("questions", "draws", "abstentions", "errors", "cut_off", "evidence")
_TAKEN = ("model", "program", "calls", "tokens", "cost")
#: Causes that are shown of each member, and characters of one: errors quote what a server said.
_MOST_CAUSES, _LONGEST = 4, 120
_NAMES = ("dataset", "member", "temperature", *_DRAWN, *_TAKEN)
#: Columns of counts.
_WHOLE = (*_DRAWN, "calls", "tokens")


@bank_app.command("info", cls=Verb)
def bank_info(bank: BankPath, dataset: Dataset = None, as_json: AsJson = False) -> None:
    """List datasets, members and programs, with their draws, usage and evidence."""
    from ..bank.jsonl import jsonl_info
    from ..bank.sample_bank import SampleBank
    from ..bank.storage.schema import storable
    from ..sampling.causes import advice_to

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
        causes = _causes(rows)
        _show(title, rows, causes)
        for sentence in advice_to(causes):
            say(sentence)


def _causes(rows: Sequence[Mapping[str, object]]) -> dict[str, Counter[str]]:
    """Return member → cause → abstentions, over datasets and programs."""
    found: dict[str, Counter[str]] = {}
    for row in rows:
        found.setdefault(str(row["member"]), Counter()).update(cast("_Causes", row["causes"]))
    return found


def _by_cause(causes: Mapping[str, Counter[str]]) -> Table:
    """Return the most frequent causes of each member's abstentions as a table."""
    rows: list[tuple[Cell, str, str]] = []
    for member, counted in causes.items():
        shown = counted.most_common(_MOST_CAUSES)
        if others := len(counted) - len(shown):
            rest = counted.total() - sum(count for _, count in shown)
            shown.append(("1 other cause" if others == 1 else f"{others} other causes", rest))
        rows += [((member,), shortened(cause, _LONGEST), f"{count:,}") for cause, count in shown]
    return Table("Abstentions by cause", ("member", "cause", "draws"), rows, words=2)


def _show(
    title: str, rows: Sequence[Mapping[str, object]], causes: Mapping[str, Counter[str]]
) -> None:
    """Print the rows in two tables; what is the same in all of them is said once, above.

    A third table has the causes of abstentions, where there are any.
    """
    cells = [{name: _cell(name, row.get(name)) for name in _NAMES} for row in rows]
    values = {name: list(dict.fromkeys(row[name] for row in cells)) for name in _NAMES}
    if values["model"] == values["member"]:  # imported draws: nothing else is known
        values["model"] = [""]
    once = [name for name in _ONCE if len(values[name]) == 1]
    same = [f"{name} {values[name][0]}" for name in once if values[name] != [""]]
    key = ["dataset", "member", "temperature"]
    key = [name for name in key if name not in once]
    if len({tuple(row[name] for name in key) for row in cells}) < len(cells):
        key.append("program")

    def part(title: str, columns: Sequence[str]) -> Table:
        shown = [name for name in columns if name not in (*once, *key) and values[name] != [""]]
        words = len(key) + len({"model", "program"} & {*shown})
        return Table(
            title,
            [name.replace("_", " ") for name in (*key, *shown)],
            [[_named(name, row[name]) for name in (*key, *shown)] for row in cells],
            words,
            key=len(key),
        )

    parts = [part("; ".join([title, *same]), _DRAWN), part("", _TAKEN)]
    parts = [each for each in parts if len(each.columns) > len(key)]
    if any(causes.values()):
        parts.append(_by_cause(causes))
    tables(*parts)


def _named(column: str, text: str) -> Cell:
    return (text,) if column == "member" else text


def _cell(column: str, value: object) -> str:
    """Return a value of the overview as text."""
    if value is None:
        return ""
    if column == "cost":
        return f"${value:.4f}"
    if column == "temperature":
        return f"{value:g}"
    if column in _WHOLE:
        return f"{value:,}"
    return str(value)[:12] if column == "program" else str(value)


@bank_app.command("import", cls=Verb)
def bank_import(  # noqa: PLR0913  Typer reads the options from the parameters
    bank: Annotated[
        str, typer.Argument(help="The bank to add to.", autocompletion=completion.banks)
    ],
    files: Annotated[
        list[str],
        typer.Argument(
            help="Logs of Inspect, samples of lm-evaluation-harness, details of lighteval, runs of "
            "HELM, results of promptfoo, batches, CSV, JSONL, JSON, Parquet."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(help="Dataset of rows that name none; of all draws of other tools' files."),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="The files' format, where their content does not say.",
            autocompletion=completion.formats,
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Where each column is, such as answer=resp.text,model=meta.model; or @FILE, as "
            "--save-map writes it.",
        ),
    ] = None,
    each: Annotated[
        str | None,
        typer.Option(help="The list in a row whose elements are draws: samples."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The member of draws that name none.")] = None,
    score: Annotated[str | None, typer.Option(help="Which score to read of several.")] = None,
    answer_type: Annotated[
        str | None,
        typer.Option(
            "--type", help='Read and compare answers by a type, such as float or Literal["A", "B"].'
        ),
    ] = None,
    program: Annotated[
        str | None,
        typer.Option(help="Read, compare and score answers as a task does: its module's name."),
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(help="A file of the questions by question_id: their text, gold answer, …"),
    ] = None,
    save_map: Annotated[
        str | None, typer.Option(help="Write these options to a new TOML file, for --map @FILE.")
    ] = None,
) -> None:
    """Add draws from files; draws that are there already stay. Unnumbered rows are new draws."""
    ImportOptions(
        dataset,
        {
            "format": format,
            "each": each,
            "model": model,
            "score": score,
            "questions": questions,
            "type": answer_type,
            "program": program,
        },
        columns,
        save_map,
    ).run(bank, files)


@bank_app.command("export", cls=Verb)
def bank_export(
    bank: BankPath,
    file: Annotated[
        str,
        typer.Argument(help="A new .jsonl or .parquet file; a new folder for --format inspect."),
    ],
    dataset: Dataset = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="inspect: logs that Inspect's viewer shows, one a member.",
            autocompletion=completion.words("inspect"),
        ),
    ] = None,
) -> None:
    """Write a bank's draws to a file, one per row; or to logs of Inspect."""
    from ..bank.import_export import export_file
    from ..bank.sample_bank import SampleBank

    if bank.endswith(FILES):
        raise ConfigurationError(
            f"{bank!r} is a file of rows already: import it into a bank first."
        )
    with step(f"writing {file}"):
        count = export_file(SampleBank(bank), file, dataset=dataset, format=format)
    say(f"{file}: {count} draws")


@bank_app.command("salvage", cls=Verb)
def bank_salvage(
    bank: Annotated[str, typer.Argument(help="A damaged bank.", autocompletion=completion.banks)],
    into: Annotated[str, typer.Argument(metavar="NEW", help="A new file.")],
) -> None:
    """Copy the readable draws of a damaged bank into a new one."""
    from ..bank.storage.salvage import salvage

    saved = salvage(bank, into)
    say(f"{into}: {saved} draws saved of {bank}; run `dspy-mux collect` to redraw the rest.")
