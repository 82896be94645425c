"""What recorded questions say: an id is the file's word, and the content decides which it is."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

#: Fields of a question that state it, or its right answer. Others, such as a split or a run, may
#: differ from file to file.
STATED = (
    "question",
    "problem",
    "query",
    "answer",
    "gold",
    "gold_answer",
    "correct_answer",
    "expected",
    "expected_answer",
    "ground_truth",
    "reference_answer",
    "target",
    "label",
)


def stated(fields: Mapping[str, Any], names: Iterable[str] = STATED) -> dict[str, Any]:
    """Return the fields that state a question or its right answer, as far as they are filled."""
    return {
        name: fields[name]
        for name in names
        if isinstance(fields.get(name), (str, int, float)) and fields[name] != ""
    }


def disagreement(known: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return the first field in which two statements differ; None where they may be one question.

    >>> disagreement({"question": "2 + 2?", "gold": 4}, {"question": "2 + 2?", "gold": "5"})
    'gold'
    >>> disagreement({"question": "2 + 2?", "gold": 4}, {"question": " 2 + 2? ", "gold": "4.0"})
    """
    for name, value in stated(known).items():
        if name in other and stated(other, [name]) and not _same(value, other[name]):
            return name
    return None


def shown_field(name: str, fields: Mapping[str, Any]) -> str:
    """Return a field for a message, such as `question 'How many …'`."""
    return f"{name} {reprlib.repr(fields[name])}"


def _same(one: object, other: object) -> bool:
    texts = [" ".join(str(value).split()) for value in (one, other)]
    if texts[0] == texts[1]:
        return True
    try:
        first, second = map(float, texts)
    except ValueError:
        return False
    return first == second or (math.isnan(first) and math.isnan(second))
