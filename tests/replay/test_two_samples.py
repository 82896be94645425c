"""Two samples of one figure: the test seldom errs, the interval covers, the power is as stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import fisher_exact, permutation_test

from dspy_mux.replay.two_samples import Power, holm, interval_of_difference, permutation_p


def p_of(one, other, permutations=199, seed=0):
    return permutation_p(
        np.asarray(one, float), np.asarray(other, float), permutations=permutations, seed=seed
    )


def shares(random, mean, count, k=3):
    """Shares of k draws, of questions that differ."""
    return random.binomial(k, random.beta(4 * mean, 4 * (1 - mean), count)) / k


def coins(random, mean, count):
    return (random.random(count) < mean).astype(float)


def test_two_values_are_fishers_exact_test():
    one, other = [1.0] * 7 + [0] * 13, [1.0] * 2 + [0] * 28
    assert p_of(one, other) == pytest.approx(fisher_exact([[13, 7], [28, 2]]).pvalue)


def test_more_values_are_a_permutation_test_of_the_mean():
    random = np.random.default_rng(1)
    one, other = shares(random, 0.7, 30), shares(random, 0.45, 50)
    expected = permutation_test(
        (one, other), lambda a, b: a.mean() - b.mean(), n_resamples=20_000, rng=3
    ).pvalue
    assert p_of(one, other, permutations=20_000) == pytest.approx(expected, abs=0.005)
    assert 0.0001 < expected < 0.05


def test_many_values_are_permuted_too():
    random = np.random.default_rng(2)
    one, other = random.random(100), random.random(100) + 0.5
    assert p_of(one, other, permutations=9_999) == 1 / 10_000
    assert p_of(one, one) == 1.0


def test_one_value_alone_shows_nothing():
    assert p_of([0.0] * 5, [0.0] * 9) == 1.0


@pytest.mark.parametrize("draw", [shares, coins])
@pytest.mark.parametrize("mean", [0.05, 0.6])
def test_where_nothing_has_changed_few_p_values_are_small(draw, mean):
    random = np.random.default_rng(4)
    p = np.array(
        [p_of(draw(random, mean, 40), draw(random, mean, 90), seed=run) for run in range(1000)]
    )
    for level in (0.05, 0.2):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(p))


def test_holms_method():
    assert holm([]) == []
    assert holm([0.01, 0.04, 0.03, 0.2]) == pytest.approx([0.04, 0.09, 0.09, 0.2])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize("draw", [shares, coins])
@pytest.mark.parametrize("means", [(0.02, 0.1), (0.5, 0.6), (0.97, 0.97)])
@pytest.mark.parametrize("sizes", [(30, 200), (200, 200)])
def test_intervals_cover(draw, means, sizes):
    random = np.random.default_rng(5)
    held = 0
    for _ in range(1000):
        samples = [draw(random, mean, size) for mean, size in zip(means, sizes, strict=True)]
        low, high = interval_of_difference(*samples)
        held += low <= means[0] - means[1] <= high
    assert held / 1000 >= 0.93


def test_an_interval_keeps_doubt_where_all_questions_are_alike():
    low, high = interval_of_difference(np.zeros(50), np.zeros(50))
    assert -0.1 < low < -0.02 < 0.02 < high < 0.1


@pytest.mark.parametrize(
    ("draw", "mean", "change"),
    [(coins, 0.02, 0.08), (coins, 0.6, -0.15), (shares, 0.8, -0.1), (shares, 0.05, 0.08)],
)
def test_so_many_questions_see_the_change_about_as_often_as_is_said(draw, mean, change):
    random = np.random.default_rng(6)
    level, size = 0.01, 400
    power = Power(draw(random, mean, 20_000), level=level, size=size)
    needed = power.questions_needed(change)
    seen = [
        p_of(draw(random, mean, size), draw(random, mean + change, needed), 999, run) <= level
        for run in range(250)
    ]
    assert 0.7 <= np.mean(seen) <= 0.95
    assert power.of(change, needed) >= 0.8 > power.of(change, needed - 1)
    smallest = power.smallest_change(needed, up=change > 0)
    assert abs(smallest) <= abs(change)
    assert smallest == pytest.approx(change, abs=0.005)


def test_what_no_number_of_questions_shows():
    few, level = np.r_[np.ones(18), np.zeros(2)], 0.01
    assert Power(few, level=level).questions_needed(-0.05) is None
    assert Power(few, level=level).questions_needed(0.2) is None  # there is nothing above 1
    assert Power(few, level=level).smallest_change(200, up=True) is None
    assert Power(np.ones(500), level=level).questions_needed(-0.1) < 200
    assert np.isnan(Power(few, level=level).of(0.2, 100))
