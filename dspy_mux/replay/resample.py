"""TODO"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..bank.record import MISSING, Record
from ..errors import ConfigurationError
from ..voting.tally import Floats, Ints


def draw_choices(record: Record, k: int, random: np.random.Generator) -> Ints:
    """[Q, M, k]: a random k of each member's recorded draws for each question, in the order drawn."""
    questions, members, recorded = record.votes.shape
    keys = np.where(record.votes == MISSING, 2.0, random.random((questions, members, recorded)))
    return np.sort(np.argpartition(keys, k - 1, axis=2)[..., :k], axis=2)


def redrawn(record: Record, k: int, random: np.random.Generator) -> Record:
    """The record with k of each member's draws, at random where more are recorded: what a live mux of that k could have seen.

    Raises:
        ConfigurationError: k above what is recorded.
    """
    recorded = record.votes.shape[2]
    if not 1 <= k <= recorded:
        raise ConfigurationError(
            f"{record.source} holds {recorded} draws a member, k={k} cannot be replayed."
        )
    if k == recorded:
        return record
    draws = draw_choices(record, k, random)
    spent = [
        None if values is None else _taken(values, draws)
        for values in (record.calls, record.tokens, record.prices())
    ]
    return dataclasses.replace(
        record,
        votes=_taken(record.votes, draws),
        scores=_taken(record.scores, draws),
        calls=spent[0],
        tokens=spent[1],
        cost=spent[2],
    )


def _taken(values: Any, draws: Ints | None) -> Any:
    return values if draws is None else np.take_along_axis(values, draws, axis=2)


#: With more draws recorded than used, objectives are means over this many random choices of them.
RESAMPLES = 8


def chosen_draws(record: Record, k: int, seed: int) -> Iterator[tuple[Ints, Floats]]:
    """Votes and scores [Q, M, k] of the recorded draws, or of several random choices of k where more are recorded."""
    recorded = record.votes.shape[2]
    if not 1 <= k <= recorded:
        raise ConfigurationError(
            f"{record.source} holds {recorded} draws a member, fewer than k={k}."
        )
    if k == recorded:
        yield record.votes, record.scores
        return
    random = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        draws = draw_choices(record, k, random)
        yield (
            np.take_along_axis(record.votes, draws, axis=2),
            np.take_along_axis(record.scores, draws, axis=2),
        )
