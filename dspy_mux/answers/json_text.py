"""JSON in text: read a text that is JSON, or the objects and arrays inside free text.

Python's way of writing the same (`['a', None]`) is read too, without evaluating anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from .plain_text import FENCE, unfence

_JSON_TAIL = 200_000
_MAX_FAILURES = 500
_MAX_LITERALS = 50  # texts in Python's writing that are tried
_LONGEST_LITERAL = 20_000
_OPENING = re.compile(r"[{\[]")
_TOKEN = re.compile(
    r"'((?:[^'\\\n]|\\.){0,10000})'|\"(?:[^\"\\]|\\.){0,10000}\"|\b(True|False|None)\b"
    r"|,(?=\s{0,99}[\])}])|[{}\[\]()]"
)
_CONSTANTS = {"True": "true", "False": "false", "None": "null"}
_CLOSING = {"{": "}", "[": "]", "(": "]"}
#: Names under which an object holds its answer, best first.
_ANSWER_NAMES = (
    ("answer", "final_answer", "finalanswer", "the_answer", "correct_answer", "answer_choice",
     "final", "antwort", "réponse", "respuesta", "resposta", "risposta", "答案", "답", "答え",
     "ответ"),
    ("choice", "option", "label", "prediction", "response", "result", "output", "solution", "value",
     "verdict", "classification", "category", "class", "sentiment", "selected_option", "decision"),
)  # fmt: skip


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, if no name in it has two values."""
    value = dict(pairs)
    if len(value) < len(pairs) and any(value[name] != given for name, given in pairs):
        raise ValueError("two values under one name")
    return value


#: Names of what is said beside an answer, which is never the answer.
_BESIDE = {
    "reasoning", "rationale", "reason", "thought", "thoughts", "thinking", "explanation",
    "analysis", "note", "notes", "comment", "error", "confidence", "status", "message",
}  # fmt: skip


class JsonSpan(NamedTuple):
    """A JSON value in a text, and where it stands."""

    value: Any
    start: int
    end: int


def read_json(text: str) -> Any:
    """Return the value of a text that is JSON.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or holds a number that is too long.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def json_values(text: str) -> list[Any]:
    """Return the JSON objects and arrays in a text, outermost only, in order.

    >>> json_values('first [1, 2], then {"a": [3]}')
    [[1, 2], {'a': [3]}]
    """
    return [span.value for span in json_spans(text)]


def json_spans(text: str) -> Iterator[JsonSpan]:
    """Yield the JSON objects and arrays in the end of a text, outermost only, in order."""
    cut = max(0, len(text) - _JSON_TAIL)
    text, failures, literals, position = text[cut:], 0, 0, 0
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    while failures < _MAX_FAILURES and (match := _OPENING.search(text, position)):
        try:
            value, position = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            literals += 1
            literal = _literal(text, match.start()) if literals <= _MAX_LITERALS else None
            if literal is None:
                failures, position = failures + 1, match.start() + 1
                continue
            value, position = literal
        yield JsonSpan(value, cut + match.start(), cut + position)


def _literal(text: str, start: int) -> tuple[Any, int] | None:
    """Return the list, tuple, set or dict that Python's writing at `start` means, and its end."""
    window = text[start : start + _LONGEST_LITERAL]
    pieces: list[str] = []
    opened: list[str] = []
    done = 0
    for token in _TOKEN.finditer(window):
        piece, written = token.group(), token.group()
        if token[1] is not None:
            written = json.dumps(re.sub(r"\\(['\"\\])", r"\1", token[1]))
        elif piece in _CONSTANTS:
            written = _CONSTANTS[piece]
        elif piece == ",":
            written = ""
        elif piece in _CLOSING:
            opened.append(_CLOSING[piece])
            written = "[" if piece == "(" else piece
        elif piece in "}])":
            if not opened or opened[-1] != ("]" if piece == ")" else piece):
                return None
            written = opened.pop()
        pieces += [window[done : token.start()], written]
        done = token.end()
        if not opened:
            return _decoded("".join(pieces), start + done)
    return None


def _decoded(literal: str, end: int) -> tuple[Any, int] | None:
    for written in (literal, f"[{literal[1:-1]}]"):  # a set is written like an object
        try:
            return json.loads(written, object_pairs_hook=_object), end
        except (ValueError, RecursionError):
            if not literal.startswith("{"):
                break
    return None


def lone_json(text: str) -> list[JsonSpan]:
    """Return the JSON values that a text is or ends with, fenced or not; no word between them."""
    stripped = text.rstrip()
    fenced = stripped.endswith("```") and len(stripped) > 6
    if not fenced and stripped[-1:] not in ("}", "]"):
        return []
    cut = max(0, len(text) - _JSON_TAIL)
    start, content = cut, text[cut:].rstrip()
    if fenced:
        blocks = list(FENCE.finditer(text, cut))
        if not blocks:
            return []
        start, content = blocks[-1].start(1), blocks[-1][1].rstrip()
    found: list[JsonSpan] = []
    end = len(content)
    for span in reversed(list(json_spans(content))):
        if re.search(r"\w", content[span.end : end]):
            break
        found.insert(0, JsonSpan(span.value, start + span.start, start + span.end))
        end = span.start
    return found


def answer_of_json(value: Any) -> list[Any]:
    """Return what an object holds under the name of an answer, or as its only value; else nothing.

    >>> answer_of_json({"reasoning": "3 + 4", "answer": 7})
    [7]
    """
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]
    if not isinstance(value, dict):
        return []
    named = {str(name).strip().casefold().replace(" ", "_"): name for name in value}
    for names in _ANSWER_NAMES:
        found = [named[name] for name in names if name in named]
        if len(found) == 1 or (found and names is _ANSWER_NAMES[0]):
            return [value[found[0]]]
    only = [inner for name, inner in value.items() if str(name).strip().casefold() not in _BESIDE]
    return only if len(value) == len(only) == 1 and isinstance(only[0], (str, int, float)) else []


def is_beside(text: str) -> bool:
    """Return whether a text is an object that holds reasoning, notes or an error, and no answer.

    >>> is_beside('{"reasoning": "It may be 24."}'), is_beside('{"answer": 24}')
    (True, False)
    """
    shown = unfence(text).strip()
    if not (shown.startswith("{") and shown.endswith("}")) or len(shown) > _JSON_TAIL:
        return False
    try:
        value = read_json(shown)
    except ValueError:
        return False
    names = {str(name).strip().casefold() for name in value}
    return bool(names) and names <= _BESIDE
