"""Lay out `--help` so that 80 columns are enough: two columns, of which most is for the text.

Typer's own table has columns for short options, types and negations too, and leaves 17 characters.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer.core

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Characters of the column of options, at most.
_WIDEST = 34
#: What an option takes, by a word in typer's name of its type. Others take a TEXT.
_TAKES = {"int": "N", "float": "X", "path": "PATH"}


class Verb(typer.core.TyperCommand):
    """A verb whose help is readable in 80 columns."""

    # Typer has no one class of context and of parameters over its versions.
    def format_help(self, ctx: Any, formatter: Any) -> None:
        show_help(self, ctx)


class Verbs(typer.core.TyperGroup):
    """Verbs whose help is readable in 80 columns."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        show_help(self, ctx)


def show_help(command: Any, ctx: Any) -> None:
    """Print the help of a command of typer's."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Padding(Text(command.get_usage(ctx), style="bold"), 1))
    if command.help:
        text = inspect.cleandoc(command.help).partition("\f")[0]
        paragraphs = (" ".join(each.split()) for each in text.split("\n\n"))
        console.print(Padding(Text("\n\n".join(paragraphs)), (0, 1, 1, 1)))
    parameters = [each for each in command.get_params(ctx) if not getattr(each, "hidden", False)]
    for title, kind in (("Arguments", "argument"), ("Options", "option")):
        rows = [_row(each, ctx) for each in parameters if each.param_type_name == kind]
        _show_panel(console, title, rows)
    _show_panel(console, "Commands", [*_commands(command, ctx)])


def _commands(command: Any, ctx: Any) -> Iterator[tuple[str, Text]]:
    from rich.text import Text

    for name in command.list_commands(ctx) if isinstance(command, typer.core.TyperGroup) else ():
        text = inspect.cleandoc(command.get_command(ctx, name).help or "").split("\n\n")[0]
        yield name, Text(" ".join(text.split()))


def _row(parameter: Any, ctx: Any) -> tuple[str, Text]:
    """Return an option and what it takes, and its text with the default."""
    from rich.text import Text

    text = Text(" ".join((parameter.help or "").split()))
    if notes := "; ".join(_notes(parameter, ctx)):
        text.append(f" [{notes}]", style="dim")
    return _name(parameter, ctx), text


def _name(parameter: Any, ctx: Any) -> str:
    named: str = parameter.get_help_record(ctx)[0]
    if parameter.param_type_name == "argument":
        name = parameter.metavar or str(parameter.name)
        return name if parameter.nargs == 1 else f"{name}..."
    options = ", ".join((*parameter.opts, *parameter.secondary_opts))
    if parameter.is_flag:
        return options
    typed = named.lower().replace(options, "")
    taken = next((sign for word, sign in _TAKES.items() if word in typed), "TEXT")
    return f"{options} {parameter.metavar or taken}"


def _notes(parameter: Any, ctx: Any) -> Iterator[str]:
    if parameter.required:
        yield "required"
    default = parameter.get_default(ctx, call=False)
    if default not in (None, "") and not getattr(parameter, "is_flag", False):
        yield f"default: {default}"
    # On the parameter in newer versions of typer, on its type in older ones.
    least, most = (
        getattr(parameter, name, getattr(getattr(parameter, "type", None), name, None))
        for name in ("min", "max")
    )
    if least is not None:
        yield f"{least} or more" if most is None else f"{least} to {most}"


def _show_panel(console: Console, title: str, rows: Sequence[tuple[str, Text]]) -> None:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(style="cyan", max_width=_WIDEST)
    table.add_column(ratio=1)
    for name, text in rows:
        table.add_row(Text(name), text)
    console.print(Panel(table, title=title, title_align="left", border_style="dim"))
