"""Choices that no draw takes are billed: limits, calls, tokens and costs count them."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import SLMMux
from dspy_mux.bank.collect import collect

from ..support.children import forks
from ..support.choices import TakesN
from ..support.fault_server import fault_server
from ..support.group_draws import Plain, an_lm, each_engine

pytestmark = pytest.mark.usefixtures("priced_here")

#: A model whose price DSPy knows: 2.50 and 10 US dollars per million tokens.
DEAR = "gpt-4o"
K, PROMPT, TOKENS = 4, 10, 2

at_work = pytest.mark.parametrize(
    "at_once",
    [{"num_threads": 12}, pytest.param({"num_threads": 12, "processes": 2}, marks=forks)],
    ids=["threads", "processes"],
)


def questions(count=6):
    return [
        dspy.Example(question=f"q{n}?", answer="42").with_inputs("question") for n in range(count)
    ]


def metric(example, prediction, trace=None):
    return True


def by_itself(step, question):
    """Asks differently in each draw."""
    return step(question=f"{question} [draw {dspy.settings.lm.kwargs['rollout_id']}]")


def only_the_first(step, question):
    """Asks in one draw alone."""
    if dspy.settings.lm.kwargs["rollout_id"]:
        return dspy.Prediction(answer="42")
    return step(question=question)


def a_mux(server, program, engine="lm15", **settings):
    lm = an_lm(server, DEAR, cache=False, engine=engine)
    return SLMMux(program, [lm], k=K, temperature=0.7, **settings)


def cost_of(server):
    choices, requests = server.given[DEAR], server.replies[DEAR]
    return (choices * TOKENS * 10 + requests * PROMPT * 2.5) * 1e-6


def within(server):
    inner = a_mux(server, dspy.Predict("question -> answer"))

    def ask(step, question):
        inner(question=question)
        return step(question=question)

    return Plain(ask)


PROGRAMS = {
    "asks differently": lambda server: Plain(by_itself),
    "asks in one draw": lambda server: Plain(only_the_first),
    "asks a mux": within,
}


@each_engine
@pytest.mark.parametrize("program", list(PROGRAMS)[:2])
def test_a_verdict_counts_choices_that_no_draw_took(program, engine):
    with fault_server(lambda _: None) as server:
        mux = a_mux(server, PROGRAMS[program](server), engine)
        with dspy.track_usage() as tracker:
            verdict = mux(question="?").verdict
        assert verdict.calls == server.given[DEAR] > 1
        assert verdict.calls - verdict.shared_calls == server.replies[DEAR]
        assert verdict.prompt_tokens == PROMPT * server.replies[DEAR]
        assert verdict.completion_tokens == TOKENS * server.given[DEAR]
        assert verdict.cost == pytest.approx(cost_of(server))
        [used] = tracker.get_total_tokens().values()
        assert used["completion_tokens"] == verdict.completion_tokens


@at_work
@pytest.mark.parametrize("most", [3, 7, 18])
@pytest.mark.parametrize("program", PROGRAMS)
def test_max_calls_counts_choices_that_no_draw_takes(bank, program, most, at_once):
    with fault_server(lambda _: None) as server:
        mux = a_mux(server, PROGRAMS[program](server))
        done = collect(mux, questions(), metric, bank, max_calls=most, **at_once)
        assert server.given[DEAR] <= most
        assert done.calls >= server.given[DEAR]
        assert done.stopped == "max_calls" or program == "asks in one draw"


@at_work
@pytest.mark.parametrize("most", [3, 5, 11, 18])
def test_max_calls_counts_copies_of_one_text(bank, most, at_once, monkeypatch):
    monkeypatch.setattr("dspy_mux.sampling.group_limits.LONG", 10)
    with fault_server(copies_of_each_request) as server:
        mux = a_mux(server, dspy.Predict("question -> answer"))
        done = collect(mux, questions(), metric, bank, max_calls=most, **at_once)
        assert (done.stopped, server.given[DEAR] <= most) == ("max_calls", True)
        assert done.calls == server.given[DEAR] > most - 3


def copies_of_each_request(request):
    return TakesN.SAME


def test_max_cost_counts_choices_that_no_draw_takes(bank):
    with fault_server(lambda _: None) as server:
        mux = a_mux(server, Plain(only_the_first))
        done = collect(mux, questions(), metric, bank, max_cost=1.0)
        assert done.cost == pytest.approx(cost_of(server))
        assert done.calls == server.given[DEAR] > done.drawn / K


@pytest.fixture
def bank(tmp_path):
    return tmp_path / "bank.sqlite"
