"""The early-stopping rule's accuracy against its calls, from recorded draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dspy_mux.replay.intervals import difference_interval, mean_interval, wilson
from dspy_mux.replay.splits import Split
from dspy_mux.replay.stopping_curve import stopping_curve
from dspy_mux.voting.calibration import Training
from dspy_mux.voting.early_stopping import fit_early_stopping

from ..support.votes import drawn, random_record, record_from

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


def test_a_point_counts_what_the_rule_did_on_the_test_part():
    record = record_from(*drawn(240, (0.9, 0.8), k=3))
    train, test = np.arange(120), np.arange(120, 240)
    fitted, part = record.rows(train), record.rows(test)
    rule = fit_early_stopping(Training(fitted.tally(), fitted.scores, record.members), 0.2)
    picks, made = rule.pick(part.tally())
    final, _ = dataclasses.replace(rule, bound=0.0).pick(part.tally())
    scores, full = picks.scores(part.scores), final.scores(part.scores)
    early = made.sum(axis=1) < 6
    changed = part.tally().answers(picks)[early] != part.tally().answers(final)[early]
    assert 0 < changed.sum() < early.sum() < 120

    [every, point] = stopping_curve(record, bounds=(0.2,), splits=[Split(train, test)])
    assert point.bound == 0.2
    assert (every.accuracy, point.accuracy) == (full.mean(), scores.mean())
    assert (point.low, point.high) == mean_interval(scores)
    assert point.loss == pytest.approx((full - scores).mean())
    assert (point.loss_low, point.loss_high) == difference_interval(full - scores)
    assert point.calls_per_question == made.sum() / 120
    assert point.saved == pytest.approx(1 - made.sum() / 720)
    assert (point.questions, point.stopped) == (120, early.mean())
    assert point.changed == changed.mean()
    assert (point.changed_low, point.changed_high) == wilson(changed.mean(), early.sum())
    assert (every.stopped, every.changed, every.changed_low, every.changed_high) == (0, *[None] * 3)
