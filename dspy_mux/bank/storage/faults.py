"""Find the value in a bank's tables that no bank of dspy-mux holds, once reading has stumbled.

A bank may be a stranger's file. SQLite stores anything in any column, so every value is suspect; to
check each at every reading would cost more than the reading.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
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


_ID = _whole(2**63)
_TEXT: Check = (_is_text, "text")
_JSON: Check = (_is_json, "JSON")
_OBJECT: Check = (lambda value: _is_json(value, dict), "a JSON object")
_AMOUNT: Check = (lambda value: _is_number(value) and math.isfinite(value), "a number")
_LOGARITHM: Check = (lambda value: _is_number(value) and -1e300 < value <= 0, "a number up to 0")
_SHARE: Check = (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1")
_HEAT: Check = (lambda value: _is_number(value) and 0 <= value < math.inf, "a number from 0")
_SCORE: Check = (lambda value: _is_number(value) and abs(value) < HIGHEST_SCORE, "a number")
_CHECKS: dict[sa.Table, Mapping[str, Check]] = {
    questions: {
        "id": _ID,
        "dataset": _TEXT,
        "fingerprint": _TEXT,
        "name": _TEXT,
        "fields": _OBJECT,
    },
    programs: {"id": _ID, "member": _TEXT, "fingerprint": _TEXT, "description": _OBJECT},
    draws: {
        "question": _ID,
        "program": _ID,
        "draw": _whole(MOST_DRAWS),
        "answer": _optional(_JSON),
        "answer_class": _optional(_whole(MOST_CLASSES)),
        "score": _optional(_SCORE),
        "cause": _optional(_TEXT),
        "outputs": _optional(_OBJECT),
        **dict.fromkeys(("calls", "prompt_tokens", "completion_tokens"), _optional(_AMOUNT)),
        **dict.fromkeys(("seconds", "cost"), _optional(_AMOUNT)),
        "created": _AMOUNT,
        **dict.fromkeys(
            ("answer_logprob", "text_logprob", "lowest_logprob"), _optional(_LOGARITHM)
        ),
        "answer_tokens": _optional(_whole(10**9)),
        "temperature": _optional(_HEAT),
        "finish_reason": _optional(_TEXT),
        "stated_probability": _optional(_SHARE),
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
        if not is_right(getattr(row, name, None)):  # banks of older versions lack evidence
            raise ValueError(f"{name} is wrong")


def check_ids(ids: Sequence[object]) -> None:
    """Raise ValueError where a row of a stranger's table has no id."""
    if not all(map(_ID[0], ids)):
        raise ValueError("an id is wrong")


def check_owners(connection: sa.Connection) -> None:
    """Raise ValueError where a draw is of a question or program that the bank does not have.

    Joins would leave it out.
    """
    for column, owners in ((draws.c.question, questions), (draws.c.program, programs)):
        if connection.execute(_orphans(column, owners).limit(1)).first() is not None:
            raise ValueError(f"a draw has no {column.name}")


def _orphans(column: sa.Column[Any], owners: sa.Table) -> sa.Select[Any]:
    unknown = column.is_(None) | column.not_in(
        sa.select(owners.c.id).where(owners.c.id.is_not(None))
    )
    return sa.select(draws.c.id).where(unknown)


def find_fault(connection: sa.Connection, bank: str) -> DataError | None:
    """Return the error that names the first wrong value in a bank; None where all are right."""
    for table, every in _CHECKS.items():
        there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        checks = {name: check for name, check in every.items() if name in there}
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
    return _find_orphans(connection, bank)


def _find_orphans(connection: sa.Connection, bank: str) -> DataError | None:
    for column, owners in ((draws.c.question, questions), (draws.c.program, programs)):
        rows = connection.execute(_orphans(column, owners).order_by(draws.c.id)).scalars().all()
        if rows:
            count = "a draw" if len(rows) == 1 else f"{len(rows)} draws"
            first = f"row {rows[0]} of {draws.name}"
            return DataError(
                f"The bank {bank} has {count} of a {column.name} that is not in {owners.name} "
                f"({first if len(rows) == 1 else f'the first is {first}'}): it was damaged or not "
                "written by dspy-mux. Delete these rows, or salvage the bank (dspy-mux bank "
                "salvage), which leaves them out."
            )
    return None
