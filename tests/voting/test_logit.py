"""The fits of the calibrated rule against a general minimiser of the plainly written loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize

from dspy_mux.voting import logit as fitting
from dspy_mux.voting.logit import logit, platt


def slow_loss(weights, question, is_right, features, penalty):
    total = 0.5 * sum(p * w * w for p, w in zip(penalty, weights, strict=True))
    for each in set(question.tolist()):
        rows = [row for row in range(len(question)) if question[row] == each]
        powers = {row: np.exp(features[row] @ weights) for row in rows}
        rights = [row for row in rows if is_right[row]]
        if 0 < len(rights) < len(rows):
            total -= np.log(sum(powers[row] for row in rights) / sum(powers.values()))
    return float(total)


@st.composite
def answers(draw, most_right=3):
    """(question, is_right, features, penalty): one to four answers each, none or several right."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = random.integers(1, 5, draw(st.integers(1, 12)))
    question = np.repeat(np.arange(len(sizes)), sizes)
    is_right = np.zeros(len(question), bool)
    for each in range(len(sizes)):
        rows = np.flatnonzero(question == each)
        is_right[random.permutation(rows)[: random.integers(0, most_right + 1)]] = True
    features = random.normal(size=(len(question), draw(st.integers(1, 4)))) * draw(
        st.sampled_from([0.1, 1.0, 5.0])
    )
    return question, is_right, features, random.choice([0.3, 1.0, 10.0], features.shape[1])


@settings(max_examples=60)
@given(answers(most_right=1))
def test_the_weights_match_a_general_minimiser(told):
    weights = logit(*told)
    found = minimize(slow_loss, np.zeros(len(weights)), args=told).x
    assert slow_loss(weights, *told) <= slow_loss(found, *told) + 1e-7
    np.testing.assert_allclose(weights, found, atol=2e-3)


@settings(max_examples=60)
@given(answers())
def test_no_small_step_improves_the_weights(told):
    weights, random = logit(*told), np.random.default_rng(0)
    least = slow_loss(weights, *told)
    for _ in range(20):
        assert slow_loss(weights + 1e-3 * random.normal(size=len(weights)), *told) >= least - 1e-8


def test_many_features_are_fitted_alike(monkeypatch):
    random = np.random.default_rng(0)
    question = np.repeat(np.arange(40), 3)
    is_right = np.tile([True, False, False], 40)
    features = random.normal(size=(120, 5)) + is_right[:, None]
    by_newton = logit(question, is_right, features, np.ones(5))
    monkeypatch.setattr(fitting, "_MOST_FEATURES", 4)
    np.testing.assert_allclose(
        logit(question, is_right, features, np.ones(5)), by_newton, atol=1e-4
    )


@pytest.mark.parametrize("right", [[True, True], [False, False]])
def test_questions_all_right_or_all_wrong_tell_nothing(right):
    assert logit(
        np.array([0, 0]), np.array(right), np.array([[1.0], [2.0]]), np.ones(1)
    ).tolist() == [0.0]


def test_no_answers_tell_nothing():
    assert logit(np.zeros(0, int), np.zeros(0, bool), np.zeros((0, 2)), np.ones(2)).tolist() == [
        0.0,
        0.0,
    ]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.floats(-20, 20), st.booleans()), min_size=1, max_size=40))
def test_the_scale_is_best_with_slope_above_0(told):
    log_odds, right = np.array([x for x, _ in told]), np.array([float(y) for _, y in told])

    def loss(at):
        margin = at[0] * log_odds + at[1]
        return (np.logaddexp(0, margin) - right * margin).sum() + 0.5 * (
            (at[0] - 1) ** 2 + at[1] ** 2
        )

    slope, intercept = platt(log_odds, right)
    found = minimize(loss, [1.0, 0.0], bounds=[(0.0, None), (None, None)], method="L-BFGS-B").x
    assert slope >= 0
    assert loss([slope, intercept]) <= loss(found) + 1e-6
    assert (slope, intercept) == pytest.approx(tuple(found), abs=5e-3)


def test_misleading_confidence_counts_for_nothing():
    slope, _ = platt(np.array([-3.0, -2.0, 2.0, 3.0] * 10), np.array([1.0, 1.0, 0.0, 0.0] * 10))
    assert slope == 0.0
