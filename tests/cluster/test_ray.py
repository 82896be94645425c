"""Collections on a Ray cluster of several nodes: all is drawn once, within one limit."""

from __future__ import annotations

import io
from collections import Counter

import dspy
import pytest
from rich.console import Console

from dspy_mux import SampleBank, SLMMux, collect

from ..support.databases import SERVER, a_place
from ..support.fault_server import fault_server

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(not SERVER, reason="no PostgreSQL server")

from dspy_mux.cluster import RayCluster  # noqa: E402

from ..support.ray_clusters import ray_cluster  # noqa: E402

K, QUESTIONS = 3, 24
ALL = {f"q{n}?": 2 * K for n in range(QUESTIONS)}


@pytest.fixture(scope="module")
def nodes():
    with ray_cluster(nodes=2) as cluster:
        yield cluster


@pytest.fixture
def bank(tmp_path):
    with a_place("postgresql", tmp_path) as url:
        made = SampleBank(url)
        yield made
        made.close()


def a_mux(server, *names, group=False):
    where = {"api_base": server.address, "api_key": "none", "engine": "lm15", "cache": False}
    lms = {name: dspy.LM(f"openai/{name}", **where) for name in names or "ab"}
    return SLMMux(dspy.Predict("question -> answer"), lms, k=K, temperature=0.5, group=group)


def questions(count=QUESTIONS):
    return [
        dspy.Example(question=f"q{n}?", answer="42").with_inputs("question") for n in range(count)
    ]


def metric(example, prediction, trace=None):
    return prediction.answer == example.answer


def recorded(bank):
    return Counter(row["question"] for row in bank.rows())


def asked(server):
    """Question → the choices asked for."""
    return sum((Counter({request.question: request.n}) for request in server.requests), Counter())


def test_workers_draw_all_once_within_one_limit_of_draws_in_flight(nodes, bank):
    screen = io.StringIO()
    with fault_server(lambda _: None, latency=0.02) as server:
        done = collect(
            a_mux(server),
            questions(),
            metric,
            bank,
            num_threads=7,
            cluster=RayCluster(workers=2),
            console=Console(file=screen),
        )
        assert (done.drawn, done.calls, done.already, done.missing) == (144, 144, 0, 0)
        assert (done.abstained, done.failed, done.stopped) == (0, 0, None)
        assert recorded(bank) == asked(server) == ALL
        assert server.most_open <= 2 * 7  # a connection of each member
    [line] = screen.getvalue().splitlines()
    assert "144/144" in line
    assert "144 calls" in line


def test_a_limit_holds_to_the_call(nodes, bank):
    with fault_server(lambda _: None, latency=0.01) as server:
        done = collect(
            a_mux(server),
            questions(),
            metric,
            bank,
            num_threads=6,
            max_calls=60,
            cluster=RayCluster(workers=2),
        )
        assert (done.stopped, done.calls, server.draws) == ("max_calls", 60, 60)
        assert sum(recorded(bank).values()) == 60
