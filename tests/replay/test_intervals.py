"""Intervals over questions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dspy_mux.replay.intervals import (
    Z95,
    accuracy,
    bootstrap,
    bootstrap_difference,
    mcnemar,
    paired_difference,
    standard_error,
    wilson,
)


def test_the_interval_holds_the_mean_and_narrows():
    values = np.tile([0.0, 1.0], 50)
    low, high = bootstrap(values)
    assert low < 0.5 < high
    wide_low, wide_high = bootstrap(values[:10])
    assert high - low < wide_high - wide_low
    assert bootstrap(values) == bootstrap(values)
    assert all(math.isnan(end) for end in bootstrap(np.zeros(0)))


@pytest.mark.parametrize("n", [1, 2, 20, 500])
def test_the_interval_of_equal_scores_is_wilsons(n):
    for share in (0.0, 1.0):
        assert bootstrap(np.full(n, share)) == pytest.approx(wilson(share, n))
    low, high = bootstrap(np.full(n, 0.25))
    assert 0 < low < 0.25 < high < 1
    low, high = bootstrap(np.full(n, 0.0), least=-1.0)
    assert high == -low == pytest.approx(wilson(0.0, n)[1])
    assert bootstrap(np.full(n, 3.0))[1] == 3.0  # a metric may give more than 1


def test_the_interval_is_95_percent_over_all_questions():
    values = np.random.default_rng(3).random(400)
    low, high = bootstrap(values)
    half = Z95 * standard_error(values)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 8)
    for at in range(3):
        assert bootstrap(np.eye(3)[at])[1] == 1.0, "each question may be drawn three times"


def test_resamples_in_parts_are_all_counted():
    values = np.tile([0.0, 0.0, 1.0], 1200)
    random = np.random.default_rng(0)
    means = [values[random.integers(0, 3600, 3600)].mean() for _ in range(1000)]
    assert bootstrap(values) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=1e-12)


def test_the_seed_resamples_the_questions():
    values = np.random.default_rng(0).random(40)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)
    one, two = (bootstrap_difference(values - 0.5, seed=seed) for seed in (1, 2))
    assert one != two


def test_wilson_and_mcnemar_by_hand():
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.9, 20) == pytest.approx((0.6990, 0.9721), abs=1e-4)
    assert mcnemar([1, 1, 1, 0, 1], [0, 0, 0, 0, 1]) == pytest.approx(0.25)
    assert mcnemar([1, 0], [1, 0]) == 1.0
    assert mcnemar([0.5], [1.0]) is None


def test_right_and_wrong_answers_have_wilsons_interval():
    right = accuracy([1.0] * 9 + [0.0])
    assert (right.low, right.high) == wilson(0.9, 10)
    graded = accuracy([0.0, 0.5, 0.5, 1.0])
    assert (graded.low, graded.high) == bootstrap(np.array([0.0, 0.5, 0.5, 1.0]))
    assert (graded.mean, graded.n) == (0.5, 4)


def test_one_paired_question_has_no_interval():
    alone = paired_difference([1.0], [0.0])
    assert (alone.mean, alone.n) == (1.0, 1)
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    same = paired_difference([1.0] * 20, [1.0] * 20)
    assert (same.low, same.high) == pytest.approx((-0.1611, 0.1611), abs=1e-4)
