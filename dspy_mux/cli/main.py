"""The command `dspy-mux`: `models`, `pull`, `ask`, and where errors become one line.

Exit codes: 0 an answer, 1 the models failed, 2 something in the command, a file or the environment is wrong.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

from ..errors import BankError, ConfigurationError, LocalModelError, MuxError
from .bank import bank_app, collect
from .decide import budget, replay, scale, search, tune
from .options import Timeout
from .output import print_json, say

if TYPE_CHECKING:
    from ..mux.slm_mux import SLMMux
    from ..voting.verdict import Verdict

#: What typer raises for words that it cannot make a command of; of its own click or the installed one, as its version has it.
_UsageError: Any = typer.BadParameter.__mro__[1]
#: Of an error's line, in characters: it may repeat what a file or a server said.
_LONGEST = 2000


class _Verbs(typer.core.TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        with one_line_errors():  # here, for around it an interrupt would end with "Aborted!"
            return super().invoke(ctx)


def _told_version(asked: bool) -> None:
    if asked:
        from .. import __version__

        print(f"dspy-mux {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="dspy-mux",
    cls=_Verbs,
    help="A pool of small language models that answers better than its best member.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for verb in (collect, replay, search, tune, scale, budget):
    app.command()(verb)
app.add_typer(bank_app, name="bank")


@app.callback()
def _front(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_told_version, help="Print the version."),
    ] = False,
) -> None: ...


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process on an error of ours with its one sentence on stderr: exit code 2 for a mistake, 1 for a failure."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # what a terminal cannot show costs no answer
    try:
        yield
    except MuxError as error:
        say(f"dspy-mux: {_one_line(str(error))}", file=sys.stderr)
        raise SystemExit(
            2 if isinstance(error, (BankError, ConfigurationError, LocalModelError)) else 1
        ) from None
    except KeyboardInterrupt:
        print(
            "dspy-mux: interrupted; what had arrived is kept, and costs nothing again.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


def _one_line(text: str) -> str:
    """An error as it is shown: it may repeat a word of the command, such as a bank's address with its password."""
    from ..redact import masked_address

    line = masked_address(" ".join(text[: 2 * _LONGEST].split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


@app.command()
def models() -> None:
    """List the small models that run in this process."""
    from rich.console import Console
    from rich.table import Table

    from ..local import CATALOG, path

    table = Table()
    for column in ("name", "model", "licence", "MB", "on this machine"):
        table.add_column(
            column,
            justify="right" if column == "MB" else "left",
            no_wrap=column == "name",
            overflow="fold",
        )
    for weights in CATALOG.values():
        here = "yes" if path(weights.name) else "no"
        table.add_row(
            weights.name, weights.title, weights.licence, f"{weights.size / 1e6:.0f}", here
        )
    Console().print(table)


@app.command()
def pull(
    names: Annotated[list[str], typer.Argument(help="Names from `dspy-mux models`.")],
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the models' licences.")
    ] = False,
) -> None:
    """Fetch weights into the user's cache, verified by checksum."""
    from ..local import CATALOG, fetch
    from ..local.catalog import find

    for name in names:
        find(name)  # a typo in the last name should not show after the first download
    for name in names:
        print(f"{CATALOG[name].name}: {fetch(name, accept_license=accept_license)}")


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    pool: Annotated[
        Path | None, typer.Option(help="Pool file (TOML): the members and how to reach them.")
    ] = None,
    mux: Annotated[
        Path | None, typer.Option(help="Saved mux (JSON): its program, demos, accuracies and rule.")
    ] = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="Draws per member, in place of the file's.")
    ] = None,
    timeout: Timeout = None,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="Accept the models' licences.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the verdict as one JSON object.")
    ] = False,
) -> None:
    """Ask a pool one question, and see who answered what."""
    if pool is None and mux is None:
        raise ConfigurationError(
            "ask needs a pool: pass --pool pool.toml, or --mux mux.json for a saved mux."
        )
    text = (_from_stdin() if question == "-" else question).strip()
    if not text:
        raise ConfigurationError("The question is empty.")
    from ..mux.open import open_mux

    opened = open_mux(pool, mux, k=k, timeout=timeout, accept_license=accept_license)
    if mux is None and len(opened.members) < 2:  # an optimizer may have left one member alone
        raise ConfigurationError(
            f"The pool has one member, {opened.members[0].name!r}, and a mux chooses between members: add another [[members]]."
        )
    logging.getLogger("dspy").setLevel(
        logging.ERROR
    )  # what a draw failed with is told in the verdict
    verdict = opened(**_inputs(opened, text)).verdict
    if as_json:
        print_json(verdict.model_dump(mode="json"))
    else:
        _show(verdict)


def _from_stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise ConfigurationError("The question on standard input is no text in UTF-8.") from error


def _inputs(mux: SLMMux, text: str) -> dict[str, Any]:
    fields = list(mux.programs[0].predictors()[0].signature.input_fields)
    if len(fields) != 1:
        raise ConfigurationError(
            f"The program takes {len(fields)} inputs ({', '.join(fields)}); ask gives it only one."
        )
    return {fields[0]: text}


def _show(verdict: Verdict) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(_plain(verdict.answer, 2000), style="bold")
    table = Table()
    for column in ("member", "answers", "confidence", "abstained"):
        table.add_column(column, justify="right" if column == "confidence" else "left")
    for ballot in verdict.ballots:
        answers = "\n".join(
            f"{counted.count} × {_plain(counted.answer)}" for counted in ballot.answers
        )
        abstained = "\n".join(
            f"{count} × {_plain(cause)}" for cause, count in ballot.abstentions.items()
        )
        style = "bold" if ballot.member == verdict.member else None
        table.add_row(
            _plain(ballot.member),
            _literal(answers),
            f"{ballot.confidence:.2f}",
            _literal(abstained),
            style=style,
        )
    console.print(table)
    tie = "" if verdict.tie_break == "nothing" else f", tie broken by {verdict.tie_break}"
    cost = "" if verdict.cost is None else f", ${verdict.cost:.6f}"
    count = sum(ballot.spared for ballot in verdict.ballots)
    spared = f"{count} spared, " if count else ""
    console.print(
        f"{verdict.rule}{tie}; {verdict.calls} calls, {verdict.cached_calls} from the cache, {spared}"
        f"{verdict.prompt_tokens + verdict.completion_tokens} tokens{cost}",
        highlight=False,
    )


def _plain(value: Any, longest: int = 80) -> Any:
    """Model text for a terminal: one line, no control codes, no markup."""
    from rich.control import strip_control_codes

    text = " ".join(
        "".join(c if c.isprintable() else " " for c in strip_control_codes(str(value))).split()
    )
    return _literal(text if len(text) <= longest else f"{text[: longest - 1]}…")


def _literal(text: str) -> Any:
    from rich.text import Text

    return Text(str(text))


def main() -> None:
    """The `dspy-mux` command."""
    try:
        code = app(prog_name="dspy-mux", standalone_mode=False)
    except _UsageError as error:
        if (
            "\n" in error.format_message() or not error.format_message()
        ):  # no verb at all: the help, with all of them
            error.show()
        else:
            command = "dspy-mux" if error.ctx is None else error.ctx.command_path
            told = _one_line(error.format_message()).rstrip(".")
            say(f"dspy-mux: {told}; `{command} --help` tells what it takes.", file=sys.stderr)
        code = 2
    sys.exit(code)
