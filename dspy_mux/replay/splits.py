"""Split questions into those that are fitted on and those that are reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..bank.record import Record
from ..errors import ConfigurationError, check_number
from ..voting.tally import Ints

#: The most random splits; the positions of all their questions are in memory.
MOST_REPEATS = 10_000


@dataclass(frozen=True)
class Split:
    """Positions of questions: `train` for accuracies and fits, `test` for the figures."""

    train: Ints
    test: Ints


def check_apart(split: Split) -> None:
    """Raise ConfigurationError where a question is in both parts of a split, or twice in one.

    A promise is of questions that fit nothing, each counted once.
    """
    positions = np.r_[split.train, split.test]
    more = len(positions) - len(np.unique(positions))
    if more:
        raise ConfigurationError(
            f"{more} positions of the split are in both of its parts, or twice in one: nothing is "
            "promised of questions that fit the rule, or are counted twice."
        )


def holdout(
    questions: int, *, fraction: float = 0.5, repeats: int = 20, seed: int = 0
) -> list[Split]:
    """Split the questions at random, `repeats` times, with `fraction` of them in each test part.

    Raises:
        ConfigurationError: the fraction is not between 0 and 1, `repeats` is not from 1 to
            `MOST_REPEATS`, or there are too few questions to split.

    >>> [split] = holdout(4, repeats=1)
    >>> sorted([*split.train.tolist(), *split.test.tolist()])
    [0, 1, 2, 3]
    """
    check_number("The held-out fraction", fraction, 0.5)
    check_number("The number of repeats", repeats, 20, whole=True)
    if not 0 < fraction < 1:
        raise ConfigurationError(f"The held-out fraction must lie between 0 and 1, not {fraction}.")
    if not 1 <= repeats <= MOST_REPEATS:
        raise ConfigurationError(
            f"The number of repeats must be from 1 to {MOST_REPEATS}, not {repeats}."
        )
    tested = min(max(round(questions * fraction), 1), questions - 1)
    if questions < 2:
        raise ConfigurationError(
            f"{questions} question is too few to split: at least two are needed."
        )
    random = np.random.default_rng(seed)
    shuffled = [random.permutation(questions) for _ in range(repeats)]
    return [Split(np.sort(order[tested:]), np.sort(order[:tested])) for order in shuffled]


def folds(questions: int, *, count: int = 5, seed: int = 0) -> list[Split]:
    """Split the questions into `count` test parts: each question is tested once."""
    if questions < count:
        have = "1 question is" if questions == 1 else f"{questions} questions are"
        raise ConfigurationError(f"{have} too few for {count} folds.")
    parts = np.array_split(np.random.default_rng(seed).permutation(questions), count)
    return [Split(np.setdiff1d(np.arange(questions), part), np.sort(part)) for part in parts]


def by_field(record: Record, field: str, train: str, test: str) -> list[Split]:
    """Return the recorded split: the questions whose `field` is `train`, and those with `test`.

    Raises:
        ConfigurationError: the record lacks the field or a part, or the two parts are the same.
    """
    if train == test:
        raise ConfigurationError(
            "The figures would come from the questions that chose them: "
            f"train and test are both {train!r}."
        )
    return [Split(questions_with(record, field, train), questions_with(record, field, test))]


def questions_with(record: Record, field: str, value: str) -> Ints:
    """Return the positions of the questions whose `field` is `value`.

    Raises:
        ConfigurationError: the record lacks the field, or no question has the value.
    """
    values = np.array(record.field(field))
    if not (values == value).any():
        raise ConfigurationError(
            f"No question has {field}={value!r}; there are {_listed(values.tolist())}."
        )
    return np.flatnonzero(values == value)


def _listed(values: Sequence[str]) -> str:
    return ", ".join(repr(value) for value in sorted(set(values)))
