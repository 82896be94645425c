"""`dspy-mux ask`: ask a pool, and show who answered what."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from . import completion
from .options import AcceptLicense, Timeout
from .output import say

if TYPE_CHECKING:
    from ..mux.slm_mux import SLMMux


@dataclass(frozen=True)
class AskOptions:
    """What `dspy-mux ask` is asked for."""

    question: str | None
    inputs: tuple[str, ...]
    pool: Path | None
    mux: Path | None
    k: int | None
    timeout: float | None
    accept_license: bool
    as_json: bool


def ask(
    question: Annotated[
        str | None,
        typer.Argument(
            help="The question; - reads one from standard input. Without it: a prompt, or one "
            "question per line of a pipe."
        ),
    ] = None,
    pool: Annotated[
        Path | None,
        typer.Option(
            help="Pool file (TOML): the members and how to reach them.",
            autocompletion=completion.pool_files,
        ),
    ] = None,
    mux: Annotated[
        Path | None,
        typer.Option(
            help="Saved mux (JSON): its program, demos, accuracies and rule.",
            autocompletion=completion.mux_files,
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=VALUE",
            help="An input of the program, as JSON if it is no text. May be repeated.",
        ),
    ] = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="Draws per member. Default: the file's.")
    ] = None,
    timeout: Timeout = None,
    accept_license: AcceptLicense = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per question: the verdict.")
    ] = False,
) -> None:
    """Ask a pool, and see who answered what: one question, or one after the other."""
    given = tuple(inputs or ())
    _run(AskOptions(question, given, pool, mux, k, timeout, accept_license, as_json))


def _run(options: AskOptions) -> None:
    from .ask_inputs import InputFields, parse_inputs
    from .ask_session import Session
    from .step import step

    if options.pool is None and options.mux is None:
        raise ConfigurationError(
            "ask needs a pool: pass --pool pool.toml, or --mux mux.json for a saved mux."
        )
    given = parse_inputs(options.inputs)
    text = _question(options)
    prompts = text is None and bool(sys.stdin and sys.stdin.isatty())
    lines = None if text is not None or prompts or given else _piped()
    with step("starting"):
        import dspy  # noqa: F401  (takes seconds)
    mux = _open(options)
    fields = InputFields(mux.programs[0], given, getattr(mux.rule, "context", None))
    session = Session(mux, fields, options.as_json)
    if text is not None:
        session.answer_one(fields.of_question(text))
    elif not fields.open:
        session.answer_one(fields.of_texts({}))
    elif prompts:
        session.converse()
    else:
        session.answer_lines(lines or _piped())


def _question(options: AskOptions) -> str | None:
    """Return the question that the command line names; None for none."""
    if options.question is None:
        return None
    text = options.question
    if text == "-":
        from .ask_session import read_lines

        text = "".join(read_lines(sys.stdin))
    if not text.strip():
        raise ConfigurationError("The question is empty.")
    return text.strip()


def _piped() -> Iterator[str]:
    """Return the lines of standard input, of which there is one.

    Raises:
        ConfigurationError: there is none.
    """
    from .ask_session import read_lines

    lines = read_lines(sys.stdin)
    empty: list[str] = []
    for line in lines:
        if line.strip():
            return chain(empty, [line], lines)
        empty.append(line)
    raise ConfigurationError(
        "There is no question: name one, or send one per line to standard input."
    )


def _open(options: AskOptions) -> SLMMux:
    from ..mux.open import open_mux

    mux = open_mux(
        options.pool,
        options.mux,
        k=options.k,
        timeout=options.timeout,
        accept_license=options.accept_license,
    )
    # A saved mux may have one member: an optimizer chose it.
    if options.mux is None and len(mux.members) == 1:
        say(
            f"dspy-mux: The pool has one member, {mux.members[0].name!r}: its most frequent answer "
            "wins (self-consistency). Add another [[members]] to choose between models.",
            file=sys.stderr,
        )
    return mux
