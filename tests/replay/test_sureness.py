"""Brier score, area under the risk–coverage curve, and the band of that curve."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dspy_mux.replay.risk_curve import risk_curve
from dspy_mux.replay.sureness import brier_score, calibration_error, risk_area
from dspy_mux.replay.threshold import Judged


def test_brier_is_the_mean_squared_distance():
    assert brier_score(np.array([0.8, 0.4]), np.array([True, True])) == pytest.approx(0.2)
    assert brier_score(np.array([1.0, 0.0]), np.array([True, False])) == 0


def test_the_area_is_the_mean_risk_of_the_surest():
    confidence = np.array([0.9, 0.5, 0.1])
    assert risk_area(confidence, np.array([True, True, False])) == pytest.approx(1 / 9)
    assert risk_area(confidence, np.array([False, True, True])) == pytest.approx(11 / 18)


def test_equals_come_in_random_order():
    right = np.array([True, False, True, False])
    assert risk_area(np.full(4, 0.5), right) == pytest.approx(0.5)


def test_of_no_answers_nothing_is_known():
    none = np.zeros(0), np.zeros(0, bool)
    assert all(math.isnan(of(*none)) for of in (brier_score, calibration_error, risk_area))


def test_a_curve_ends_where_answers_do():
    answered = np.arange(100) < 50
    judged = Judged(np.where(answered, 0.5, np.nan), answered & (np.arange(100) < 10))
    points = risk_curve([judged], [np.arange(100)])
    assert [points[-1].coverage, points[-1].risk] == pytest.approx([0.5, 0.2])


def test_the_band_of_the_curve_holds_the_risk_as_often_as_it_says():
    # Risk rises from 0 for the surest to twice its mean: at coverage c it is the mean times c.
    hits, data_sets, mean = [], 300, 0.15
    for seed in range(data_sets):
        random = np.random.default_rng(seed)
        confidence = random.random(200)
        judged = Judged(confidence, random.random(200) < 2 * mean * (1 - confidence))
        tested = [random.permutation(200)[:60] for _ in range(10)]
        points = risk_curve([judged.rows(at) for at in tested], tested)
        hits.append([point.low <= mean * point.coverage <= point.high for point in points])
    covered = np.mean(hits)
    print(f"95 % bands hold the risk in {100 * covered:.1f} % of {data_sets} data sets")
    assert 0.92 < covered < 0.98
