"""A member whose server is down is given up, and the others go on; the rest is for a later run."""

from __future__ import annotations

import threading
from collections import Counter

import dspy
import pytest

from dspy_mux import Member, MuxError, SLMMux
from dspy_mux.bank.collect import collect

from ..support.children import forks
from ..support.fault_server import Fault, fault_server
from ..support.scripted import ScriptedEngine
from ..support.skilled import metric, questions

K = 2


def a_mux(server, *names, cache=False, k=K):
    """Members that ask once."""
    where = {"api_base": server.address, "api_key": "none", "engine": "lm15", "cache": cache}
    lms = {name: dspy.LM(f"openai/{name}", **where, num_retries=0) for name in names or "ab"}
    return SLMMux(dspy.Predict("question -> answer"), lms, k=k, temperature=0.5, group=False)


def dies_after(answered, fault):
    """Member b meets a fault once it has answered so often."""
    asked, lock = Counter(), threading.Lock()

    def plan(request):
        with lock:
            asked[request.model] += 1
            return fault if request.model == "b" and asked["b"] > answered else None

    return plan


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.UNAVAILABLE])
def test_a_member_whose_server_dies_is_given_up_and_the_others_go_on(bank, caplog, fault):
    with fault_server(dies_after(10, fault)) as server:
        done = collect(a_mux(server), questions(30), metric, bank, num_threads=4)
        [b] = done.given_up
        assert (b.member, b.failed) == ("b", 12)
        of_a, of_b = done.members
        failed = of_b.abstained  # an answer under way may come after the first failure
        assert 12 <= failed < 12 + 4
        assert (of_a.draws, of_a.abstained, of_b.draws) == (60, 0, 10 + failed)
        assert (done.missing, b.missing, done.failed) == (50 - failed, 50 - failed, failed)
        # Those under way when it is given up have asked, and are not recorded.
        assert sum(request.model == "b" for request in server.requests) < of_b.draws + 4
        told = f"'b' was given up after {of_b.draws} draws, as the last 12 failed in a row (LM"
        assert told in b.sentence(of_b.draws)
        server.plan = lambda _: None
        done = collect(a_mux(server), questions(30), metric, bank)
        assert (done.drawn, done.missing, done.failed, done.given_up) == (
            50 - failed,
            0,
            failed,
            (),
        )
        assert collect(a_mux(server), questions(30), metric, bank, retry_failed=True).failed == 0
    assert sum("is given up" in record.getMessage() for record in caplog.records) == 1


def test_what_the_cache_answers_is_no_sign_of_a_server(bank):
    with fault_server(lambda _: None) as server:
        collect(a_mux(server, "b", cache=True), questions(5), metric, bank)
        server.plan = lambda _: Fault.UNAVAILABLE
        # Its cache has the first five questions.
        mux = a_mux(server, "b", cache=True)
        done = collect(mux, questions(40), metric, bank, dataset="more", num_threads=4)
        assert (done.members[0].draws, done.failed, done.missing) == (22, 12, 58)
        assert [one.failed for one in done.given_up] == [12]
        server.plan = lambda _: Fault.UNAUTHORIZED
        with pytest.raises(MuxError, match="first 12 draws of 'b' that DSPy's cache did not answ"):
            collect(mux, questions(40), metric, bank, dataset="further", num_threads=4)


def test_failures_while_the_server_responds_give_nobody_up(bank):
    def plan(request):
        """Rate limits, and questions that the server fails of."""
        number = int(request.question.strip("q?"))
        return [None, Fault.RATE_LIMITED, Fault.UNAVAILABLE, Fault.UNAVAILABLE][number % 4]

    with fault_server(plan) as server:
        mux = a_mux(server, "b", k=8)
        done = collect(mux, questions(12), metric, bank, num_threads=1)
        # 16 server errors in a row, of two questions.
        assert (done.given_up, done.missing, done.failed) == ((), 0, 72)


def test_errors_that_may_be_of_a_prompt_give_nobody_up(bank):
    """A 500, say, of llama.cpp for a prompt that is too long."""
    with fault_server(dies_after(4, Fault.SERVER_ERROR)) as server:
        done = collect(a_mux(server), questions(20), metric, bank, num_threads=1)
        assert (done.given_up, done.missing, done.failed) == ((), 0, 36)


def test_draws_that_are_made_again_find_a_server_down(bank):
    with fault_server(dies_after(4, Fault.UNAVAILABLE)) as server:
        collect(a_mux(server, "b"), questions(40), metric, bank, num_threads=1)
        before = len(server.requests)
        again = collect(
            a_mux(server, "b"), questions(40), metric, bank, num_threads=1, retry_failed=True
        )
        assert len(server.requests) - before == 12
        assert (again.failed, again.missing) == (12, 80 - 4 - 12)


@forks
def test_each_process_gives_a_member_up(bank):
    with fault_server(dies_after(10, Fault.UNAVAILABLE)) as server:
        done = collect(a_mux(server), questions(24), metric, bank, num_threads=4, processes=2)
        assert [one.member for one in done.given_up] == ["b"]
        of_a, of_b = done.members
        assert (of_a.draws, of_a.abstained) == (48, 0)
        assert of_b.abstained <= 2 * (12 + 4)
        assert done.missing == done.given_up[0].missing == 48 - of_b.draws
        server.plan = lambda _: None
        assert collect(a_mux(server), questions(24), metric, bank).missing == 0


def test_a_program_that_asks_another_server_in_vain_gives_no_member_up(bank):
    class Looks(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict("question -> answer")

        def forward(self, question):
            raise ConnectionError("the index is down")

    engine = ScriptedEngine(lambda *_: {"answer": "right"})
    mux = SLMMux(
        Looks(),
        [Member(dspy.LM("scripted/a", engine=engine), name="a")],
        k=K,
        on_error="abstain",
    )
    with pytest.raises(MuxError, match="first 12 draws of 'a' all failed"):
        collect(mux, questions(20), metric, bank)
