"""Write a pool file for people: what is chosen, and what could be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import ConfigurationError
from .offers import Offer
from .questions import Questions

K, TEMPERATURE = 3, 0.5
_HEAD = """\
# Small models that answer together.
#
#     dspy-mux ask --pool {name} "What is the capital of Libya?"
#
# All settings: https://dspy-mux.github.io/dspy-mux/models/#pool-files

{program}k = {k}                # draws of each member for a question
temperature = {temperature}    # above 0, or a member's draws would all be alike

# Where members are equally sure, the first of them wins: put the best one first.
"""
_FOOT = """
# A hosted model is a member too:
# [[members]]
# model = "together_ai/google/gemma-2-9b-it"
# api_key_env = "TOGETHERAI_API_KEY"    # the variable that holds the key, never the key
"""


def pool_text(offers: Sequence[Offer], path: Path, questions: Questions | None = None) -> str:
    """Return the text of a pool file of these members.

    Args:
        questions: say what the answers are, numbers or labels; None for text.
    """
    place = None
    signature = program_of(questions)
    program = "" if signature is None else f"program = {_literal(signature)}\n"
    text = _HEAD.format(name=path.as_posix(), program=program, k=K, temperature=TEMPERATURE)
    for offer in offers:
        text += "\n"
        if offer.place != place:
            place = offer.place
            text += f"# {place}\n"
        text += "\n".join(_table(offer)) + "\n"
    return text + _FOOT


def program_of(questions: Questions | None) -> str | None:
    """Return the signature where the answers have a type that a pool file can hold; else None."""
    from ...bank.labels import literal
    from ...mux.signature_text import parse_signature

    if questions is None or not (questions.numbers or questions.labels):
        return None
    kind = literal(questions.labels) if questions.labels else "float"
    signature = f"question -> answer: {kind}"
    try:
        parse_signature(signature)
    except ConfigurationError:  # a label with an arrow, say
        return None
    return signature


def _table(offer: Offer) -> Iterator[str]:
    entry = offer.entry
    yield "[[members]]" + (f"    # {offer.about}" if offer.about else "")
    for key in ("name", "local", "model", "api_base"):
        if (value := getattr(entry, key)) is not None:
            yield f"{key} = {_quoted(value)}"
    if entry.api_key_env is not None:
        note = "the variable that holds the key, never the key"
        yield f"api_key_env = {_quoted(entry.api_key_env)}    # {note}"
    if entry.options.get("cache") is False:
        yield "options = { cache = false }    # DSPy's cache would mix it up with its namesake"


def _literal(text: str) -> str:
    """Return a TOML string without escapes, where single quotes can hold the text."""
    plain = text.isprintable() and "'" not in text
    return f"'{text}'" if plain and '"' in text else _quoted(text)


def _quoted(text: str) -> str:
    """Return a TOML string; JSON's are TOML's too where nothing is a control character."""
    return json.dumps(text, ensure_ascii=False)
