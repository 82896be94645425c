"""Find the value in a bank's tables that no bank of dspy-mux holds, once reading has stumbled.

A bank may be a stranger's file. SQLite stores anything in any column, so every value is suspect; to
check each at every reading would cost more than the reading.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from ...errors import DataError
from ...sampling.members import MOST_DRAWS
from .schema import draws, programs, questions

#: Answer classes are numbered in 32 bits, scores are kept in as many.
MOST_CLASSES, HIGHEST_SCORE = 2**31, 3e38
#: Whether a value is right, and what it must be.
Check = tuple[Callable[[Any], bool], str]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_json(value: Any, kind: type = object) -> bool:
    try:
        return isinstance(value, str) and isinstance(json.loads(value), kind)
    except (ValueError, RecursionError):
        return False


def _whole(below: int) -> Check:
    return (
        lambda value: isinstance(value, int) and 0 <= value < below,
        f"a whole number from 0 to {below - 1}",
    )


def _optional(check: Check) -> Check:
    is_right, what = check
    return lambda value: value is None or is_right(value), f"{what}, or NULL"


_TEXT: Check = (_is_text, "text")
_JSON: Check = (_is_json, "JSON")
_OBJECT: Check = (lambda value: _is_json(value, dict), "a JSON object")
_AMOUNT: Check = (lambda value: _is_number(value) and math.isfinite(value), "a number")
_SCORE: Check = (lambda value: _is_number(value) and abs(value) < HIGHEST_SCORE, "a number")
_CHECKS: dict[sa.Table, Mapping[str, Check]] = {
    questions: {"dataset": _TEXT, "fingerprint": _TEXT, "name": _TEXT, "fields": _OBJECT},
    programs: {"member": _TEXT, "fingerprint": _TEXT, "description": _OBJECT},
    draws: {
        "question": _whole(2**63),
        "program": _whole(2**63),
        "draw": _whole(MOST_DRAWS),
        "answer": _optional(_JSON),
        "answer_class": _optional(_whole(MOST_CLASSES)),
        "score": _optional(_SCORE),
        "cause": _optional(_TEXT),
        "outputs": _optional(_OBJECT),
        **dict.fromkeys(("calls", "prompt_tokens", "completion_tokens"), _optional(_AMOUNT)),
        **dict.fromkeys(("seconds", "cost"), _optional(_AMOUNT)),
        "created": _AMOUNT,
    },
}

#: Those of a draw's columns that nothing else would stumble over.
_PLAIN = {
    name: is_right
    for name, (is_right, _) in _CHECKS[draws].items()
    if name not in ("question", "program", "answer", "outputs")
}


def check_draw(row: Any) -> None:
    """Raise ValueError where a draw's row has a wrong value, JSON aside."""
    for name, is_right in _PLAIN.items():
        if not is_right(getattr(row, name)):
            raise ValueError(f"{name} is wrong")


def find_fault(connection: sa.Connection, bank: str) -> DataError | None:
    """Return the error that names the first wrong value in a bank; None where all are right."""
    for table, checks in _CHECKS.items():
        # Without their types, which would stumble too.
        columns = [sa.type_coerce(table.c[name], sa.types.NullType()) for name in checks]
        query = sa.select(table.c.id, *columns).order_by(table.c.id)
        for row, *values in connection.execution_options(yield_per=5000).execute(query):
            for (name, (is_right, what)), value in zip(checks.items(), values, strict=True):
                if not is_right(value):
                    return DataError(
                        f"The bank {bank} has {reprlib.repr(value)} as the {name} in row {row} of "
                        f"{table.name}, which must be {what}: it was damaged or not written by "
                        "dspy-mux, so correct or delete that row."
                    )
    return None
