"""Whether right answers are a few labels, and the type that names them."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: More labels, longer ones, or fewer rows for each are free text.
_MOST_LABELS, _LONGEST_LABEL, _FEWEST_ROWS = 12, 40, 3
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?")


def labels_of(answers: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that right answers consist of, sorted; none where they are free text.

    >>> labels_of(["bug", "billing", "bug", "billing", "bug", "billing"])
    ('billing', 'bug')
    >>> labels_of(["Paris", "Tripoli", "Paris"])
    ()
    """
    labels = sorted(set(answers))
    alike = len({label.casefold() for label in labels}) < len(labels)
    several = 2 <= len(labels) <= _MOST_LABELS and len(answers) >= _FEWEST_ROWS * len(labels)
    short = all(0 < len(label) <= _LONGEST_LABEL for label in labels)
    return tuple(labels) if several and short and not alike and not are_numbers(labels) else ()


def are_numbers(answers: Sequence[str]) -> bool:
    """Return whether all are plain numbers, such as 42 or -1.5."""
    return all(map(_NUMBER.fullmatch, answers))


def literal(labels: Sequence[str]) -> str:
    """Return the type whose values are labels, as it is written.

    >>> literal(["billing", "bug"])
    'Literal["billing", "bug"]'
    """
    return f"Literal[{', '.join(map(quoted, labels))}]"


def quoted(text: str) -> str:
    """Return a text as Python writes it, in double quotes where that needs no escapes."""
    written = repr(text)
    return f'"{written[1:-1]}"' if '"' not in written and "\\" not in written else written
