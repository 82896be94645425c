"""Replayed accuracy of the paper's rule for every subset of a pool.

On each question the members are ranked once, by confidence, then by accuracy, then by pool order; a
subset answers as its first-ranked member does. Rank and outcome of a member are encoded as one
number, `2 · rank + (0 if right else 1)`, so the least number of a subset carries its outcome: a
subset costs one minimum and one count over the questions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..voting.tally import Floats, Ints, Tally

Codes = NDArray[np.uint8] | NDArray[np.uint16]
#: Codes processed in one piece, so that it stays in the processor's cache.
_AT_ONCE = 1 << 18


def rank_codes(tally: Tally, scores: Floats, order: Sequence[int], threshold: float) -> Codes:
    """Encode rank and outcome of each member on each question, [M, Q].

    A member whose draws all abstain ranks last and is wrong.

    Args:
        order: members from the most accurate down (`ballot.by_accuracy`), which breaks ties.

    Raises:
        ConfigurationError: more members than a code can rank.
    """
    questions, members, _ = tally.shape
    if members > 2**15:
        raise ConfigurationError(
            f"Subsets are searched in pools of up to {2**15} members, not {members}."
        )
    place = np.empty(members, np.int64)
    place[order] = np.arange(members)
    # By confidence down, then by place. Equal shares are equal floats at any k, as division rounds
    # correctly.
    ranked = np.lexsort((np.broadcast_to(place, (questions, members)), -tally.confidence), axis=1)
    rank = np.empty((questions, members), np.int64)
    np.put_along_axis(
        rank, ranked, np.broadcast_to(np.arange(members), (questions, members)), axis=1
    )
    right = tally.plurality_correct(scores, threshold)
    kind = np.uint8 if members <= 128 else np.uint16
    return np.ascontiguousarray((2 * rank + ~right).T.astype(kind))


def count_right(
    table: Codes, size: int
) -> Iterator[tuple[tuple[int, ...], Ints, NDArray[np.int64]]]:
    """Yield all subsets of one size as (prefix, tails [T, ≤ 2], right [T]).

    `right` counts the questions that the prefix with each of the tails answers correctly.

    Args:
        table: [M, Q], from `rank_codes`.
    """
    count, questions = table.shape
    tail = min(size, 2)
    tails = np.array(list(itertools.combinations(range(count), tail)))
    least = table[tails].min(axis=1)  # [T, Q]
    follows = np.searchsorted(tails[:, 0], np.arange(count + 1))
    step = max(1, _AT_ONCE // questions)
    for prefix in itertools.combinations(range(count), size - tail):
        start = int(follows[prefix[-1] + 1]) if prefix else 0
        if start == len(tails):
            continue
        own = table[list(prefix)].min(axis=0) if prefix else None
        wrong = [_wrong(least[at : at + step], own) for at in range(start, len(tails), step)]
        yield prefix, tails[start:], questions - np.concatenate(wrong)


def _wrong(least: Codes, own: Codes | None) -> NDArray[np.int64]:
    """Count the wrong questions of each tail, joined with the prefix's own codes."""
    together = least if own is None else np.minimum(least, own)
    return np.count_nonzero(together & 1, axis=1)
