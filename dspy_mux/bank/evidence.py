"""Evidence in rows of files and banks: its columns, and the checks of what a file says."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final

from ..voting.evidence import Evidence

#: Column → field of `Evidence`. Files and banks share the names.
COLUMNS: Final = {
    ("stated_probability" if field.name == "stated" else field.name): field.name
    for field in fields(Evidence)
}
#: The logarithms of the answer's tokens, of which a row may hold a list in place of their sum.
TOKENS: Final = "token_logprobs"
#: Keys of a row that hold evidence.
EVIDENCE_KEYS: Final = frozenset({*COLUMNS, TOKENS})

#: What a value of a row may be that holds a logarithm.
_LOGARITHM = "natural logarithms of probabilities: finite numbers of 0 or less"
_LOGARITHMS = ("answer_logprob", "text_logprob", "lowest_logprob")
_COUNTS = ("answer_tokens", "completion_tokens")
#: A logarithm that is positive by less is 0, rounded.
_ROUNDING = 1e-3
#: Logarithms of files may be rounded to two digits, and so may their sum.
_ROUNDING_OF_EACH = 0.005
_MOST, _LOWEST, _HOTTEST = 10**9, -1e12, 1e6
_NOTHING = Evidence()


def evidence_of(raw: Mapping[str, Any]) -> Evidence:
    """Return the evidence that a row holds, all None where it holds none.

    Raises:
        ValueError: a value is wrong; the message is the end of a sentence that begins with the row.
    """
    for name, value in raw.items():
        if value is not None and (meant := meant_column(name)) is not None:
            raise ValueError(
                f"has {name}, which no rule reads: call it {meant}, or put it under "
                "question_fields if it belongs to the question"
            )
    if raw.keys().isdisjoint(EVIDENCE_KEYS):
        return _NOTHING
    figures: dict[str, Any] = {name: _logarithm(raw.get(name), name) for name in _LOGARITHMS}
    figures.update({name: _count(raw.get(name), name) for name in _COUNTS})
    _add_tokens(figures, raw.get(TOKENS))
    if figures["answer_tokens"] == 0:  # an empty span, whose sum is no probability
        if (figures["answer_logprob"] or 0.0) < -_ROUNDING:
            raise ValueError(
                f"has answer_logprob {figures['answer_logprob']:g} of answer_tokens 0: leave "
                "answer_tokens out if their number is unknown"
            )
        figures["answer_tokens"] = figures["answer_logprob"] = None
    _check_parts(figures)
    return Evidence(
        **figures,
        temperature=_number(raw.get("temperature"), "temperature", _HOTTEST),
        stated=_number(raw.get("stated_probability"), "stated_probability", 1.0),
        finish_reason=_text(raw.get("finish_reason"), "finish_reason"),
    )


@lru_cache(maxsize=1024)  # rows repeat their keys
def meant_column(name: str) -> str | None:
    """Return the column of logarithms that a name differs from in writing alone; None for none.

    >>> meant_column("token_logprob"), meant_column("answer_logprob"), meant_column("question")
    ('token_logprobs', None, None)
    """
    return None if name in EVIDENCE_KEYS else _WRITTEN.get(_bare(name))


def _bare(name: str) -> str:
    """Return a name without its case, its separators and its plurals."""
    return re.sub(r"[\W_s]", "", name.casefold())


_WRITTEN = {_bare(name): name for name in (*_LOGARITHMS, TOKENS)}


def values_of(evidence: Evidence) -> dict[str, Any]:
    """Return a bank's columns of a draw's evidence; but for its tokens, which the draw counts."""
    values = {
        column: getattr(evidence, name)
        for column, name in COLUMNS.items()
        if column != "completion_tokens"
    }
    for name in _LOGARITHMS:
        if (value := values[name]) is not None:
            values[name] = min(0.0, value)
    return values


def _check_parts(figures: Mapping[str, Any]) -> None:
    """Raise ValueError where the text is more probable than the answer, which is a part of it."""
    answer, text = figures["answer_logprob"], figures["text_logprob"]
    if answer is None or text is None:
        return
    if text - answer > _ROUNDING_OF_EACH * ((figures["answer_tokens"] or 1) + 1):
        raise ValueError(
            f"has text_logprob {text:g} and answer_logprob {answer:g}: a text cannot be more "
            "probable than the answer in it"
        )


def _add_tokens(figures: dict[str, Any], values: Any) -> None:
    """Fill in the sum and the number of an answer's tokens.

    Raises:
        ValueError: the list is wrong, or the row has another sum or number.
    """
    if values is None:
        return
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"has {TOKENS} {reprlib.repr(values)}, which must be a list of numbers")
    for at, value in enumerate(values, 1):
        if not _is_logarithm(value):
            raise ValueError(
                f"has {TOKENS} whose element {at} is {reprlib.repr(value)}: all must be "
                f"{_LOGARITHM}"
            )
    count, total = len(values), math.fsum(min(0.0, value) for value in values)
    known, said = figures["answer_tokens"], figures["answer_logprob"]
    if known not in (None, count):
        raise ValueError(f"has answer_tokens {known}, and {TOKENS} of {count}: give one of them")
    if said is None:
        figures["answer_logprob"] = total
    elif abs(said - total) > _ROUNDING_OF_EACH * (count + 1):
        raise ValueError(
            f"has answer_logprob {said:g}, and {TOKENS} whose sum is {total:.6g}: give one of them"
        )
    figures["answer_tokens"] = count


def _logarithm(value: Any, key: str) -> float | None:
    if value is None:
        return None
    if not _is_logarithm(value):
        raise ValueError(f"has {key} {reprlib.repr(value)}, which must be {_LOGARITHM}")
    return min(0.0, float(value))


def _is_logarithm(value: Any) -> bool:
    return _is_number(value) and _LOWEST < value <= _ROUNDING


def _count(value: Any, key: str) -> int | None:
    if value is None:
        return None
    if not (_is_number(value) and 0 <= value < _MOST and value == int(value)):
        raise ValueError(f"has {key} {reprlib.repr(value)}, which must be a whole number")
    return int(value)


def _number(value: Any, key: str, most: float) -> float | None:
    if value is None:
        return None
    if not (_is_number(value) and 0 <= value <= most):
        raise ValueError(
            f"has {key} {reprlib.repr(value)}, which must be a number from 0 to {most:g}"
        )
    return float(value)


def _text(value: Any, key: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"has {key} {reprlib.repr(value)}, which must be text")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
