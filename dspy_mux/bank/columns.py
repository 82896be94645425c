"""Values of a row's columns in the forms in which tables and logs hold them.

pandas makes a draw 0.0 and an id 7.0 where a cell is empty; CSV has text alone; scorers write "C"
and "I", and clocks write 2026-01-31T12:00:00Z.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Final

from .evidence import EVIDENCE_KEYS, TOKENS

#: Each digit in one place only, or a long text would take quadratic time.
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?")
_VERDICTS: Final[Mapping[str, bool | float]] = {
    "c": True,
    "correct": True,
    "true": True,
    "i": False,
    "incorrect": False,
    "false": False,
    "n": False,  # no answer
    "p": 0.5,  # partly
}
#: Seconds since 1970 are fewer until the year 5138: more are milliseconds, or finer.
_MOST_SECONDS = 1e11
_TEXTS = frozenset({"finish_reason"})


def plain(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its columns as numbers, truth values and names, as far as they are some.

    A column without a value is left out. What cannot be read stays as it is.

    >>> plain({"question_id": 7.0, "draw": "0.0", "correct": "C", "cost": float("nan")})
    {'question_id': 7, 'draw': 0, 'correct': True}
    """
    changed: dict[str, Any] = {}
    for name in raw:
        if (read := _COLUMNS.get(name)) is not None:
            value = raw[name]
            if (found := read(value)) is not value:
                changed[name] = found
    if not changed:
        return raw
    row = {**raw, **changed}
    return {name: value for name, value in row.items() if name not in changed or value is not None}


def verdict(value: object) -> object:
    """Return a score as a number or a truth value: of "C" and "I", "true", "0.5"."""
    if isinstance(value, str):
        found = _VERDICTS.get(value.strip().casefold())
        return _number(value) if found is None else found
    return _number(value)


def seconds(value: object) -> object:
    """Return a time as seconds since 1970: of ISO 8601, with UTC where it names no zone."""
    value = _number(value)
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(re.sub(r"Z$", "+00:00", value.strip()))
    if isinstance(value, datetime):
        zoned = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        with suppress(OverflowError, ValueError):
            return zoned.timestamp()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        scaled: float = value
        while _MOST_SECONDS < abs(scaled) < math.inf:
            scaled /= 1000
        return value if scaled == value else scaled
    return value


def _number(value: object) -> object:
    """Return a number, also of text; None for NaN and blank text; anything else as it is."""
    if isinstance(value, str):
        text = value.strip()
        if not text or text.casefold() == "nan":
            return None
        if not _NUMBER.fullmatch(text):
            return value
        if text.lstrip("+-").isdecimal() and len(text) < 20:
            return int(text)
        return float(text)
    return None if isinstance(value, float) and math.isnan(value) else value


def _count(value: object) -> object:
    value = _number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _name(value: object) -> object:
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else repr(value)
    return value


def _list(value: object) -> object:
    if isinstance(value, str):
        if not value.strip():
            return None
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def _blank(value: object) -> object:
    blank = value == "" or (isinstance(value, float) and math.isnan(value))
    return None if blank else value


_COLUMNS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(EVIDENCE_KEYS - _TEXTS - {TOKENS}, _number),
    **dict.fromkeys(_TEXTS, _blank),
    **dict.fromkeys(("dataset", "program", "question_fingerprint", "answer_class"), _blank),
    **dict.fromkeys(("cause", "outputs", "question_fields"), _blank),
    **dict.fromkeys(("calls", "prompt_tokens", "seconds", "cost"), _number),
    **dict.fromkeys(("question_id", "model", "member"), _name),
    TOKENS: _list,
    "correct": verdict,
    "score": verdict,
    "created": seconds,
    "draw": _count,
}
