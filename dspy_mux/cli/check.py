"""`dspy-mux check`: ask each member of a pool once, and say what to change in its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..layout import Cell
from ..text import number, shortened, visible
from . import completion
from .logs import errors_only
from .options import AcceptLicense, AsJson, finite
from .output import print_json, say, table
from .step import step

if TYPE_CHECKING:
    from ..mux.member_check import MemberCheck
    from ..mux.member_entry import MemberEntry

#: Stands where nothing is known.
_UNKNOWN = "–"
_LONGEST_NAME = 28
#: Members that are named while they are waited for.
_NAMED = 3


@dataclass(frozen=True)
class CheckOptions:
    """What `dspy-mux check` is asked for."""

    pool: Path
    question: str | None
    inputs: tuple[str, ...]
    timeout: float | None
    accept_license: bool
    as_json: bool


def check(
    pool: Annotated[
        Path,
        typer.Argument(help="Pool file (TOML).", autocompletion=completion.pool_files),
    ],
    question: Annotated[
        str | None, typer.Option(help="The question. Default: one that suits the program.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=VALUE",
            help="An input of the program, as JSON if it is no text. May be repeated.",
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
    given = tuple(inputs or ())
    _run(CheckOptions(pool, question, given, timeout, accept_license, as_json))


def _run(options: CheckOptions) -> None:
    with step("starting"):
        from ..mux.check_file import built_members, check_file
        from ..mux.pool_file import PoolFile

    file = PoolFile.load(options.pool)
    inputs = _inputs(file.program, options)  # wrong ones are refused before weights are fetched
    entries = [*file.members, *([file.escalate] if file.escalate else [])]
    left = [_name(entry) for entry in entries]
    try:
        with errors_only("dspy", "dspy_mux"):  # no bar yet: it would hide a question about terms
            built = built_members(file, accept_license=options.accept_license)
        with (
            errors_only("dspy", "dspy_mux"),
            step("checking", unit="members", total=len(left)) as progress,
        ):
            progress.at(0, _waiting_for(left))

            def on_checked(check: MemberCheck) -> None:
                if check.name in left:
                    left.remove(check.name)
                progress.at(len(entries) - len(left), _waiting_for(left))

            checks = check_file(
                file,
                built,
                question=inputs,
                timeout=options.timeout,
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


def _inputs(signature: str, options: CheckOptions) -> Mapping[str, Any]:
    """Return the inputs that the command line gives, or that fit the program."""
    from ..mux.example_inputs import example_inputs
    from ..mux.program import as_module
    from ..mux.signature_text import parse_signature
    from .ask_inputs import InputFields, parse_inputs

    program = as_module(parse_signature(signature))
    fields = InputFields(program, parse_inputs(options.inputs))
    if options.question is not None:
        return fields.of_question(options.question)
    return fields.of_texts({}) if options.inputs else example_inputs(program)


def _name(entry: MemberEntry) -> str:
    """Return what an entry's member is called: weights in a file go by its name."""
    own = Path(entry.local or "").name.removesuffix(".gguf")
    return entry.name or entry.model or own


def _waiting_for(names: Sequence[str]) -> str:
    shown = ", ".join(shortened(visible(name), _LONGEST_NAME) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"waiting for {shown}{more}" if names else ""


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
    from .ask_answer import inputs_text

    columns = ("member", "format", "log-probs", "n", "seconds", "tokens/s")
    table(inputs_text(inputs), columns, [_cells(one) for one in checks], words=4)
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
    kept = own.followed + len(own.misfits)
    share = "" if kept == own.draws else f" {kept}/{own.draws}"
    return f"{own.adapter}{share}"


def _yes_or_no(value: bool | None) -> str:
    return _UNKNOWN if value is None else "yes" if value else "no"
