"""The command `dspy-mux`: its verbs, and the one place where errors become one line.

Exit codes: 0 for an answer, 1 if the models failed (all draws of a collection for example, or a
member that it gave up) or drifted under --fail-on-drift, 2 for a mistake in the command, a file or
the environment.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, cast

import typer

from ..errors import BankError, ConfigurationError, LocalModelError, MissingExtra, MuxError
from .accuracies import accuracies
from .ask import ask
from .bank import bank_app
from .budget import budget
from .check import check
from .collect import collect
from .drift import drift
from .help_text import Verb, Verbs
from .init import init
from .logs import without_notices
from .output import one_line, say
from .replay import replay
from .risk import risk
from .scale import scale
from .search import search
from .serve import serve
from .tune import tune
from .weights import models, pull

#: Errors that the user can correct: exit code 2.
_MISTAKES = (BankError, ConfigurationError, LocalModelError, MissingExtra)
#: Raised by typer for words that are not a command. Its class is click's own or the copy inside
#: typer, depending on typer's version.
_UsageError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


class _Verbs(Verbs):
    def invoke(self, ctx: Any) -> Any:  # typer has no one class of context over its versions
        with one_line_errors():  # inside typer, which ends an interrupt with "Aborted!"
            return super().invoke(ctx)


def _print_version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        print(f"dspy-mux {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="dspy-mux",
    cls=_Verbs,
    help="A pool of small language models that answers better than its best member.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show local variables, a database's password among them
)
for verb in (
    init,
    collect,
    replay,
    accuracies,
    search,
    tune,
    scale,
    budget,
    risk,
    drift,
    models,
    pull,
    check,
    ask,
    serve,
):
    app.command(cls=Verb)(verb)
app.add_typer(bank_app, name="bank")


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version."
        ),
    ] = False,
) -> None: ...


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the process on a `MuxError` with its one sentence on stderr.

    Exits with 2 for what the user can correct, 1 for other failures, 130 for an interrupt.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal cannot show must not cost the answer.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except MuxError as error:
        say(f"dspy-mux: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, _MISTAKES) else 1) from None
    except KeyboardInterrupt as interrupt:
        kept = str(interrupt) or "what had arrived is kept, and costs nothing again."
        print(f"dspy-mux: interrupted; {kept}", file=sys.stderr)
        raise SystemExit(130) from None


def main() -> None:
    """Run the `dspy-mux` command."""
    try:
        with without_notices():
            code = app(prog_name="dspy-mux", standalone_mode=False)
    except _UsageError as error:
        _show_usage(error)
        code = 2
    sys.exit(code)


def _show_usage(error: typer.BadParameter) -> None:
    # What a value is checked by is not the user's business.
    message = error.format_message().replace(": Value error, ", ": ", 1)
    if not message or "\n" in message:  # no verb at all: the help, which lists them
        error.show()
        return
    command = "dspy-mux" if error.ctx is None else error.ctx.command_path
    line = one_line(message).rstrip(".")
    say(f"dspy-mux: {line}; run `{command} --help` for its options.", file=sys.stderr)
