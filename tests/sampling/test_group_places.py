"""Who gets which choice of a request, whoever leaves meanwhile."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.sampling.claimant import Claimant
from dspy_mux.sampling.group import DrawGroup
from dspy_mux.sampling.group_limits import server_limits
from dspy_mux.sampling.shared_request import SPENT

from ..support.wait import PATIENCE_S, until


class Who(Claimant):
    def __init__(self, number):
        super().__init__()
        self.number = number


class What:
    """A first call; its choices are texts."""

    server, temperature, may_be_cached = ("http://elsewhere", "a"), 0.5, False

    def __init__(self, asker, content="?"):
        self.asker, self.content = asker, content

    def is_cached(self, asker):
        return False

    def text_of(self, choice):
        return choice

    def merged(self, choices):
        return choices[0]


def a_group(count):
    group, draws = DrawGroup(count), [Who(number) for number in range(count)]
    for draw in draws:
        group.expect(draw)
    return group, draws


def test_a_sender_that_leaves_takes_no_choice_from_the_others():
    group, (first, second) = a_group(2)
    sending, go = threading.Event(), threading.Event()

    def send(n):
        sending.set()
        go.wait(PATIENCE_S)
        return [f"{n} {at}" for at in range(n)]

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(group.ask, What(first), send)
        assert sending.wait(PATIENCE_S)
        two = threads.submit(group.ask, What(second), send)
        group.leave(first)
        with pytest.raises(CancelledError):
            one.result(PATIENCE_S)
        go.set()
        assert two.result(PATIENCE_S) == "2 0"
    # The one that left is counted for the request.
    assert (first.shared, second.shared) == (0, 1)


def test_a_sender_cancelled_before_it_sends_leaves_nobody_waiting():
    async def ask():
        group, (first, second) = a_group(2)
        closing, go = threading.Event(), threading.Event()

        class Slow(What):
            may_be_cached = True

            def is_cached(self, asker):
                closing.set()
                go.wait(PATIENCE_S)
                return False

        async def send(n):
            return [str(at) for at in range(n)]

        one = asyncio.ensure_future(group.aask(Slow(first), send))
        await asyncio.to_thread(closing.wait)
        one.cancel()
        await asyncio.wait([one])
        group.leave(first)
        two = asyncio.ensure_future(group.aask(What(second), send))
        await asyncio.sleep(0)
        go.set()
        assert await asyncio.wait_for(two, PATIENCE_S) == "0"

    asyncio.run(ask())


def test_a_draw_that_left_before_it_asked_does_not_wait():
    group, (first, second) = a_group(2)
    group.leave(first)
    with pytest.raises(CancelledError):
        group.ask(What(first), lambda n: pytest.fail("it asked"))
    assert group.ask(What(second), lambda n: [f"of {n}"]) == "of 1"


def test_whatever_goes_wrong_before_a_request_is_every_draws_error():
    class Broken(What):
        def is_cached(self, asker):
            raise OSError("the cache is gone")

    group, draws = a_group(2)
    for draw in draws:
        with pytest.raises(OSError, match="the cache is gone"):
            group.ask(Broken(draw), lambda n: pytest.fail("it asked"))


def test_nobody_asks_where_all_have_left_before_the_request():
    group, draws = a_group(2)
    sent = []
    with ThreadPoolExecutor(1) as threads, group.beginning():
        one = threads.submit(group.ask, What(draws[0]), lambda n: sent.append(n) or ["x"])
        until(lambda: group._under_way)
        for draw in draws:
            group.leave(draw)
        with pytest.raises(CancelledError):
            one.result(PATIENCE_S)
    assert group.ask(What(Who(2)), lambda n: sent.append(n) or ["x"]) == "x"
    assert sent == [1]


@settings(max_examples=60)
@given(
    given_at_once=st.integers(1, 7),
    most=st.none() | st.integers(2, 5),
    leaving=st.sets(st.integers(0, 6)),
    reply=st.sampled_from(["shuffled", "same order"]),
    data=st.data(),
)
def test_every_draw_gets_a_choice_of_its_own(given_at_once, most, leaving, reply, data):
    server_limits.forget()
    if most is not None:
        server_limits.limit(What.server, most, "so it says")
    group, draws = a_group(7)
    lock, made = threading.Lock(), []

    def send(n):
        with lock:
            choices = [f"{len(made)} {at}" for at in range(min(n, given_at_once))]
            made.append(choices)
            return choices

    def ask(draw):
        try:
            return group.ask(What(draw), send)
        finally:
            group.leave(draw)

    order = data.draw(st.permutations(draws))
    with ThreadPoolExecutor(len(draws)) as threads:
        asking = {}
        for draw in order:
            if draw.number in leaving:
                group.leave(draw)
            else:
                asking[draw] = threads.submit(ask, draw)
        found = [future.result(PATIENCE_S) for future in asking.values()]
    assert len(set(found)) == len(found) == len(draws) - len(leaving)
    assert set(found) <= {choice for choices in made for choice in choices}
    # Counted as a call each, the shared ones apart, they are as many as the requests.
    counted = sum(1 - draw.shared for draw in asking)
    assert counted == len(made)


def test_a_draw_that_leaves_while_it_learns_that_its_choice_is_unpaid_is_refused():
    class Empty:
        def further(self):
            return False

        def refuse(self):
            raise PermissionError("the budget is spent")

    group, (draw,) = a_group(1)
    draw.spender, draw.unclaimed = Empty(), 1
    group.leave(draw)
    with pytest.raises(PermissionError, match="the budget is spent"):
        group._is_taken(What(draw), SPENT)
    assert draw.unclaimed == 0
