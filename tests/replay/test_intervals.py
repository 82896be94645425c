"""Intervals over questions: their values, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from dspy_mux.replay.intervals import (
    Z95,
    accuracy,
    difference_interval,
    mcnemar,
    mean_interval,
    paired_difference,
    standard_error,
    wilson,
)


def right(count, n):
    return np.repeat([1.0, 0.0], [count, n - count])


def pairs(won, lost, n):
    return np.repeat([1.0, -1.0, 0.0], [won, lost, n - won - lost])


# --- one share -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 20, 500])
def test_right_and_wrong_answers_have_wilsons_interval(n):
    for count in {0, 1, n // 2, n}:
        assert mean_interval(right(count, n)) == pytest.approx(wilson(count / n, n))
    found = accuracy(right(n // 2, n))
    assert (found.low, found.high) == mean_interval(right(n // 2, n))
    assert found.n == n


def test_one_more_right_answer_never_lowers_an_end():
    # A bootstrap beside Wilson's gave 83.9 for 20 of 20, and 85.0 for 19 of 20.
    ends = np.array([mean_interval(right(count, 20)) for count in range(21)])
    assert (np.diff(ends, axis=0) > 0).sum() == 40
    assert ends[20] == pytest.approx((0.8389, 1.0), abs=1e-4)
    assert ends[19] == pytest.approx((0.7639, 0.9911), abs=1e-4)


def test_wilson_by_hand():
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0.9, 20) == pytest.approx((0.6990, 0.9721), abs=1e-4)
    assert all(math.isnan(end) for end in mean_interval(np.zeros(0)))


def share_coverage(n, share):
    counts = np.arange(n + 1)
    ends = np.array([mean_interval(right(count, n)) for count in counts])
    held = (ends[:, 0] <= share + 1e-12) & (share - 1e-12 <= ends[:, 1])
    return float(binom.pmf(counts, n, share)[held].sum())


@pytest.mark.parametrize("n", [5, 10, 20, 50, 100])
def test_intervals_of_shares_hold_the_truth_in_95_percent(n):
    shares = np.linspace(0.0025, 0.9975, 200)
    held = np.array([share_coverage(n, share) for share in shares])
    assert 0.945 < held.mean() < 0.97  # one of 90 % would hold it in about 90
    assert held.min() > 0.83
    middle = (shares > 1 / n) & (shares < 1 - 1 / n)
    assert held[middle].min() > 0.87


@pytest.mark.parametrize(("n", "alike"), [(10, 0.3), (30, 0.3), (100, 0.3), (30, 5.0), (100, 5.0)])
def test_intervals_of_means_over_repeats_hold_the_truth_in_95_percent(n, alike):
    random, held, width = np.random.default_rng(0), 0, 0.0
    for _ in range(600):
        chances = random.beta(0.8 * alike, 0.2 * alike, n)
        low, high = mean_interval(random.binomial(10, chances) / 10)
        held += low <= 0.8 <= high
        width += high - low
    assert held / 600 > 0.93
    # Narrower than of right and wrong answers, by how much less means vary.
    assert width / 600 < np.diff(wilson(0.8, n))[0]


def test_scores_between_0_and_1_narrow_with_their_number():
    values = np.random.default_rng(3).random(4000)
    low, high = mean_interval(values)
    half = Z95 * standard_error(values)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 20)
    few, many = (mean_interval(np.full(n, 0.25)) for n in (5, 500))
    assert few[0] < many[0] < 0.25 < many[1] < few[1]


# --- a paired difference -------------------------------------------------------------------------


@pytest.mark.parametrize("n", [4, 10, 50, 400])
def test_an_interval_without_0_goes_with_a_p_below_5_percent(n):
    for won in range(min(n, 25) + 1):
        for lost in range(min(n - won, 15) + 1):
            low, high = difference_interval(pairs(won, lost, n))
            values = pairs(won, lost, n)
            p = mcnemar((values == 1).astype(float), (values == -1).astype(float))
            assert (low > 0 or high < 0) == (p < 0.05), (won, lost)
            assert -1 <= low <= (won - lost) / n <= high <= 1


def test_four_questions_won_and_none_lost_are_no_gain_yet():
    low, high = difference_interval(pairs(4, 0, 100))
    assert (low, high) == pytest.approx((-0.0072, 0.0857), abs=1e-4)
    assert mcnemar([1.0] * 4, [0.0] * 4) == 0.125


def difference_coverage(n, won, lost):
    at = np.array([(i, j) for i in range(n + 1) for j in range(n + 1 - i)])
    chance = multinomial.pmf(
        np.column_stack([at, n - at.sum(axis=1)]), n, [won, lost, 1 - won - lost]
    )
    likely = chance > 1e-7
    ends = np.array([difference_interval(pairs(*each, n)) for each in at[likely].tolist()])
    held = (ends[:, 0] <= won - lost + 1e-12) & (won - lost - 1e-12 <= ends[:, 1])
    return float(chance[likely][held].sum())


@pytest.mark.parametrize("n", [5, 10, 20, 40])
def test_intervals_of_differences_hold_the_truth_in_95_percent(n):
    chances = [(0.0, 0.02), (0.01, 0.01), (0.05, 0), (0.1, 0.1), (0.2, 0), (0.3, 0.1), (0.9, 0.05)]
    held = np.array([difference_coverage(n, *each) for each in chances])
    assert held.min() > 0.925
    assert held.mean() > 0.95
    if n == 40:  # not by being far too wide
        assert difference_coverage(n, 0.3, 0.1) < 0.97


def test_small_differences_of_means_are_held_too():
    random, held = np.random.default_rng(0), 0
    for _ in range(400):
        low, high = difference_interval(np.clip(random.normal(0.05, 0.2, 100), -1, 1))
        held += low <= 0.05 <= high
    assert held / 400 > 0.94


def test_one_paired_question_has_no_interval():
    alone = paired_difference([1.0], [0.0])
    assert (alone.mean, alone.n) == (1.0, 1)
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
    same = paired_difference([1.0] * 20, [1.0] * 20)
    assert (same.low, same.high) == pytest.approx((-0.126, 0.126), abs=1e-4)


def test_mcnemar_by_hand():
    assert mcnemar([1, 1, 1, 0, 1], [0, 0, 0, 0, 1]) == pytest.approx(0.25)
    assert mcnemar([1, 0], [1, 0]) == 1.0
    assert mcnemar([0.5], [1.0]) is None
