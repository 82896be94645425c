"""Intervals over questions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dspy_mux.replay.intervals import bootstrap, wilson


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
