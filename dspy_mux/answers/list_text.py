"""Lists that are written out: bullets, numbered lines, or items between commas."""

from __future__ import annotations

import re

from .plain_text import tail, unwrap

_TAGGED = re.compile(r"\s*<(\w{1,40})>(.*)</\1>\s*", re.DOTALL)
_BULLET = re.compile(r"[ \t]{0,3}(?:[-*•+–]|\(?(?P<number>\d{1,3})[.)])[ \t]+(?P<item>\S.*)")
#: What may follow a list without being a part of it.
_COURTESY = re.compile(r"\W*(?:let me|feel free|i hope|hope this|these|please|if you)\b", re.I)
#: A text with these is a sentence, of which the items are not all it says.
_SENTENCE = re.compile(
    r"[.!?][ \t]+\S|:\s|\b(?:is|are|was|were|be|has|have|but|because|since|if|not|or|can|could"
    r"|would|should|I|we|you|it|they|which|who)\b",
)
_LONGEST_ITEM = 60
_MOST_WORDS = 6


def list_items(text: str) -> list[str] | None:
    """Return the items of the one list that a text is or shows; None where it shows none.

    >>> list_items("Here they are:\\n\\n1. Vienna\\n2. Graz")
    ['Vienna', 'Graz']
    >>> list_items("red, green and blue")
    ['red', 'green', 'blue']
    >>> list_items("The members are Ann and Bo, but not all of them.") is None
    True
    """
    text = tail(text).strip()
    if tagged := _TAGGED.fullmatch(text):
        text = tagged[2].strip()
    return _lines(text) or _inline(text)


def _lines(text: str) -> list[str] | None:
    """Return the items of the only run of bullets or numbered lines."""
    items: list[str] = []
    numbers: list[str] = []
    after: list[str] = []
    for line in filter(str.strip, text.splitlines()):
        bullet = _BULLET.fullmatch(line)
        if bullet is None:
            after += [line] if items else []
        elif after:
            return None  # the lists are two, or an item goes on over lines
        else:
            items.append(unwrap(bullet["item"]))
            numbers.append(bullet["number"] or "")
    counted = [str(number) for number in range(1, len(items) + 1)]
    if len(items) < 2 or (any(numbers) and numbers != counted):
        return None
    return items if not after or _COURTESY.match(after[0]) else None


def _inline(text: str) -> list[str] | None:
    """Return the items of a line that is nothing but a list."""
    line = unwrap(text)
    if line.startswith("[") and line.endswith("]"):  # not JSON: [10^6, 3]
        line = line[1:-1]
    if len(line) > 2_000 or re.search(r"[\[\]{}\"\n]", line) or _SENTENCE.search(line):
        return None
    if ";" in line:
        parts = line.split(";")
    elif re.search(r",\s", line):  # "1,234, 56" has two items
        parts = re.split(r",\s+(?:and\s+)?|\s+and\s+", line)
    else:
        parts = re.split(r"[,、，]", line)
    items = [unwrap(part) for part in parts]
    if len(items) < 2 or not all(items):
        return None
    is_short = all(len(item) <= _LONGEST_ITEM and item.count(" ") < _MOST_WORDS for item in items)
    return items if is_short else None
