from __future__ import annotations

import math
import random

import pytest

from dspy_mux.voting.evidence import WINDOW, Evidence, measured


def test_the_answer_is_a_part_of_the_text():
    found = measured([-1.0, -0.5, -0.25, -2.0], (1, 3), temperature=0.5, finish_reason="stop")
    assert found == Evidence(-0.75, 2, -3.75, 4, -3.75 / 4, 0.5, "stop")


def test_the_lowest_window_is_that_of_all_windows():
    values = [-random.Random(1).expovariate(1.0) for _ in range(100)]
    means = [sum(values[at : at + WINDOW]) / WINDOW for at in range(len(values) - WINDOW + 1)]
    assert measured(values, None).lowest_logprob == pytest.approx(min(means))


def test_what_is_no_log_probability_is_no_evidence():
    assert measured([-1.0, math.nan], (0, 1)) == Evidence(completion_tokens=2)
    assert measured([-1.0, -math.inf], (0, 1)).text_logprob is None
    assert measured([], None) == Evidence()
    assert measured([1e-7], (0, 1)).probability == 1.0
