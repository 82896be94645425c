"""A mux that escalates to a real HTTP server: saved, inside a program, async, and with it down."""

from __future__ import annotations

import asyncio
import socket

import dspy
import pytest

from dspy_mux import Member, MuxOptimizer, SampleBank, SLMMux
from dspy_mux.bank.collect import collect

from ..support.fault_server import Fault, fault_server

#: Models whose price DSPy knows: 0.15 and 0.60, 2.50 and 10 US dollars per million tokens.
SMALL, LARGE = ("gpt-4o-mini", "gpt-3.5-turbo"), "gpt-4o"
QA = "question -> answer"

pytestmark = pytest.mark.usefixtures("priced_here")


def answers(request):
    """The small models are of one mind on "sure?" alone; the large one knows all."""
    if request.model == LARGE:
        return "large"
    return "small" if "sure" in request.question else f"{request.model} {request.choice}"


@pytest.fixture
def server():
    with fault_server(lambda request: None, answers) as server:
        yield server


def lm(name, address):
    return dspy.LM(f"openai/{name}", api_base=address, api_key="none", engine="lm15", num_retries=0)


def large(address):
    return Member(lm(LARGE, address), name="large")


def pool(server):
    return {name: lm(name, server.address) for name in SMALL}


def a_mux(server, escalate=None, program=None, **settings):
    return SLMMux(
        dspy.Predict(QA) if program is None else program,
        pool(server),
        k=3,
        threshold=0.9,
        otherwise="escalate",
        escalate=large(server.address) if escalate is None else escalate,
        **settings,
    )


def down():
    """The address of a server that has gone."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"http://127.0.0.1:{gone.getsockname()[1]}/v1"


@pytest.fixture(params=["sync", "async"])
def ask(request):
    if request.param == "sync":
        return lambda module, question: module(question=question)
    return lambda module, question: asyncio.run(module.acall(question=question))


def test_the_large_model_is_asked_once_and_only_in_doubt(server, ask):
    mux = a_mux(server)
    sure, doubtful = ask(mux, "sure?").verdict, ask(mux, "what?").verdict
    assert (sure.answer, sure.trusted, sure.escalated, sure.calls) == ("small", True, False, 6)
    assert (doubtful.answer, doubtful.trusted, doubtful.escalated) == ("large", False, True)
    assert (doubtful.calls, server.count(LARGE)) == (7, 1)
    assert 0 < sure.cost < doubtful.cost  # the large model's price counts


def test_saved_and_loaded(server, ask, tmp_path):
    a_mux(server, schedule="frugal").save(tmp_path / "mux.json")
    again = SLMMux.from_file(tmp_path / "mux.json", pool(server), escalate=large(server.address))
    assert ask(again, "what?").verdict.escalated
    assert not ask(again, "sure?").verdict.escalated
    elsewhere = SLMMux.from_file(tmp_path / "mux.json", pool(server), escalate=large(down()))
    assert ask(elsewhere, "what else?").verdict.escalation_cause


class Outer(dspy.Module):
    """Asks a mux, then the configured model."""

    def __init__(self, mux):
        super().__init__()
        self.mux, self.last = mux, dspy.Predict(QA)

    def forward(self, question):
        found = self.mux(question=question)
        return dspy.Prediction(
            answer=found.answer,
            verdict=found.verdict,
            last=self.last(question=f"sure {found.answer}?").answer,
        )

    async def aforward(self, question):
        found = await self.mux.acall(question=question)
        last = await self.last.acall(question=f"sure {found.answer}?")
        return dspy.Prediction(answer=found.answer, verdict=found.verdict, last=last.answer)


def test_inside_a_larger_program_that_is_saved_and_loaded(server, ask, tmp_path):
    Outer(a_mux(server)).save(tmp_path / "outer.json")
    program = Outer(a_mux(server))
    program.load(tmp_path / "outer.json")
    with dspy.context(lm=lm(SMALL[0], server.address), track_usage=True):
        prediction = ask(program, "what?")
    assert (prediction.answer, prediction.last) == ("large", "small")
    assert prediction.verdict.escalated
    assert f"openai/{LARGE}" in prediction.get_lm_usage()
    assert any(each.question == "sure large?" for each in server.requests)


@pytest.mark.parametrize("how", ["gone", "hangs", Fault.UNAVAILABLE, Fault.NULL_CONTENT])
def test_with_the_large_models_server_down_the_pools_answer_stands_flagged(ask, how):
    def plan(request):
        if request.model != LARGE or how == "gone":
            return None
        return Fault.HANG if how == "hangs" else how

    with fault_server(plan, answers) as server:
        escalate = large(down() if how == "gone" else server.address)
        mux = a_mux(server, escalate, timeout=5.0 if how == "hangs" else None)
        verdict = ask(mux, "what?").verdict
        assert verdict.answer.startswith(SMALL[0])
        assert (verdict.trusted, verdict.escalated) == (False, False)
        assert verdict.escalation_cause
        # What the pool is sure of knows nothing of it.
        assert ask(mux, "sure?").verdict.escalation_cause is None


def example(number):
    return dspy.Example(question=f"sure {number}?", answer="small").with_inputs("question")


def metric(given, prediction, trace=None):
    return prediction.answer == given.answer


def test_max_cost_is_of_the_pools_draws_as_the_large_model_is_not_drawn_from(server, tmp_path):
    bank = SampleBank(tmp_path / "bank.sqlite")
    asked = [example(number) for number in range(10)] + [
        dspy.Example(question=f"what {number}?", answer="large").with_inputs("question")
        for number in range(10)
    ]
    stopped = collect(a_mux(server), asked, metric, bank, max_cost=5e-5)
    assert (stopped.stopped, server.count(LARGE)) == ("max_cost", 0)
    assert 0 < stopped.cost <= 5e-5
    done = collect(a_mux(server), asked, metric, bank, max_cost=1.0)
    assert (done.stopped, done.missing, server.count(LARGE)) == (None, 0, 0)


def test_compiled_under_a_max_cost_a_mux_still_escalates(server, tmp_path):
    optimizer = MuxOptimizer(
        metric=metric, n_trials=3, max_cost=1.0, bank=SampleBank(tmp_path / "bank.sqlite")
    )
    best = optimizer.compile(a_mux(server), trainset=[example(number) for number in range(12)])
    assert server.count(LARGE) == 0
    verdict = best(question="what?").verdict
    assert verdict.answer == "large"
    assert verdict.escalated
