"""`dspy-mux init`: find models, write a pool file and a task file, and ask a first question."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from ..text import visible
from . import completion
from .ask import ask
from .options import AcceptLicense
from .output import say

if TYPE_CHECKING:
    from .start.offers import Found, Offer
    from .start.questions import Questions
    from .start.servers import Server, Silence

#: Beside the task file, it holds the questions if nothing else is said.
_QUESTIONS = "questions.csv"
_FIRST_QUESTION = "What is the capital of France?"
#: A longer question of the user's file is not the one to begin with.
_LONGEST_QUESTION = 300
_TO_START = (
    "Ollama: install it from https://ollama.com, then `ollama pull qwen2.5:3b`.",
    "vLLM: `vllm serve Qwen/Qwen2.5-3B-Instruct` serves a model on port 8000.",
    "llama.cpp: `llama-server -m model.gguf` serves a file on port 8080.",
    "On another machine: `dspy-mux init --address http://HOST:PORT`.",
)
_BASE_MODEL = "A base model was not tuned to follow instructions, and often abstains."
_NO_LLAMA_CPP = "In this process: `pip install 'dspy-mux[local]'` adds small models."


@dataclass(frozen=True)
class InitOptions:
    """What `dspy-mux init` is asked for.

    Attributes:
        task: None to write no task file.
        models: what to choose; None to ask.
        proposed: whether to take the proposed models without asking.
    """

    pool: Path
    task: Path | None
    questions: Path | None
    addresses: tuple[str, ...]
    api_key_env: str | None
    ports: bool
    models: str | None
    proposed: bool
    question: bool
    force: bool
    accept_license: bool

    @property
    def asks(self) -> bool:
        """Whether the user is asked for what no option says."""
        from .start.prompts import can_ask

        return not self.proposed and self.models is None and can_ask()


def init(  # noqa: PLR0913  (options of a verb)
    pool: Annotated[
        Path, typer.Option(help="Pool file to write.", autocompletion=completion.pool_files)
    ] = Path("pool.toml"),
    task: Annotated[Path, typer.Option(help="Task file to write.")] = Path("task.py"),
    questions: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with columns question and answer, for the task and for the type of the "
            "answers in the pool file. Default: questions.csv beside the task, if there is one.",
            autocompletion=completion.files(".csv", ".tsv"),
        ),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(help="Look at this server too, such as http://gpu:8000. May be repeated."),
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(help="Environment variable with the key of the servers at --address."),
    ] = None,
    ports: Annotated[
        bool, typer.Option(help="Look on the usual ports of this machine's servers.")
    ] = True,
    models: Annotated[
        str | None,
        typer.Option(help="Which models: names or numbers, comma-separated, or all."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Take what is proposed; ask nothing.")] = False,
    no_task: Annotated[bool, typer.Option("--no-task", help="Write no task file.")] = False,
    no_question: Annotated[
        bool, typer.Option("--no-question", help="Do not try the models with a question.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files.")] = False,
    accept_license: AcceptLicense = False,
) -> None:
    """Find models, write a pool file and a task to fill in, and ask a first question."""
    _run(
        InitOptions(
            pool=pool,
            task=None if no_task else task,
            questions=questions,
            addresses=tuple(address or ()),
            api_key_env=api_key_env,
            ports=ports,
            models=models,
            proposed=yes,
            question=not no_question,
            force=force,
            accept_license=accept_license,
        )
    )


def _run(options: InitOptions) -> None:
    from .start.files import check_new, task_module, write_files
    from .start.pool_text import pool_text
    from .start.task_text import task_text

    check_new(options.pool, force=options.force)
    task, module = options.task, ""
    if task is not None:
        module = task_module(task)
        if task.resolve() == options.pool.resolve():
            raise ConfigurationError(f"--pool and --task are both {task}: name two files.")
        if os.path.lexists(task) and not options.force:
            say(f"{task} is there already and stays as it is; --force writes it anew.")
            task = None
        else:
            check_new(task, force=options.force)
    questions = _given_questions(options)
    with _nothing_written():
        chosen = _choose(options)
        if options.task is not None and options.questions is None and options.asks:
            from .start.prompts import ask_questions

            questions = ask_questions(options.task.with_name(_QUESTIONS))
        if options.question:
            _fetch(chosen, options)
        texts = {options.pool: pool_text(chosen, options.pool, questions)}
        if task is not None:
            texts[task] = task_text(module, task, options.pool, questions)
        write_files(texts, force=options.force)
    _say_written(options.pool, len(chosen), task, questions)
    try:
        if options.question:
            _try(options, questions)
    except KeyboardInterrupt as interrupt:
        kept = " and ".join(str(path) for path in texts)
        raise KeyboardInterrupt(
            f"{kept} {'are' if len(texts) > 1 else 'is'} written."
        ) from interrupt
    _say_next(options.pool, module)


@contextmanager
def _nothing_written() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt("nothing was written.") from interrupt


def _given_questions(options: InitOptions) -> Questions | None:
    """Return the questions that are there without asking; None for none, or for asking."""
    from .start.questions import read_questions

    if options.questions is not None:
        return read_questions(options.questions)
    beside = None if options.task is None else options.task.with_name(_QUESTIONS)
    if beside is None or options.asks or not os.path.isfile(beside):
        return None
    return read_questions(beside)


def _choose(options: InitOptions) -> list[Offer]:
    from .start.offers import chosen_offers, found_models, proposed
    from .start.prompts import ask_models
    from .start.servers import find_servers, given_place, usual_places

    _check_key(options)
    places = usual_places() if options.ports else []
    places += [given_place(address, options.api_key_env) for address in options.addresses]
    servers, silences = find_servers(places)
    if options.asks:
        keyed, silences = _with_keys(silences)
        servers += keyed
    for silence in silences:
        say(f"{silence.place.address} {silence.reason}.{_hint(silence)}")
    for server in servers:
        if not server.models:
            hint = ": `ollama pull qwen2.5:3b` fetches one" if server.kind == "Ollama" else ""
            say(f"{server.kind} at {server.place.address} has no models{hint}.")
    found = found_models(servers)
    _list(found)
    _check_enough(found)
    usual = [found.offers[at] for at in proposed(found.offers)]
    if options.models is not None:
        return chosen_offers(options.models, found.offers)
    if options.proposed:
        return usual
    if not options.asks:
        raise ConfigurationError(
            "init asks which models to use, and there is no terminal to ask on: pass --models "
            f"NAME,NAME, --models all, or --yes for {' and '.join(offer.name for offer in usual)}."
        )
    return ask_models(found.offers)


def _check_key(options: InitOptions) -> None:
    if options.api_key_env is None:
        return
    if not options.addresses:
        raise ConfigurationError("--api-key-env is for the servers at --address: name one.")
    if not os.environ.get(options.api_key_env):
        # What it says may be the key itself.
        raise ConfigurationError(
            "--api-key-env names no environment variable that is set: export NAME=…, and pass "
            "--api-key-env NAME."
        )


def _with_keys(silences: list[Silence]) -> tuple[list[Server], list[Silence]]:
    """Ask for the keys of the servers that want one; return these servers, and what is silent."""
    from .start.prompts import ask_key
    from .start.servers import find_servers

    places = []
    for silence in silences:
        name = ask_key(silence.place.address) if silence.wants_key else None
        if name is not None:
            places.append(replace(silence.place, given=True, api_key_env=name))
    servers, still = find_servers(places)
    keyed = {place.address for place in places}
    return servers, [*(each for each in silences if each.place.address not in keyed), *still]


def _hint(silence: Silence) -> str:
    if not silence.wants_key:
        return ""
    if silence.place.api_key_env is not None:
        return " The one that it was sent is refused."
    return f" Pass --address {silence.place.address} --api-key-env NAME."


def _list(found: Found) -> None:
    from rich.console import Console
    from rich.text import Text

    from .start.offers import listing, some

    console = Console(soft_wrap=True, highlight=False)
    if not any(offer.entry.model for offer in found.offers):
        say("No model server is found.")
        for sentence in _TO_START:
            say(f"- {sentence}")
    if not any(offer.entry.local for offer in found.offers):
        say(f"- {_NO_LLAMA_CPP}")
    for line, heading in listing(found, console.width):
        console.print(Text(visible(line), style="bold" if heading else ""))
    if any(offer.base for offer in found.offers):
        say(_BASE_MODEL)
    if found.left_out:
        say(f"Left out: {some(found.left_out)}.")


def _check_enough(found: Found) -> None:
    if len(found.offers) < 2:
        one = found.offers[0].name if found.offers else ""
        there = f"There is one model, {one}," if one else "There is no model"
        raise ConfigurationError(
            f"{there} and a mux chooses between several: start a server with more, or run pip "
            "install 'dspy-mux[local]' for small models in this process."
        )


def _fetch(chosen: list[Offer], options: InitOptions) -> None:
    from ..local import fetch

    for offer in chosen:
        if offer.entry.local is not None:
            fetch(offer.entry.local, accept_license=options.accept_license)


def _say_written(pool: Path, members: int, task: Path | None, questions: Questions | None) -> None:
    say(f"Wrote {pool}: {members} models{_answers(questions)}.")
    if task is not None and questions is None:
        say(f"Wrote {task}: a few questions, to be replaced by yours.")
    elif task is not None and questions is not None:
        shown = f"; {questions.shown} more show how to answer" if questions.shown else ""
        asked = questions.rows - questions.shown
        say(f"Wrote {task}: {asked} questions of {questions.path}{shown}.")
    if questions is not None and questions.left_out:
        say(_left_out(questions))


def _answers(questions: Questions | None) -> str:
    """Return what the pool file says of the answers, for the end of a sentence."""
    from .start.pool_text import program_of

    if questions is None or not (questions.labels or questions.numbers):
        return ""
    if program_of(questions) is None:
        return "; their answers are text, as a pool file cannot hold a label with ->"
    kind = f"one of {len(questions.labels)} labels" if questions.labels else "a number"
    return f"; each answer is {kind}"


def _left_out(questions: Questions) -> str:
    rows, name = questions.left_out, questions.path
    if len(rows) == 1:
        which, them = f"Row {rows[0]} of {name} lacks", "it is"
    else:
        which, them = f"{len(rows)} rows of {name}, the first row {rows[0]}, lack", "they are"
    return (
        f"{which} a question or an answer: {them} left out here, while `collect --file` refuses "
        f"the file until {them} filled in."
    )


def _try(options: InitOptions, questions: Questions | None) -> None:
    from .start.prompts import ask_question

    question, answer = _FIRST_QUESTION, None
    if questions is not None and len(questions.first[0]) <= _LONGEST_QUESTION:
        question, answer = questions.first
    asked = ask_question(question) if options.asks else question
    say(f"Asking: {asked}")
    ask(asked, pool=options.pool, accept_license=options.accept_license)
    if answer is not None and asked == question:
        say(f"Right, by the file: {answer}")


def _say_next(pool_file: Path, module: str) -> None:
    pool = shlex.quote(str(pool_file))
    lines = [f"dspy-mux check {pool}", f'dspy-mux ask --pool {pool} "…"']
    if module:
        bank = f"runs/{module.rpartition('.')[2]}.sqlite"
        lines += [
            f"dspy-mux collect {module} --pool {pool} --k 9 --bank {bank}",
            f"dspy-mux replay {bank} --k 3 --rule all",
            f"dspy-mux tune {bank} --task {module} --pool {pool} --out mux.json",
        ]
    say("Next:")
    for line in lines:
        print(visible(f"  {line}"))  # to be copied, so not wrapped
