"""What the mux would really score: the replayed accuracy of the paper's rule for every subset of a pool.

On each question the members are ranked once, by confidence, then by accuracy, then by pool order; a subset answers as its first
member does. Rank and outcome of a member are one number, `2 · rank + (0 where right, else 1)`, so the least of a subset's numbers
carries its outcome: a subset costs one minimum and one count over the questions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..voting.tally import Floats, Ints, Tally

Codes = NDArray[np.unsignedinteger[Any]]
#: Numbers looked at in one piece, so that it stays in the processor's cache.
_AT_ONCE = 1 << 18


def codes(tally: Tally, scores: Floats, order: Ints, threshold: float) -> Codes:
    """[M, Q]: rank and outcome of each member on each question; a member that only abstained ranks last, and is wrong.

    Args:
        order: members from the most accurate down (`tally.by_accuracy`), which breaks ties.
    """
    questions, members, _ = tally.shape
    if members > 2**15:
        raise ConfigurationError(
            f"Subsets are searched in pools of up to {2**15} members, not {members}."
        )
    place = np.empty(members, np.int64)
    place[order] = np.arange(members)
    # By confidence down, then by place. Equal shares are equal floats, whatever k they are of: division rounds correctly.
    ranked = np.lexsort((np.broadcast_to(place, (questions, members)), -tally.confidence), axis=1)
    rank = np.empty((questions, members), np.int64)
    np.put_along_axis(
        rank, ranked, np.broadcast_to(np.arange(members), (questions, members)), axis=1
    )
    right = (tally.plurality_count > 0) & (tally.plurality_scores(scores) >= threshold)
    kind = np.uint8 if members <= 128 else np.uint16
    return np.ascontiguousarray((2 * rank + ~right).T.astype(kind))


def right_answers(
    table: Codes, size: int
) -> Iterator[tuple[tuple[int, ...], Ints, NDArray[np.int64]]]:
    """(prefix, tails [T, ≤ 2], questions right of each prefix with each tail), which together are all subsets of one size.

    Args:
        table: [M, Q], of `codes`.
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
    together = least if own is None else np.minimum(least, own)
    return np.count_nonzero(together & 1, axis=1)
