"""Calibration error and ROC area: known values, and an interval that covers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dspy_mux.replay.sureness import calibration_error
from eval.evidence.figures import roc_area


def test_calibration_error_weighs_bins_by_their_answers():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55])
    right = np.array([True, True, True, False, False])
    assert calibration_error(confidence, right) == pytest.approx((4 * 0.2 + 0.55) / 5)
    assert calibration_error(np.array([1.0, 0.0]), np.array([True, False])) == 0
    assert math.isnan(calibration_error(np.zeros(0), np.zeros(0, bool)))


def test_roc_area_counts_pairs_and_halves_ties():
    confidence, right = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, True, False, False])
    assert roc_area(confidence, right, np.arange(4)).mean == pytest.approx(3.5 / 4)
    assert roc_area(np.ones(4), right, np.arange(4)).mean == 0.5
    assert roc_area(-confidence, right, np.arange(4)).mean == pytest.approx(0.5 / 4)
    assert math.isnan(roc_area(confidence, np.ones(4, bool), np.arange(4)).mean)


def test_the_interval_of_the_roc_area_covers_it():
    # Confidences of right answers are normal around 1, of wrong ones around 0.
    true_area = 0.5 * math.erfc(-1 / 2)
    random, covered = np.random.default_rng(1), 0
    for _ in range(200):
        right = random.random(150) < 0.8
        # Two splits test each question, with nearly the same confidence.
        confidence = (random.normal(size=150) + right)[None] + 0.1 * random.normal(size=(2, 150))
        found = roc_area(confidence.ravel(), np.tile(right, 2), np.tile(np.arange(150), 2))
        covered += found.low <= true_area <= found.high
    assert 180 <= covered <= 199
