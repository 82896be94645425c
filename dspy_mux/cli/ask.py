"""`dspy-mux ask`: ask a pool one question, and show who answered what."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError, DataError
from ..text import shortened
from . import completion
from .logs import errors_only
from .options import AcceptLicense, Timeout
from .output import print_json

if TYPE_CHECKING:
    from rich.text import Text

    from ..mux.slm_mux import SLMMux
    from ..voting.verdict import Verdict
    from ..voting.verdict_parts import MemberBallot

#: Answers, in characters, as the verdict's head shows them, and as the table's cells do.
_LONGEST_ANSWER, _LONGEST_CELL = 2000, 80


@dataclass(frozen=True)
class AskOptions:
    """What `dspy-mux ask` is asked for."""

    question: str
    pool: Path | None
    mux: Path | None
    k: int | None
    timeout: float | None
    accept_license: bool
    as_json: bool


def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
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
    k: Annotated[
        int | None, typer.Option(min=1, help="Draws per member. Default: the file's.")
    ] = None,
    timeout: Timeout = None,
    accept_license: AcceptLicense = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the verdict as one JSON object.")
    ] = False,
) -> None:
    """Ask a pool one question, and see who answered what."""
    _run(AskOptions(question, pool, mux, k, timeout, accept_license, as_json))


def _run(options: AskOptions) -> None:
    if options.pool is None and options.mux is None:
        raise ConfigurationError(
            "ask needs a pool: pass --pool pool.toml, or --mux mux.json for a saved mux."
        )
    text = (_stdin() if options.question == "-" else options.question).strip()
    if not text:
        raise ConfigurationError("The question is empty.")
    mux = _open(options)
    with errors_only("dspy", "dspy_mux"):  # the verdict shows why a draw failed
        verdict = mux(**_inputs(mux, text)).verdict
    if options.as_json:
        print_json(verdict.model_dump(mode="json"))
    else:
        _show(verdict)


def _stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise DataError(
            "The question on standard input is not UTF-8 text: encode it as UTF-8."
        ) from error


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
    if options.mux is None and len(mux.members) < 2:
        raise ConfigurationError(
            f"The pool has one member, {mux.members[0].name!r}, and a mux chooses between members: "
            "add another [[members]]."
        )
    return mux


def _inputs(mux: SLMMux, text: str) -> dict[str, str]:
    fields = list(mux.programs[0].predictors()[0].signature.input_fields)
    if len(fields) != 1:
        raise ConfigurationError(
            f"The program takes {len(fields)} inputs ({', '.join(fields)}); ask gives it only one."
        )
    return {fields[0]: text}


def _show(verdict: Verdict) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..sampling.causes import advice

    console = Console()
    console.print(_literal(_plain(verdict.answer, _LONGEST_ANSWER)), style="bold")
    table = Table()
    known = any(ballot.probabilities for ballot in verdict.ballots)
    for column in ("member", "answers", "confidence", "probability", "abstained"):
        if column != "probability" or known:
            table.add_column(column, justify="right" if column == "confidence" else "left")
    for ballot in verdict.ballots:
        style = "bold" if ballot.member == verdict.member else None
        table.add_row(*map(_literal, _cells(ballot, known)), style=style)
    console.print(table)
    console.print(_summary(verdict), highlight=False)
    for ballot in verdict.ballots:
        for sentence in advice(ballot.abstentions):
            console.print(_literal(f"{_plain(ballot.member)}: {sentence}"))


def _cells(ballot: MemberBallot, probabilities: bool) -> list[str]:
    from ..voting.verdict_text import probability_cell

    return [
        _plain(ballot.member),
        "\n".join(f"{counted.count} × {_plain(counted.answer)}" for counted in ballot.answers),
        f"{ballot.confidence:.2f}",
        *((probability_cell(ballot),) if probabilities else ()),
        "\n".join(f"{count} × {_plain(cause)}" for cause, count in ballot.abstentions.items()),
    ]


def _summary(verdict: Verdict) -> str:
    from ..voting.verdict_text import calls_text, confidence_text, trust_text

    tie = "" if verdict.tie_break == "nothing" else f", tie broken by {verdict.tie_break}"
    trust = "; escalated" if verdict.escalated else trust_text(verdict)
    cost = "" if verdict.cost is None else f", ${verdict.cost:.6f}"
    count = sum(ballot.spared for ballot in verdict.ballots)
    spared = f"{count} spared, " if count else ""
    tokens = verdict.prompt_tokens + verdict.completion_tokens
    return (
        f"{verdict.rule}, {confidence_text(verdict)}{tie}{trust}; {calls_text(verdict)}, "
        f"{verdict.cached_calls} from the cache, {spared}{tokens} tokens{cost}"
    )


def _plain(value: object, longest: int = _LONGEST_CELL) -> str:
    """Return model text for a terminal: one line without control codes, cut if too long."""
    from rich.control import strip_control_codes

    printable = (c if c.isprintable() else " " for c in strip_control_codes(str(value)))
    text = " ".join("".join(printable).split())
    return shortened(text, longest)


def _literal(text: str) -> Text:
    """Return text that rich does not parse for markup."""
    from rich.text import Text

    return Text(text)
