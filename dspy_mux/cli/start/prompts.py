"""What `dspy-mux init` asks on a terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ...errors import ConfigurationError, DataError
from ..output import say
from .offers import Offer, as_numbers, chosen_offers, proposed
from .questions import Questions, read_questions

Answer = TypeVar("Answer")


def can_ask() -> bool:
    """Return whether there is somebody to ask: a terminal on both sides."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stdout.isatty())


def ask_models(offers: Sequence[Offer]) -> list[Offer]:
    """Ask which models to use."""
    usual = as_numbers(proposed(offers))
    prompt = f"Which models? Numbers, a range such as 1-3, or all [{usual}]: "
    return _until_right(prompt, lambda text: chosen_offers(text or usual, offers))


def ask_questions(usual: Path) -> Questions | None:
    """Ask for a file of questions; None for none yet."""
    shown = f" [{usual}]" if usual.is_file() else " [none yet]"
    prompt = f"A CSV file with columns question and answer{shown}: "

    def read(text: str) -> Questions | None:
        if text.lower() in ("none", "no", "n"):
            return None
        if not text:
            return read_questions(usual) if usual.is_file() else None
        return read_questions(Path(text).expanduser())

    return _until_right(prompt, read)


def ask_key(address: str) -> str | None:
    """Ask for the environment variable that holds a server's key; None to leave the server out."""

    def name(text: str) -> str | None:
        if text and not re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII):
            raise ConfigurationError("That is not the name of an environment variable.")
        if text and not os.environ.get(text):
            raise ConfigurationError("No variable of that name is set: export it, and begin anew.")
        return text or None

    prompt = f"The environment variable with the key of {address} [leave it out]: "
    return _until_right(prompt, name)


def ask_question(usual: str) -> str:
    """Ask for a question to try the models with."""
    return _typed(f"A question to try them with [{usual}]: ") or usual


def _until_right(prompt: str, read: Callable[[str], Answer]) -> Answer:
    while True:
        try:
            return read(_typed(prompt))
        except (ConfigurationError, DataError) as error:
            say(str(error))


def _typed(prompt: str) -> str:
    """Return a line; the end of the input is an interrupt."""
    try:
        return input(prompt).strip()
    except (EOFError, KeyboardInterrupt) as end:
        print()
        raise KeyboardInterrupt from end
