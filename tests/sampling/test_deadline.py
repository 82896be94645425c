"""What an engine tells the draw around its call: how to stop it, and that it loads what is no draw's time."""

from __future__ import annotations

import math
import time

import pytest

from dspy_mux.sampling.deadline import Deadline, current_deadline, loading, offer


@pytest.fixture
def around():
    """Two draws around this call, one inside the other, each with a minute."""
    outer, inner = Deadline(), Deadline()
    inner.outer = outer
    for each in (outer, inner):
        each.begin(60)
    token = current_deadline.set(inner)
    yield outer, inner
    current_deadline.reset(token)


def test_without_a_draw_nothing_is_told():
    offer(lambda: pytest.fail("nobody stops it"))
    with loading():
        assert Deadline().at == math.inf


def test_what_is_offered_is_stopped_once_at_the_draws_end(around):
    stopped = []
    offer(lambda: stopped.append(1))
    assert not stopped
    around[1].end()
    around[1].end()
    assert stopped == [1]


def test_what_is_offered_after_the_draws_end_is_stopped_at_once(around):
    stopped = []
    around[1].end()
    offer(lambda: stopped.append(1))
    assert stopped == [1]


def test_a_load_puts_off_the_deadlines_of_all_draws_around_it(around):
    before = [each.at for each in around]
    with loading():
        time.sleep(0.05)
        assert all(
            each.at >= deadline + 0.05 for each, deadline in zip(around, before, strict=True)
        )
    after = [each.at for each in around]
    assert all(new >= old + 0.05 for new, old in zip(after, before, strict=True))
    time.sleep(0.01)
    assert [each.at for each in around] == after


def test_loads_at_the_same_time_count_once(around):
    before, began = around[0].at, time.monotonic()
    with loading(), loading(), loading():
        time.sleep(0.05)
    assert before + 0.05 <= around[0].at <= before + time.monotonic() - began


def test_a_load_that_fails_is_over(around):
    with pytest.raises(ValueError, match="broken"), loading():
        raise ValueError("broken")
    after = around[0].at
    time.sleep(0.01)
    assert around[0].at == after


def test_a_draw_without_a_deadline_has_none_after_a_load(around):
    around[1].begin(None)
    with loading():
        assert around[1].at == math.inf
    assert around[1].at == math.inf
