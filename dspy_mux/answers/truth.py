"""Truth words: find whether a text says yes or no, true or false."""

from __future__ import annotations

import re

from .plain_text import TAIL, fold, normalise, unwrap

_TRUTH = {"yes": True, "true": True, "no": False, "false": False}
_TRUTH_WORD = re.compile(r"(?<![\w'-])(not\s)?(yes|no|true|false)(?![\w'-])", re.I)


def read_truth(text: str) -> bool | None:
    """Return the truth value of a text that is one truth word; None for any other text."""
    return _TRUTH.get(fold(text))


def truth_in_text(text: str) -> bool | None:
    """Return the truth value that a text settles on, or None.

    A whole line counts first, then the first word, the last word, and the only value. A "no" in
    the middle of a sentence is a determiner and does not count.

    >>> truth_in_text("Yes, there is no doubt.")
    True
    """
    text = normalise(text[-TAIL:])
    lines = [_TRUTH.get(unwrap(line).lower()) for line in text.splitlines()]
    if whole := [value for value in lines if value is not None]:
        return whole[-1]
    text = text.strip(" \t\n*_`\"'#>")
    found = list(_TRUTH_WORD.finditer(text))
    if not found:
        return None
    values = [_TRUTH[match[2].lower()] is not bool(match[1]) for match in found]
    if found[0].start() == 0 and re.match(r"[*_]{0,2}\s?[,.:;!—-]|\n", text[found[0].end() :]):
        return values[0]
    if re.fullmatch(r"[\s.!*_`\"']*", text[found[-1].end() :]):
        return values[-1]
    settled = {
        value for match, value in zip(found, values, strict=True) if match[2].lower() != "no"
    }
    return settled.pop() if len(settled) == 1 else None
