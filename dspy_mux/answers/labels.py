"""Labels of options: find the "B" of "(B) Paris", "Option B" or a line that is "B." alone."""

from __future__ import annotations

import re
from collections.abc import Container

from .plain_text import TAIL

_LABEL = r"(?:\d{1,3}|[A-Za-z])"
# Before a bare space, a letter that can be a word is not a label: "A good one, I think".
_LEADING_LABEL = re.compile(
    rf"""\W{{0,4}}(?:(?:option|choice|answer)\s*)?[(\[]?({_LABEL})
    (?:[)\].:,;](?!\d) | \s*[-–]\s | \W{{0,4}}$ | \s(?:because|since|as)\b
    | (?<=(?-i:[B-HJ-Z]))\s)""",
    re.IGNORECASE | re.VERBOSE,
)
_LONE_LABEL = re.compile(rf"^[ \t>*_(\[`]{{0,6}}({_LABEL})[ \t*_)\].:`]{{0,6}}$", re.M)
_SHOWN_LABEL = re.compile(
    rf"(?<!\w)(?:\(({_LABEL})\)|\*\*\(?({_LABEL})[).:]?\*\*|(?:option|choice)\s+\(?({_LABEL})\b(?!'))",
    re.I,
)
_LINE_LABEL = re.compile(rf"^[ \t>*_-]{{0,6}}\(?({_LABEL})[).:](?=[\s*_]|$)", re.M)


def leading_label(answer: str) -> str | None:
    """Return the label that a marked answer starts with: `B`, `(B) Paris`, `B. Paris`, `Option B`.

    >>> leading_label("B. Paris")
    'B'
    """
    match = _LEADING_LABEL.match(answer[:200])
    return match.group(1) if match else None


def label_in_text(text: str, labels: Container[str]) -> str | None:
    """Return the last label in a text that is written as one.

    Neither "A good approach" nor "correct" names an option.

    Args:
        text: free text.
        labels: the existing labels, case-folded.
    """
    text = text[-TAIL:]
    for form in (_LONE_LABEL, _SHOWN_LABEL, _LINE_LABEL):
        found = [next(filter(None, match.groups())) for match in form.finditer(text)]
        found = [label for label in found if label.casefold() in labels]
        # Labels that start lines may repeat the options: they count only where a single one does.
        if found and (form is not _LINE_LABEL or len(set(found)) == 1):
            return found[-1]
    return None
