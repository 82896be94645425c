"""The chart of what members gain, on few questions."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from eval.report import members

from ...support.tuning import plain_record


def test_the_whole_bar_of_the_objective_is_on_its_axis():
    """O(S) may be negative, and its interval leave 0 to 100 %: half of few questions do it."""
    votes = np.zeros((4, 2, 3), int)
    votes[1:, 1] = 1  # the second member contradicts the first, always
    scores = np.zeros((4, 2, 3))
    scores[0], scores[1:, 1] = 1, [[1]] * 3
    record = plain_record(votes, scores)
    task = SimpleNamespace(
        members=record.members, record=record, questions=set(record.questions), k=3
    )
    chart = members.by_size(task)
    low, high = chart.layout["yaxis"]["range"]
    objective = next(trace for trace in chart.traces if "objective" in trace["hovertext"][0])
    ends = [
        (y - down, y + up)
        for y, down, up in zip(
            objective["y"], objective["error_y"]["arrayminus"], objective["error_y"]["array"],
            strict=True,
        )
    ]  # fmt: skip
    assert min(end for end, _ in ends) < -3  # else this tests nothing
    assert low < min(end for end, _ in ends)
    assert high > max(end for _, end in ends)
