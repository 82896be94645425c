"""Draws of a group begin together where there is room, or in parts rather than wait long."""

from __future__ import annotations

import time

import dspy
import pytest

from dspy_mux import SLMMux
from dspy_mux.sampling import run
from dspy_mux.sampling.interrupt import Interrupt
from dspy_mux.sampling.run import sample

from ..support.choice_server import choice_server
from ..support.fault_server import Fault, fault_server
from ..support.group_draws import a_mux, an_lm, numbered
from ..support.wait import until

K = 9


@pytest.mark.parametrize(("threads", "second"), [(13, None), (14, 5), (18, 9)])
def test_a_group_waits_for_room_for_more_than_half_of_it(threads, second):
    def say(prompt, number):
        if second is not None:  # it begins while the first is under way
            until(lambda: len(server.bodies) > 1)
        return numbered(prompt, number)

    with choice_server(say) as server:
        members = [an_lm(server, name) for name in ("a", "b")]
        mux = SLMMux(dspy.Predict("question -> answer"), members, k=K, num_threads=threads)
        assert mux(question="?").verdict.calls == 2 * K
        sizes = server.sizes()
        assert sum(sizes) == 2 * K
        if second is None:  # how many more than half depends on how soon the first ones settle
            assert sizes[0] == K
            assert sizes[1] > K / 2
        else:
            assert sorted(sizes[:2]) == [second, K]


def draws_of(mux, questions, k):
    for number in range(questions):
        yield from mux.draws(0, range(k), {"question": f"q{number}?"})


@pytest.fixture
def turns(monkeypatch):
    """How often a loop over draws looked for draws to begin."""
    counted, begin_draws = [], run._DrawThreads.begin_draws

    def begin(threads):
        counted.append(None)
        begin_draws(threads)

    monkeypatch.setattr(run._DrawThreads, "begin_draws", begin)
    return counted


@pytest.mark.parametrize("threads", [15, 18, 20])
def test_groups_stay_whole_over_many_questions_without_a_busy_loop(threads, turns):
    k, questions = 5, 24
    with fault_server(lambda _: None, latency=0.01) as server:
        mux = a_mux(server, k=k)
        drawn = list(sample(draws_of(mux, questions, k), num_threads=threads))
        assert [draw.cause for draw in drawn] == [None] * (questions * k)
        assert server.draws == questions * k
        assert questions * k / len(server.requests) >= 0.8 * k
    # A turn for each draw that settles, and a few for each group that waits for more room.
    assert len(turns) <= 6 * questions * k


def test_groups_stay_whole_where_their_draws_are_taken_slowly():
    """Draws that have finished make room, also those that nobody has come to."""
    k, questions = 4, 5
    with fault_server(lambda _: None) as server:
        mux = a_mux(server, k=k)
        for draw in sample(draws_of(mux, questions, k), num_threads=k + k // 2):
            assert draw.cause is None
            time.sleep(run.HEAD_START_S * 1.5)
        assert questions * k / len(server.requests) >= 0.8 * k


def test_a_part_that_waits_for_room_delays_no_draw_and_no_end(turns):
    def hangs(request):
        return Fault.HANG if request.question == "q0?" else None

    with fault_server(hangs) as server:
        mux = a_mux(server, k=4)
        # The first question keeps its threads until its deadline: the others' groups come in parts.
        draws = draws_of(mux, 3, 4)
        drawn = list(sample(draws, num_threads=7, timeout=1.0))
        causes = [draw.cause for draw in drawn]
        assert (causes.count(None), len(causes)) == (8, 12)
        assert causes[:3] == [None] * 3  # long before the deadline
        assert len(turns) <= 6 * 12
        interrupt, ended = Interrupt(), []
        for draw in sample(draws_of(mux, 4, 4), num_threads=7, interrupt=interrupt):
            ended.append(draw)
            interrupt.presses = 1
            interrupt.ask()
        assert len(ended) <= 3
