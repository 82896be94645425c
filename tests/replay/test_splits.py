"""Which questions are tested, and which ones choose."""

from __future__ import annotations

import numpy as np
import pytest

from dspy_mux.errors import ConfigurationError
from dspy_mux.replay.splits import MOST_REPEATS, by_field, folds, holdout

from ..support.votes import record_from


def parts(splits):
    return [(split.train.tolist(), split.test.tolist()) for split in splits]


def test_the_fraction_is_tested_and_the_rest_trains():
    for train, test in parts(holdout(20, fraction=0.2, repeats=5)):
        assert (len(train), len(test)) == (16, 4)
        assert sorted(train + test) == list(range(20))
        assert (train, test) == (sorted(train), sorted(test))


@pytest.mark.parametrize(("fraction", "tested"), [(0.01, 1), (0.99, 2)])
def test_neither_part_is_ever_empty(fraction, tested):
    [(train, test)] = parts(holdout(3, fraction=fraction, repeats=1))
    assert (len(train), len(test)) == (3 - tested, tested)


@pytest.mark.parametrize("split", [holdout, folds])
def test_the_seed_chooses_the_questions(split):
    assert parts(split(30, seed=1)) == parts(split(30, seed=1)) != parts(split(30, seed=2))


def test_impossible_holdouts_are_refused():
    for fraction in (0.0, 1.0):
        with pytest.raises(ConfigurationError, match="must lie between 0 and 1"):
            holdout(10, fraction=fraction)
    for repeats in (0, MOST_REPEATS + 1):
        with pytest.raises(ConfigurationError, match="must be from 1 to 10000"):
            holdout(10, repeats=repeats)
    assert len(holdout(2, repeats=MOST_REPEATS)) == MOST_REPEATS
    with pytest.raises(ConfigurationError, match="1 question is too few"):
        holdout(1)


def test_folds_test_every_question_once():
    splits = parts(folds(7, count=3))
    assert sorted(at for _, test in splits for at in test) == list(range(7))
    assert all(sorted(train + test) == list(range(7)) for train, test in splits)
    assert [len(test) for _, test in parts(folds(5, count=5))] == [1] * 5
    with pytest.raises(ConfigurationError, match="4 questions are too few for 5 folds"):
        folds(4)
    with pytest.raises(ConfigurationError, match="1 question is too few for 5 folds"):
        folds(1)


def test_a_recorded_split_needs_two_different_parts():
    votes = np.zeros((3, 1, 1), int)
    record = record_from(votes, votes, split=("val", "test", "val"))
    assert parts(by_field(record, "split", "val", "test")) == [([0, 2], [1])]
    with pytest.raises(ConfigurationError, match="train and test are both 'val'"):
        by_field(record, "split", "val", "val")
    for train, test in (("dev", "test"), ("val", "dev")):
        with pytest.raises(ConfigurationError, match="split='dev'; there are 'test', 'val'"):
            by_field(record, "split", train, test)
