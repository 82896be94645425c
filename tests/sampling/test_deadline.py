"""Deadlines: what is offered is stopped at the end, and loading puts them off."""

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
    outer.begin(60)
    inner.begin(60)
    token = current_deadline.set(inner)
    yield outer, inner
    current_deadline.reset(token)


def test_outside_of_draws_offers_and_loads_do_nothing():
    offer(lambda: pytest.fail("it was stopped"))
    with loading():
        assert Deadline().at == math.inf


def test_an_offered_call_is_stopped_once(around):
    stopped = []
    offer(lambda: stopped.append(1))
    assert not stopped
    around[1].end()
    around[1].end()
    assert stopped == [1]


def test_a_call_offered_too_late_is_stopped_immediately(around):
    stopped = []
    around[1].end()
    offer(lambda: stopped.append(1))
    assert stopped == [1]


def test_a_load_puts_off_all_deadlines_around_it(around):
    before = [deadline.at for deadline in around]
    with loading():
        time.sleep(0.05)
        assert all(new.at >= old + 0.05 for new, old in zip(around, before, strict=True))
    after = [deadline.at for deadline in around]
    assert all(new >= old + 0.05 for new, old in zip(after, before, strict=True))
    time.sleep(0.01)
    assert [deadline.at for deadline in around] == after


def test_loads_at_the_same_time_count_once(around):
    before, began = around[0].at, time.monotonic()
    with loading(), loading(), loading():
        time.sleep(0.05)
    assert before + 0.05 <= around[0].at <= before + time.monotonic() - began


def test_a_failed_load_has_ended(around):
    with pytest.raises(ValueError, match="broken"), loading():
        raise ValueError("broken")
    after = around[0].at
    time.sleep(0.01)
    assert around[0].at == after


def test_a_load_sets_no_deadline(around):
    around[1].begin(None)
    with loading():
        assert around[1].at == math.inf
    assert around[1].at == math.inf
