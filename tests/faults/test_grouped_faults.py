"""What servers make of n, and faults of single choices: what each costs draws that share a request.

No draw is lost, and no choice is paid for twice.
"""

from __future__ import annotations

import re

import dspy
import pytest

from dspy_mux import SLMMux

from ..support.choices import TakesN
from ..support.fault_server import Fault, always, fault_server, in_turn
from .test_faults import EXPECTED, an_lm, asked

K = 3
#: Sizes of the requests for the K draws of a question, and of those for it when asked anew.
TAKEN = {
    TakesN.ALL: ([3], [3]),
    TakesN.NAMED: ([3, 1, 1, 1], [1, 1, 1]),
    TakesN.UNNAMED: ([3, 1, 1, 1], [1, 1, 1]),
    TakesN.ONE: ([3, 1, 1], [1, 1, 1]),
    TakesN.SAME: ([3], [3]),  # short texts may be the same by chance
    TakesN.FEWER: ([3, 1], [3, 1]),
    TakesN.LIMITED: ([3, 2, 1], [2, 1]),
}
engines = pytest.mark.parametrize(
    ("how", "engine"), [("call", "lm15"), ("acall", "lm15"), ("call", "litellm")]
)


def a_mux(server, engine):
    lms = [
        an_lm(server, name, engine=engine, cache=False, num_retries=3)
        for name in ("sound", "faulty")
    ]
    return SLMMux(dspy.Predict("question -> answer"), lms, k=K, temperature=1.0)


def test_every_way_to_take_n_has_an_expectation():
    assert set(TAKEN) == set(TakesN)


@engines
@pytest.mark.parametrize("takes", TakesN, ids=lambda takes: takes.value)
def test_whatever_a_server_makes_of_n_no_draw_is_lost_or_paid_twice(takes, how, engine):
    with fault_server(always(takes, model="faulty")) as server:
        for sizes in TAKEN[takes]:
            for counts in (server.requests, server.given, server.replies):
                counts.clear()
            verdict = asked(a_mux(server, engine), how)
            sound, faulty = verdict.ballots
            assert (faulty.answers[0].answer, faulty.answers[0].count) == ("42", K)
            assert sound.answers[0].count == K
            assert (server.sizes("sound"), server.given["sound"]) == ([K], K)
            # Requests that leave together arrive in any order.
            assert sorted(server.sizes("faulty"), reverse=True) == sizes
            assert server.given["faulty"] == K
            assert verdict.prompt_tokens == 10 * (1 + server.replies["faulty"])
            assert verdict.completion_tokens == 2 * 2 * K


@engines
@pytest.mark.parametrize(
    "fault", [Fault.NULL_CONTENT, Fault.CUT_OFF], ids=lambda fault: fault.value
)
def test_a_fault_of_one_choice_costs_one_draw(fault, how, engine):
    with fault_server(always(fault, model="faulty")) as server:
        server.struck = frozenset({1})
        faulty = asked(a_mux(server, engine), how).ballots[1]
        assert (server.sizes("faulty"), server.given["faulty"]) == ([K], K)
        assert sum(faulty.abstentions.values()) == 1
        assert re.match(EXPECTED[fault][1], next(iter(faulty.abstentions)))
        assert faulty.answers[0].count == K - 1


@engines
def test_passing_faults_of_a_request_are_retried_and_answered(how, engine):
    with fault_server(in_turn(Fault.RATE_LIMITED, Fault.UNAVAILABLE, model="faulty")) as server:
        verdict = asked(a_mux(server, engine), how)
        assert verdict.ballots[1].answers[0].count == K
        assert (server.sizes("faulty"), server.given["faulty"]) == ([K] * 3, K)
        assert verdict.calls - verdict.shared_calls == len(server.requests)
