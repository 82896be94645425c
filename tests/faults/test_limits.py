"""Limits on what a collection spends hold to the call, however many threads and processes make its
draws."""

from __future__ import annotations

import time

import dspy
import pytest

from dspy_mux import ConfigurationError, Member, SampleBank, SLMMux
from dspy_mux.bank.collect import collect

from ..support.children import forks
from ..support.fault_server import Fault, always, fault_server, in_turn

pytestmark = pytest.mark.usefixtures("priced_here")

#: Models whose price DSPy knows: 0.15 and 0.60, 2.50 and 10 US dollars per million tokens.
CHEAP, DEAR = "gpt-4o-mini", "gpt-4o"


#: Draws in flight at once, and the processes that share them.
at_work = pytest.mark.parametrize(
    "at_once",
    [
        {"num_threads": 16},
        {"num_threads": 64},
        pytest.param({"num_threads": 16, "processes": 3}, marks=forks),
    ],
    ids=["16 threads", "64 threads", "3 processes"],
)


class Wandering(dspy.Module):
    """Takes one to five calls for a question, which only the program knows."""

    def __init__(self):
        super().__init__()
        self.step = dspy.Predict("question -> answer")

    def forward(self, question):
        for number in range(1, 1 + steps(question)):
            prediction = self.step(question=f"{question} step {number}")
        return prediction


def steps(question):
    return 1 + int(question[1:-1]) % 5


def questions(count):
    return [
        dspy.Example(question=f"q{n}?", answer="42").with_inputs("question") for n in range(count)
    ]


def metric(example, prediction, trace=None):
    return prediction.answer == example.answer


def a_mux(server, *names, program=None, **settings):
    lms = {
        name: dspy.LM(
            f"openai/{name}", api_base=server.address, api_key="none", cache=False, **settings
        )
        for name in names
    }
    return SLMMux(program or dspy.Predict("question -> answer"), lms, k=2)


@pytest.fixture
def bank(tmp_path):
    made = SampleBank(tmp_path / "bank.sqlite")
    yield made
    made.close()


@at_work
def test_no_call_beyond_max_calls_reaches_the_server(bank, at_once):
    with fault_server(lambda _: None, latency=0.01) as server:
        mux = a_mux(server, "a", "b", program=Wandering())
        done = collect(mux, questions(40), metric, bank, max_calls=100, **at_once)
        assert done.stopped == "max_calls"
        assert done.calls == server.draws <= 100
        assert server.draws > 80  # a draw is not begun where it could not be ended
        rows = list(bank.rows())
        assert len(rows) == done.drawn
        assert [row["calls"] for row in rows] == [steps(row["question"]) for row in rows]
        assert done.abstained == 0  # a draw that the limit ended is not an abstention
        done = collect(mux, questions(40), metric, bank, **at_once)
        assert (done.missing, done.abstained) == (0, 0)


class Routed(dspy.Module):
    """Three steps, of which a question takes one."""

    def __init__(self):
        super().__init__()
        self.steps = [dspy.Predict("question -> answer") for _ in range(3)]

    def forward(self, question):
        return self.steps[steps(question) % 3](question=question)


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_steps_not_taken_leave_their_calls_to_others(bank, limit):
    with fault_server(lambda _: None) as server:
        done = collect(
            a_mux(server, "a", "b", program=Routed()),
            questions(12),
            metric,
            bank,
            max_calls=limit,
            num_threads=8,
        )
        assert (done.calls, done.drawn, done.stopped) == (limit, limit, "max_calls")
        assert server.draws == limit


def test_a_retried_call_is_one_more_call(bank):
    with fault_server(in_turn(Fault.UNAVAILABLE, Fault.RATE_LIMITED)) as server:
        done = collect(
            a_mux(server, "a"), questions(30), metric, bank, max_calls=40, num_threads=16
        )
        assert done.calls == server.draws <= 40
    with fault_server(always(Fault.UNAVAILABLE)) as server:
        done = collect(
            a_mux(server, "a", num_retries=5),
            questions(60)[30:],
            metric,
            bank,
            max_calls=20,
            num_threads=16,
        )
        assert (done.calls, server.draws, done.stopped) == (20, 20, "max_calls")


def test_answers_from_dspys_cache_are_not_calls(bank, tmp_path):
    with fault_server(lambda _: None) as server:
        mux = SLMMux(
            Wandering(),
            [Member(dspy.LM("openai/a", api_base=server.address, api_key="none"), name="a")],
            k=1,
        )
        before = collect(
            mux, questions(20), metric, SampleBank(tmp_path / "other.sqlite"), num_threads=8
        )
        done = collect(mux, questions(25), metric, bank, max_calls=15, num_threads=8)
        assert (done.drawn, done.calls, done.stopped) == (25, 15, None)
        assert server.draws == before.calls + 15


def test_calls_by_the_programs_own_lm_count_too(bank):
    with fault_server(lambda _: None) as server:
        helper = dspy.LM("openai/helper", api_base=server.address, api_key="none", cache=False)

        class Helped(dspy.Module):
            def __init__(self):
                super().__init__()
                self.step = dspy.Predict("question -> answer")

            def forward(self, question):
                with dspy.context(lm=helper):
                    self.step(question=question)
                return self.step(question=question)

        done = collect(
            a_mux(server, "a", program=Helped()),
            questions(30),
            metric,
            bank,
            max_calls=21,
            num_threads=16,
        )
        assert done.calls == server.draws <= 21


@at_work
def test_max_cost_holds_where_calls_cost_alike(bank, at_once):
    with fault_server(lambda _: None, latency=0.02, usage=lambda _: 1000) as server:
        done = collect(
            a_mux(server, CHEAP, DEAR),
            questions(60),
            metric,
            bank,
            max_cost=0.2,
            **at_once,
        )
        assert (done.stopped, done.calls) == ("max_cost", server.draws)
        assert 0.18 < done.cost <= 0.2


@at_work
def test_max_cost_is_passed_only_by_unknown_costs(bank, at_once):
    def usage(request):
        return 100 * (1 + int(request.question[1:].split("?")[0]) % 7)

    with fault_server(lambda _: None, latency=0.02, usage=usage) as server:
        done = collect(
            a_mux(server, DEAR, program=Wandering()),
            questions(60),
            metric,
            bank,
            max_cost=0.1,
            **at_once,
        )
        assert done.stopped == "max_cost"
        # num_threads calls are under way at most, of 700 tokens rather than the first call's 100.
        assert done.cost < 0.1 + at_once["num_threads"] * 600 * 10e-6
        assert done.abstained == 0


@at_work
def test_members_of_unknown_price_draw_one_by_one(bank, at_once):
    with fault_server(lambda _: None, latency=0.3, usage=lambda _: 100_000) as server:
        done = collect(
            a_mux(server, CHEAP, DEAR), questions(20), metric, bank, max_cost=0.5, **at_once
        )
        # A draw costs $0.06 or $1.00, which only the first of the dear member shows.
        assert server.count(DEAR) == 1
        assert done.stopped == "max_cost"
        assert sum(row["model"] == DEAR for row in bank.rows()) == 1


def test_a_max_cost_of_zero_makes_no_call(bank):
    with fault_server(lambda _: None) as server:
        done = collect(a_mux(server, CHEAP), questions(3), metric, bank, max_cost=0)
        assert (done.stopped, done.missing, server.requests) == ("max_cost", 6, [])


def test_max_cost_without_any_price_is_refused(bank):
    with fault_server(lambda _: None) as server:
        with pytest.raises(
            ConfigurationError, match="no price of a, b, so max_cost cannot hold: set max_calls"
        ):
            collect(
                a_mux(server, "a", "b"), questions(20), metric, bank, max_cost=1.0, num_threads=16
            )
        assert len(list(bank.rows())) == server.draws <= 32


def test_a_member_without_a_price_is_warned_about(bank, caplog):
    with fault_server(lambda _: None) as server:
        done = collect(a_mux(server, "a", CHEAP), questions(5), metric, bank, max_cost=1.0)
        assert (done.missing, done.stopped) == (0, None)
        assert "DSPy knows no price of a, whose calls max_cost does not count" in caplog.text


def test_a_slow_metric_is_not_draw_time(bank):
    def slow(example, prediction, trace=None):
        time.sleep(2.5)
        return True

    with fault_server(lambda _: None) as server:
        mux = a_mux(server, "a")
        mux.pool.settings.timeout = 2
        assert collect(mux, questions(1), slow, bank).abstained == 0


def test_draws_made_when_a_metric_fails_are_recorded(bank):
    def broken(example, prediction, trace=None):
        time.sleep(0.1)
        raise KeyError("gold")

    with fault_server(lambda _: None) as server:
        with pytest.raises(Exception, match="The metric raised KeyError"):
            collect(a_mux(server, "a", "b"), questions(30), broken, bank, num_threads=8)
        assert len(list(bank.rows())) == server.draws >= 8
