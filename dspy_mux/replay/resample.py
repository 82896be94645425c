"""Random choices of k of the recorded draws, and the check that k draws were recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..bank.record import MISSING, Record
from ..errors import ConfigurationError
from ..voting.tally import Floats, Ints, Tally

#: Random choices of k draws that an objective is the mean of, where more than k are recorded.
OBJECTIVE_RESAMPLES = 8

_Scalar = TypeVar("_Scalar", bound=np.generic)


def check_record(record: object) -> None:
    """Raise ConfigurationError unless this is a record: a bank and a file are read into one."""
    if not isinstance(record, Record):
        raise ConfigurationError(
            f"A Record is needed, not {type(record).__name__}: read one with bank.record() or "
            "read_jsonl(path)."
        )


def complete(
    record: Record, splits: object, at_most: int | None = None, *, k: int | None = None
) -> tuple[Record, int]:
    """Leave out the questions of which a member lacks draws; return how many.

    Args:
        splits: positions in the record, which no question can be left out of; None for none yet.
        k, at_most: as in `Record.of`.

    Raises:
        ConfigurationError: there are such questions, and splits are given; or what `Record.of`
            raises.
    """
    if not (record.votes == MISSING).any():
        return record, 0
    part, left_out = record.of(None, k, at_most=at_most)
    if left_out and splits is not None:
        raise ConfigurationError(
            f"{left_out} of {len(record.questions)} questions lack draws of some member: leave "
            "them out, record.of(None, k)[0], and split what is left."
        )
    return part, left_out


def check_recorded(record: Record, k: int) -> None:
    """Raise ConfigurationError unless k draws of each member are recorded."""
    recorded = record.votes.shape[2]
    if k < 1:
        raise ConfigurationError(f"k must be 1 or more, not {k}.")
    if k > recorded:
        raise ConfigurationError(
            f"{record.source} holds {recorded} draws a member, fewer than k={k}: "
            "collect more, or ask for fewer."
        )


def draw_choices(record: Record, k: int, random: np.random.Generator) -> Ints:
    """Choose a random k of each member's recorded draws of each question: [Q, M, k], ascending."""
    questions, members, recorded = record.votes.shape
    keys = np.where(record.votes == MISSING, 2.0, random.random((questions, members, recorded)))
    return np.sort(np.argpartition(keys, k - 1, axis=2)[..., :k], axis=2)


def take_draws(values: NDArray[_Scalar], draws: Ints | None) -> NDArray[_Scalar]:
    """Take the values of the chosen draws out of [Q, M, D]; all of them for None."""
    return values if draws is None else np.take_along_axis(values, draws, axis=2)


def taken(record: Record, draws: Ints | None) -> Tally:
    """Count the chosen draws [Q, M, k], with their evidence; all of them for None."""
    evidence = {name: take_draws(values, draws) for name, values in record.evidence.items()}
    return Tally(take_draws(record.votes, draws), evidence=evidence)


def redrawn(record: Record, k: int, random: np.random.Generator) -> Record:
    """Return the record with a random k of each member's draws, as a live mux could have seen them.

    Raises:
        ConfigurationError: k is above what is recorded.
    """
    check_recorded(record, k)
    if k == record.votes.shape[2]:
        return record
    draws = draw_choices(record, k, random)

    def spent(values: Floats | None) -> Floats | None:
        return None if values is None else take_draws(values, draws)

    return dataclasses.replace(
        record,
        votes=take_draws(record.votes, draws),
        scores=take_draws(record.scores, draws),
        calls=spent(record.calls),
        tokens=spent(record.tokens),
        cost=spent(record.prices()),
        evidence={name: take_draws(values, draws) for name, values in record.evidence.items()},
    )


def chosen_draws(record: Record, k: int, seed: int) -> Iterator[tuple[Tally, Floats]]:
    """Yield counts and scores [Q, M, k] of several random choices of k draws.

    Where exactly k draws are recorded, they are yielded once.

    Raises:
        ConfigurationError: k is above what is recorded.
    """
    check_recorded(record, k)
    if k == record.votes.shape[2]:
        yield record.tally(), record.scores
        return
    random = np.random.default_rng(seed)
    for _ in range(OBJECTIVE_RESAMPLES):
        draws = draw_choices(record, k, random)
        yield taken(record, draws), take_draws(record.scores, draws)
