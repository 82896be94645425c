"""What a large model is right on alone, beside the points of a pool that it helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dspy_mux import ConfigurationError, Record, risk, tune
from dspy_mux.mux.points import load_points
from dspy_mux.optimize.points_text import points_note
from dspy_mux.replay.splits import Split

from ..support.tuning import skilled_record


def test_a_pool_that_is_never_as_good_as_the_large_model_is_told_apart():
    # The pool is sure of every answer, so that no threshold hands a question over.
    right = np.arange(80) % 4 < 3
    votes = np.repeat(np.where(right, 0, 1)[:, None, None], 2, axis=2)
    names = tuple(f"q{at}" for at in range(80))
    pool = Record(("a",), names, votes, (votes == 0) * 1.0, {})
    large = Record(("big",), names, votes[:, :, :1] * 0, np.ones((80, 1, 1)), {})
    split = Split(np.arange(40), np.arange(40, 80))
    points = tune(pool, n_trials=1, splits=[split], escalate=large).points
    assert points["most accurate"].accuracy == 0.75
    assert points.accuracy_large == 1.0
    assert "Asked every one of these questions, big is right on 100.0 %" in points_note(points)
    assert load_points(points.as_dict()) == points
    older = {name: value for name, value in points.as_dict().items() if name != "accuracy_large"}
    assert load_points(older) == replace(points, accuracy_large=None)
    assert "Asked every" not in points_note(load_points(older))


def test_a_promise_is_of_questions_that_are_apart_and_counted_once():
    pool = skilled_record((0.8, 0.7), count=60)
    for split in (
        Split(np.arange(40), np.arange(20, 60)),
        Split(np.arange(20), np.repeat(np.arange(20, 60), 2)),
    ):
        with pytest.raises(ConfigurationError, match="in both of its parts, or twice in one"):
            risk(pool, "pooled", splits=[split])
        with pytest.raises(ConfigurationError, match="in both of its parts, or twice in one"):
            tune(pool, splits=[split], max_risk=0.2)


def test_one_member_stands_for_the_large_model():
    pool = skilled_record((0.8, 0.7), count=40)
    with pytest.raises(ConfigurationError, match="One member stands for the large model, not"):
        tune(pool, n_trials=1, escalate=pool)
