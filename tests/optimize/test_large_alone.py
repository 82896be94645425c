"""What a large model is right on alone, beside the points of a pool that it helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dspy_mux import Record, tune
from dspy_mux.mux.points import load_points
from dspy_mux.optimize.points_text import points_note
from dspy_mux.replay.splits import Split


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
