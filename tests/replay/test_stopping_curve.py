"""The early-stopping rule's accuracy against its calls, from recorded draws."""

from __future__ import annotations

import numpy as np
import pytest

from dspy_mux.replay.splits import Split
from dspy_mux.replay.stopping_curve import stopping_curve

from ..support.votes import random_record, record_from

EARLY, LATE = np.arange(30), np.arange(30, 60)


@pytest.fixture(scope="module")
def record():
    return random_record(members=2, draws=2)


def test_a_curve_means_over_its_splits(record):
    splits = [Split(EARLY, LATE), Split(LATE, EARLY)]
    whole = stopping_curve(record, bounds=(0.3,), splits=splits)
    parts = [stopping_curve(record, bounds=(0.3,), splits=[split]) for split in splits]
    assert [point.questions for point in whole] == [60, 60]
    assert whole[0].calls_per_question == 4.0
    for point, *halves in zip(whole, *parts, strict=True):
        for figure in ("accuracy", "calls_per_question", "loss"):
            mean = np.mean([getattr(half, figure) for half in halves])
            assert getattr(point, figure) == pytest.approx(mean)
        assert point.saved == pytest.approx(1 - point.calls_per_question / 4)


def test_the_bound_of_0_is_always_added(record):
    points = stopping_curve(record, bounds=(), splits=[Split(EARLY, LATE)])
    assert [(point.bound, point.saved, point.loss) for point in points] == [(0.0, 0.0, 0.0)]
    assert (points[0].loss_low, points[0].loss_high) == (0.0, 0.0)


def test_the_seed_chooses_the_draws():
    record = random_record(members=2, draws=4)
    one, again, other = (
        stopping_curve(record, k=2, bounds=(), splits=[Split(EARLY, LATE)], seed=seed)[0]
        for seed in (1, 1, 2)
    )
    assert one == again
    assert one.accuracy != other.accuracy


def test_the_threshold_says_what_is_learned():
    votes = np.broadcast_to(np.array([[0, 0], [0, 0], [1, 1]]), (60, 3, 2))
    [point] = stopping_curve(
        record_from(votes, (votes == 1) / 2),
        bounds=(),
        splits=[Split(EARLY, LATE)],
        threshold=0.5,
    )
    assert point.accuracy == 0.5
