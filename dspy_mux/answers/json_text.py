"""JSON in text: read a text that is JSON, or the objects and arrays inside free text."""

from __future__ import annotations

import json
import re
from typing import Any

_JSON_TAIL = 200_000
_MAX_FAILURES = 500
_OPENING = re.compile(r"[{\[]")


def read_json(text: str) -> Any:
    """Return the value of a text that is JSON.

    Raises:
        ValueError: the text is not JSON, is nested too deeply, or holds a number that is too long.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


def json_values(text: str) -> list[Any]:
    """Return the JSON objects and arrays in a text, outermost only, in order.

    >>> json_values('first [1, 2], then {"a": [3]}')
    [[1, 2], {'a': [3]}]
    """
    text, found, failures, position = text[-_JSON_TAIL:], [], 0, 0
    decoder = json.JSONDecoder()
    while failures < _MAX_FAILURES and (match := _OPENING.search(text, position)):
        try:
            value, position = decoder.raw_decode(text, match.start())
            found.append(value)
        except (ValueError, RecursionError):
            failures, position = failures + 1, match.start() + 1
    return found
