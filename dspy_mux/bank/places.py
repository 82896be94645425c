"""Where recorded draws stand in a record's arrays: each member's draws side by side, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ..errors import DataError
from ..voting.tally import Floats, Ints

#: Cells of an array for each draw in it, and cells that are never too many.
_SPARSEST, _SMALL = 200, 2 * 10**7

Shape: TypeAlias = tuple[int, int, int]


def places(
    question: Ints, member: Ints, draw: Ints, members: int, source: str
) -> tuple[tuple[Ints, Ints, Ints], Shape]:
    """Return where each draw stands, and the shape [Q, M, D] of the arrays.

    Draw numbers may have gaps, as in a bank of which samples were lost: a draw stands at its rank
    among its member's for its question, so that all count.

    Args:
        question, member, draw: of each draw, numbers from 0.
        members: how many there are.
        source: where the draws come from, for messages.

    Raises:
        DataError: a draw is there twice, or the arrays would be almost empty.

    >>> import numpy as np
    >>> zeros = np.zeros(4, int)
    >>> (_, _, rank), shape = places(zeros, zeros, np.array([0, 4, 1, 3]), 1, "a file")
    >>> rank.tolist(), shape
    ([0, 3, 1, 2], (1, 1, 4))
    """
    unit = question * members + member
    order = np.lexsort((draw, unit))
    in_order = unit[order]
    begins = np.flatnonzero(np.r_[True, in_order[1:] != in_order[:-1]])
    counts = np.diff(np.r_[begins, len(unit)])
    rank = np.empty(len(unit), np.int64)
    rank[order] = np.arange(len(unit)) - np.repeat(begins, counts)
    if ((np.diff(draw[order]) == 0) & (np.diff(in_order) == 0)).any():
        raise DataError(
            f"{source} has the same draw of a member for a question twice: it was not written by "
            "dspy-mux, export it to JSONL and give each draw a number of its own."
        )
    shape = (int(question.max()) + 1, members, int(counts.max()))
    if np.prod(shape, dtype=float) > max(_SMALL, _SPARSEST * len(unit)):
        raise DataError(
            f"{source} has {shape[2]} draws of a member for one question and few for most others, "
            "which is too uneven to compare: leave such questions out."
        )
    return (question, member, rank), shape


def text_of(value: object) -> str | None:
    """Return a field's value as text."""
    return None if value is None else str(value)


def columns_of(fields: Sequence[Mapping[str, str | None]]) -> dict[str, tuple[str | None, ...]]:
    """Return field → its value for each question; None where a question has none."""
    keys = dict.fromkeys(key for one in fields for key in one)
    return {key: tuple(one.get(key) for one in fields) for key in keys}


def placed(
    values: Floats, at: tuple[Ints, Ints, Ints], shape: tuple[int, int, int]
) -> Floats | None:
    """Return what draws took as [Q, M, D], NaN where unknown; None where nothing is known."""
    if np.isnan(values).all():
        return None
    spent = np.full(shape, np.nan)
    spent[at] = values
    return spent
