"""The rule `probability` in a live mux: its README call, its schedules, its files."""

from __future__ import annotations

import math
from contextlib import ExitStack

import dspy
import pytest

from dspy_mux import ConfigurationError, Member, PlainAdapter, SLMMux
from dspy_mux.voting.probability import Probability
from dspy_mux.voting.probability_sums import Scale

from ..support.logprob_server import logprob_server

QA = "question -> answer"
#: What each model answers, and how probable it finds that.
SAYS = {"one": ("Rome", 0.3), "two": ("Rome", 0.3), "three": ("Paris", 0.9)}
FITTED = Probability(
    tuple(SAYS), (1, 1, 1), (Scale(), Scale(), Scale(shift=-3.0)), 1.2, 0.1, trained_on=99
)


@pytest.fixture
def servers():
    """A server a model, as each says something else."""
    with ExitStack() as stack:
        started = {}
        for name, (text, p) in SAYS.items():
            server = stack.enter_context(logprob_server(lambda prompt, text=text: text))
            server.split = lambda text: [text.encode()]
            server.weigh = lambda position, token, p=p: math.log(p)
            started[name] = server
        yield started


def a_pool(servers):
    return [
        Member(
            dspy.LM(
                f"openai/{name}",
                api_base=server.address,
                api_key="none",
                engine="lm15",
                cache=False,
            ),
            name=name,
            adapter=PlainAdapter(),
        )
        for name, server in servers.items()
    ]


def a_mux(servers, rule="probability", **arguments):
    program = dspy.Predict(QA)
    return SLMMux(program, a_pool(servers), k=1, temperature=0, rule=rule, **arguments)


def test_one_greedy_call_each_by_probability(servers):
    verdict = a_mux(servers)(question="?").verdict
    assert (verdict.answer, verdict.member, verdict.rule) == ("Paris", "three", "probability")
    assert (verdict.calls, verdict.tie_break) == (3, "nothing")
    assert verdict.confidence == pytest.approx(0.9 / 3)
    assert all(body["temperature"] == 0 for server in servers.values() for body in server.bodies)


def test_several_greedy_draws_are_refused_under_this_rule_too(servers):
    with pytest.raises(ConfigurationError, match="temperature 0"):
        SLMMux(dspy.Predict(QA), a_pool(servers), k=2, temperature=0, rule="probability")


@pytest.mark.parametrize("schedule", ["frugal", "hedged"])
def test_schedules_keep_the_answer(servers, schedule):
    for accuracies in ({"three": 0.9, "one": 0.5}, {"one": 0.9, "two": 0.5}):
        mux = a_mux(servers, schedule=schedule, accuracies=accuracies)
        assert mux(question="?").verdict.answer == "Paris"


def test_frugal_ends_once_two_are_sure(servers):
    servers["one"].say = lambda prompt: "Paris"
    servers["one"].weigh = lambda position, token: math.log(0.8)
    mux = a_mux(servers, schedule="frugal", accuracies={"three": 0.9, "one": 0.5})
    verdict = mux(question="?").verdict
    assert (verdict.answer, verdict.calls, servers["two"].bodies) == ("Paris", 2, [])
    assert verdict.confidence == pytest.approx(1.7 / 3)  # at the least


def test_a_fitted_rule_is_saved_and_loaded(servers, tmp_path):
    mux = a_mux(servers, FITTED)
    mux.save(tmp_path / "mux.json")
    loaded = SLMMux.from_file(tmp_path / "mux.json", a_pool(servers))
    assert loaded.rule == FITTED
    verdict = loaded(question="?").verdict
    # Its shift takes the third member's 0.9 down to 0.31, below the two others' 0.6.
    assert (verdict.answer, verdict.rule) == ("Rome", "probability")
    assert verdict.confidence == mux(question="?").verdict.confidence
    plain = a_mux(servers)
    plain.save(tmp_path / "plain.json")
    assert SLMMux.from_file(tmp_path / "plain.json", a_pool(servers)).rule == Probability()


def test_a_fitted_rule_is_for_its_members_alone(servers):
    with pytest.raises(ConfigurationError, match="was fitted for one"):
        a_mux(servers, FITTED).subset(["one"])
    assert a_mux(servers).subset(["one"]).rule == Probability()
