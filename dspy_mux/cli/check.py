"""`dspy-mux check`: ask each member of a pool once, and say what to change in its file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..text import number, shortened
from . import completion
from .layout import Cell
from .logs import errors_only
from .options import AcceptLicense, AsJson, finite
from .output import print_json, say, table

if TYPE_CHECKING:
    from ..mux.member_check import MemberCheck

#: Stands where nothing is known.
_UNKNOWN = "–"
_LONGEST_NAME, _LONGEST_QUESTION = 28, 70


@dataclass(frozen=True)
class CheckOptions:
    """What `dspy-mux check` is asked for."""

    pool: Path
    question: str | None
    timeout: float | None
    accept_license: bool
    as_json: bool


def check(
    pool: Annotated[
        Path,
        typer.Argument(help="Pool file (TOML).", autocompletion=completion.pool_files),
    ],
    question: Annotated[
        str | None,
        typer.Option(
            help="Asked in place of the built-in question; a JSON object of the inputs by name, "
            "where the program takes several."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            callback=finite,
            help="Seconds that one answer may take. Default: the pool file's, else 60.",
        ),
    ] = None,
    accept_license: AcceptLicense = False,
    as_json: AsJson = False,
) -> None:
    """Ask each member once: how fast it is, what it can do, and what to change in the pool file.

    Exits with 1 where a member did not answer.
    """
    _run(CheckOptions(pool, question, timeout, accept_license, as_json))


def _run(options: CheckOptions) -> None:
    from ..mux.check_file import check_file
    from ..mux.example_inputs import example_inputs
    from ..mux.pool_file import PoolFile
    from ..mux.program import as_module
    from ..mux.signature_text import parse_signature

    file = PoolFile.load(options.pool)
    names = [
        str(entry.name or entry.local or entry.model)
        for entry in [*file.members, *([file.escalate] if file.escalate else [])]
    ]
    # Before weights are fetched.
    inputs = example_inputs(as_module(parse_signature(file.program)), _inputs(options.question))
    try:
        with errors_only("dspy", "dspy_mux"), _progress(names) as on_checked:
            checks = check_file(
                file,
                question=inputs,
                timeout=options.timeout,
                accept_license=options.accept_license,
                on_checked=on_checked,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("a check keeps nothing.") from None
    if options.as_json:
        print_json(_as_json(checks, file.program, inputs))
    else:
        _show(checks, inputs)
    if any(one.problem is not None for one in checks):
        raise typer.Exit(1)


def _inputs(question: str | None) -> str | Mapping[str, Any] | None:
    """Return the inputs that a question holds by name, or the question as it is."""
    try:
        value = None if question is None else json.loads(question)
    except ValueError:
        return question
    return value if isinstance(value, dict) else question


@contextmanager
def _progress(names: Sequence[str]) -> Iterator[Callable[[MemberCheck], None]]:
    """Show on stderr whose answers are waited for; a line where stderr is no terminal."""
    from rich.console import Console
    from rich.text import Text

    console, left = Console(stderr=True), list(names)

    def text() -> Text:
        waited_for = ", ".join(shortened(name, _LONGEST_NAME) for name in left)
        return Text(f"{len(names) - len(left)} of {len(names)} checked, waiting for {waited_for}")

    if not console.is_terminal:
        count = "1 member" if len(names) == 1 else f"{len(names)} members"
        say(f"dspy-mux: checking {count}: {', '.join(names)}.", file=sys.stderr)
        yield lambda check: None
        return
    with console.status(text()) as status:

        def on_checked(check: MemberCheck) -> None:
            if check.name in left:
                left.remove(check.name)
            status.update(text())

        yield on_checked


def _as_json(
    checks: Sequence[MemberCheck], program: str, inputs: Mapping[str, Any]
) -> dict[str, Any]:
    members = [{**asdict(one), "spent": one.spent.model_dump()} for one in checks]
    return {
        "program": program,
        "inputs": inputs,
        "members": members,
        "answered": sum(one.problem is None for one in checks),
        "calls": sum(one.spent.calls for one in checks),
    }


def _show(checks: Sequence[MemberCheck], inputs: Mapping[str, Any]) -> None:
    from ..mux.outcome import sum_of_spent

    columns = ("member", "format", "log-probs", "n", "seconds", "tokens/s")
    asked = "; ".join(str(value) for value in inputs.values())
    table(shortened(asked, _LONGEST_QUESTION), columns, [_cells(one) for one in checks], words=4)
    for one in checks:
        for sentence in (one.problem, *one.findings):
            if sentence is not None:
                say(f"{one.name} {sentence}")
    spent = sum_of_spent([one.spent for one in checks])
    answered = sum(one.problem is None for one in checks)
    tokens = spent.prompt_tokens + spent.completion_tokens
    cost = "" if spent.cost is None else f", ${spent.cost:.6f}"
    say(f"{answered} of {len(checks)} answered; {spent.calls} LM calls, {tokens} tokens{cost}.")


def _cells(check: MemberCheck) -> list[Cell]:
    return [
        (check.name,),
        _format(check),
        _yes_or_no(check.logprobs),
        _yes_or_no(check.several),
        _number(check.seconds, 2),
        _number(check.tokens_per_second, 1),
    ]


def _number(value: float | None, digits: int) -> str:
    """Return a number with so many decimals, one fewer from 10 on."""
    if value is None:
        return _UNKNOWN
    return number(value, f".{digits if value < 10 else digits - 1}f")


def _format(check: MemberCheck) -> str:
    if check.seconds is None:
        return _UNKNOWN
    own = check.formats[0]
    share = "" if own.followed == own.draws else f" {own.followed}/{own.draws}"
    return f"{own.adapter}{share}"


def _yes_or_no(value: bool | None) -> str:
    return _UNKNOWN if value is None else "yes" if value else "no"
