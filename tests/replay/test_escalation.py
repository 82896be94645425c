"""Accuracy against the share of calls of a large model, by hand and at its ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dspy_mux.replay.escalation import SHARES, Escalated, mean_curve, share_needed
from dspy_mux.replay.threshold import Judged


def escalated(confidence, wrong, large):
    return Escalated(Judged(np.array(confidence), np.array(wrong, bool)), np.array(large, float))


def at(curve, share):
    [point] = [point for point in curve if point.share == share]
    return point


def test_the_least_sure_are_escalated_first_and_those_without_an_answer_before_them():
    answers = escalated([0.9, math.nan, 0.3, 0.6], [0, 0, 1, 0], [0, 1, 1, 1])
    curve = answers.curve()
    assert [at(curve, share).accuracy for share in (0, 0.25, 0.5, 0.75, 1)] == [
        pytest.approx(value) for value in (0.5, 0.75, 1.0, 1.0, 0.75)
    ]
    assert at(curve, 0.5).random == pytest.approx(0.625)
    assert at(curve, 0.5).oracle == pytest.approx(1.0)


def test_equals_are_escalated_in_random_order():
    answers = escalated([0.5] * 4, [1, 1, 0, 0], [1, 1, 1, 1])
    curve = answers.curve()
    assert [point.accuracy for point in curve] == pytest.approx([point.random for point in curve])


def test_a_curve_runs_from_the_pool_to_the_large_model_below_the_oracle():
    random = np.random.default_rng(0)
    confidence = random.integers(0, 4, 200) / 3
    answers = escalated(confidence, random.random(200) < 0.4, random.integers(0, 4, 200) / 3)
    curve = answers.curve()
    assert curve[0].accuracy == curve[0].oracle == pytest.approx(answers.pool.right.mean())
    assert curve[-1].accuracy == curve[-1].random == pytest.approx(answers.large.mean())
    assert all(point.oracle >= max(point.accuracy, point.random) - 1e-9 for point in curve)
    assert mean_curve([curve, curve]) == curve
    accuracies, large = answers.accuracies(np.ones((1, 200)))
    assert accuracies[0] == pytest.approx([point.accuracy for point in curve])
    assert large[0] == pytest.approx(answers.large.mean())


def test_weights_count_questions_as_often():
    answers = escalated([0.9, 0.6, 0.3], [0, 1, 1], [1, 0, 1])
    twice = escalated([0.9, 0.6, 0.3, 0.3], [0, 1, 1, 1], [1, 0, 1, 1])
    found, large = answers.accuracies(np.array([[1.0, 1.0, 2.0]]))
    assert found[0] == pytest.approx([point.accuracy for point in twice.curve()])
    assert large[0] == pytest.approx(0.75)


def test_a_threshold_sends_what_is_below_it():
    answers = escalated([0.9, math.nan, 0.3, 0.6], [0, 0, 1, 0], [0, 1, 1, 1])
    assert answers.at(0.6) == (0.5, 1.0)
    assert answers.at(None) == (1.0, 0.75)
    assert answers.at(0.0) == (0.25, 0.75)


def test_the_share_needed_is_read_between_points():
    rising = 0.6 + 0.2 * SHARES
    assert share_needed(rising, 0.65) == pytest.approx(0.25)
    assert share_needed(rising, 0.604) == pytest.approx(0.02)
    assert share_needed(rising, 0.5) == 0
    assert math.isnan(share_needed(rising, 0.81))
