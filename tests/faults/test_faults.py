"""One member of two meets a fault: how often it asks, its abstentions, and nothing left behind.

Draws that share a request fail together and are retried together: a fault costs one draw's
requests, whatever k.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time

import dspy
import pytest

from dspy_mux import AllMembersFailed, SLMMux
from tests.support.scripted import scripted_lm

from ..support.choices import TakesN
from ..support.fault_server import Fault, always, fault_server, in_turn
from ..support.wait import PATIENCE_S, until

#: How many requests one draw makes, and the cause of its abstention; None where it answers.
EXPECTED = {
    Fault.RATE_LIMITED: (4, "LMRateLimitError: .*Rate limit reached"),
    Fault.RATE_LIMITED_WITH_HINT: (1, "LMRateLimitError: .*Rate limit reached"),
    Fault.SERVER_ERROR: (4, "LMServerError: .*The server had an error"),
    Fault.UNAVAILABLE: (4, "LMServerError: .*The model is overloaded"),
    Fault.RESET: (4, "LMTransportError: .*reset"),
    Fault.HANG: (1, "no answer within 3 s"),
    Fault.TRICKLE: (1, "no answer within 3 s"),
    Fault.TRUNCATED: (1, "LMProviderError: .*is not JSON"),
    Fault.HTML: (1, "LMProviderError: .*text/html.* is not JSON"),
    Fault.NO_CHOICES: (1, "empty response"),
    Fault.NULL_CONTENT: (1, "empty response"),
    Fault.CUT_OFF: (1, "cut off at max_tokens"),
    Fault.HUGE: (1, "unparsable response"),
    Fault.OTHER_MODEL: (1, None),
    Fault.UNAUTHORIZED: (1, "LMAuthError: .*Incorrect API key"),
    Fault.NOT_FOUND: (1, "LMUnsupportedModelError: .*does not exist"),
    Fault.TOO_LONG: (1, "ContextWindowExceededError: .*maximum context length is 10 tokens"),
}
#: How many requests K draws make that share them, where that is not as many as one draw makes.
SHARED = {
    # From the second attempt on, one choice is asked for where two fail.
    Fault.SERVER_ERROR: 1 + 2 + 2 + 2,
    # Where long texts are the same word for word, one more choice is asked for apart.
    Fault.HUGE: 2,
}
#: Seconds a draw may take where the server would take for ever: enough for the sound member.
STALLED = {Fault.HANG: 3.0, Fault.TRICKLE: 3.0}
K = 2


def an_lm(server, name, **settings):
    return dspy.LM(f"openai/{name}", api_base=server.address, api_key="none", **settings)


shared_or_not = pytest.mark.parametrize("group", ["auto", False], ids=["shared", "separate"])


def requests_of(fault, group):
    """How many requests K draws make of a server that always has this fault."""
    of_one = EXPECTED[fault][0]
    return of_one * K if group is False else SHARED.get(fault, of_one)


def a_mux(lms, **settings):
    return SLMMux(dspy.Predict("question -> answer"), lms, k=K, **settings)


def asked(mux, how):
    """The verdict, by a call or by `acall`; the LMs' connections are closed afterwards."""
    lms = [member.lm for member in mux.members]
    if how == "call":
        try:
            return mux(question="?").verdict
        finally:
            for lm in lms:
                lm.close()

    async def ask():
        try:
            return (await mux.acall(question="?")).verdict
        finally:
            await asyncio.gather(*(lm.aclose() for lm in lms))
            left = asyncio.all_tasks() - {asyncio.current_task()}
            # LiteLLM has a task of its own, for its log.
            assert all("LoggingWorker" in repr(task.get_coro()) for task in left), left

    return asyncio.run(ask())


def test_every_fault_has_an_expectation():
    assert set(EXPECTED) == set(Fault)


@pytest.mark.parametrize("how", ["call", "acall"])
@shared_or_not
@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.value)
def test_a_failing_member_abstains_and_leaves_nothing_behind(fault, group, how, nothing_left):
    (most, cause), timeout = EXPECTED[fault], STALLED.get(fault, PATIENCE_S)
    with fault_server(always(fault, model="faulty")) as server:
        lms = [an_lm(server, "sound"), an_lm(server, "faulty")]
        mux = a_mux(lms, timeout=timeout, group=group)
        verdict = asked(mux, how)
        sound, faulty = verdict.ballots
        assert (sound.answers[0].answer, sound.answers[0].count) == ("42", K)
        assert server.count("faulty") == requests_of(fault, group)
        copies = int(
            fault is Fault.HUGE and bool(group)
        )  # one long text twice is no draw's the second time
        assert verdict.calls == (1 + most) * K + copies
        sent = server.count("sound") + server.count("faulty")
        if fault is Fault.SERVER_ERROR and group:
            sent -= 3  # those for one choice, where two failed: no draw asked for them
        assert verdict.calls - verdict.shared_calls == sent
        if cause is None:
            assert faulty.answers[0].count == K
        else:
            assert sum(faulty.abstentions.values()) == K
            assert all(re.match(cause, found) for found in faulty.abstentions), faulty.abstentions
        if fault in STALLED:
            time.sleep(0.25)
            assert server.count("faulty") == requests_of(
                fault, group
            )  # nobody waits, so nobody asks again
        server.wait_until_left()
    nothing_left()


@pytest.mark.parametrize(
    ("fault", "sizes", "answered"),
    [
        (Fault.RATE_LIMITED, [9] * 4, 0),
        (Fault.UNAVAILABLE, [9] * 4, 0),
        (Fault.RESET, [9] * 4, 0),
        (Fault.RATE_LIMITED_WITH_HINT, [9], 0),
        (Fault.SERVER_ERROR, [9, *[9, 4, 2, 1] * 3], 0),
        (Fault.HANG, [9], 0),
        (Fault.TRICKLE, [9], 0),
        (Fault.UNAUTHORIZED, [9], 0),
        (Fault.NOT_FOUND, [9], 0),
        (Fault.TOO_LONG, [9], 0),
        (Fault.HTML, [9], 0),
        (Fault.TRUNCATED, [9], 0),
        (Fault.NO_CHOICES, [9], 0),
        (Fault.NULL_CONTENT, [9], 6),
        (Fault.CUT_OFF, [9], 6),
        (TakesN.UNNAMED, [9, 4, 2, *[1] * 9], 9),
        (TakesN.NAMED, [9, *[1] * 9], 9),
        (TakesN.ONE, [9, *[1] * 8], 9),
    ],
    ids=lambda value: value.value if isinstance(value, (Fault, TakesN)) else "",
)
def test_what_nine_draws_cost_as_docs_requests_md_says(fault, sizes, answered):
    with fault_server(always(fault, model="faulty")) as server:
        server.struck = frozenset({0, 3, 8})
        mux = SLMMux(
            dspy.Predict("question -> answer"),
            [scripted_lm("sound", ["42"]), an_lm(server, "faulty")],
            k=9,
            timeout=STALLED.get(fault, PATIENCE_S),
        )
        [_, faulty] = mux(question="?").verdict.ballots
        assert [request.n for request in server.requests] == sizes
        assert sum(each.count for each in faulty.answers) == answered
        mux.members[1].lm.close()


@pytest.mark.parametrize("how", ["call", "acall"])
def test_where_all_fail_an_error_names_every_cause(how, nothing_left):
    with fault_server(
        lambda request: Fault.HANG if request.model == "a" else Fault.UNAUTHORIZED
    ) as server:
        mux = a_mux({name: an_lm(server, name) for name in "ab"}, timeout=1.5)
        with pytest.raises(AllMembersFailed) as caught:
            asked(mux, how)
    assert caught.value.causes["a"] == ["no answer within 1.5 s"]
    assert "Incorrect API key" in caught.value.causes["b"][0]
    nothing_left()


@pytest.mark.parametrize("how", ["call", "acall"])
def test_passing_faults_are_retried_and_answered(how):
    passing = (Fault.RATE_LIMITED, Fault.UNAVAILABLE, Fault.RESET)
    with fault_server(in_turn(*passing)) as server:
        verdict = asked(SLMMux(dspy.Predict("question -> answer"), [an_lm(server, "a")], k=1), how)
        assert (verdict.answer, verdict.calls, len(server.requests)) == ("42", 4, 4)


@pytest.fixture
def pauses(monkeypatch):
    """The pauses between attempts, in seconds, none of which is waited for."""
    made = []
    monkeypatch.setattr(
        "dspy_mux.sampling.retry.DrawCalls.wait", lambda calls, seconds: made.append(seconds)
    )
    return made


def test_pauses_double_up_to_the_lms_num_retries(monkeypatch, pauses):
    monkeypatch.setattr("dspy_mux.sampling.retry.FIRST_WAIT_S", 1.0)
    with fault_server(always(Fault.UNAVAILABLE)) as server:
        lms = {
            "as usual": an_lm(server, "a"),
            "twice": an_lm(server, "b", num_retries=1),
            "once": an_lm(server, "c", num_retries=0),
        }
        for name, lm in lms.items():
            with pytest.raises(AllMembersFailed):
                SLMMux(dspy.Predict("question -> answer"), {name: lm}, k=1)(question="?")
        assert [server.count(model) for model in "abc"] == [4, 2, 1]
    assert pauses == [1, 2, 4, 1]


@pytest.mark.parametrize(
    ("hint", "timeout", "waited"),
    [("30", 300, [30] * 3), ("60", 50, []), ("61", 300, []), ("3600", None, [])],
)
def test_retry_after_is_obeyed_within_the_deadline(hint, timeout, waited, pauses):
    with fault_server(always(Fault.RATE_LIMITED_WITH_HINT), retry_after=hint) as server:
        mux = SLMMux(dspy.Predict("question -> answer"), [an_lm(server, "a")], k=1, timeout=timeout)
        with pytest.raises(AllMembersFailed, match="Rate limit reached"):
            mux(question="?")
        assert (len(server.requests), pauses) == (1 + len(waited), waited)


def test_a_draw_withdrawn_between_attempts_ends_its_pause():
    with fault_server(always(Fault.RATE_LIMITED_WITH_HINT), retry_after="60") as server:
        draw = a_mux([an_lm(server, "a")]).draws(0, [0], {"question": "?"})[0]
        thread = threading.Thread(target=draw.run)
        thread.start()
        until(lambda: draw._calls._ended)  # it pauses
        draw.withdraw()
        thread.join(30)
        assert not thread.is_alive()
        assert len(server.requests) == 1


@shared_or_not
def test_a_call_late_at_its_socket_is_ended(group, monkeypatch, nothing_left):
    """A resolver that takes its time: meanwhile the call waits at nothing that could be shut."""
    resolve, resolved = socket.getaddrinfo, threading.Event()

    def getaddrinfo(*address, **settings):
        resolved.wait(PATIENCE_S)
        return resolve(*address, **settings)

    with fault_server(always(Fault.HANG)) as server:
        lm = an_lm(server, "a")
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with pytest.raises(AllMembersFailed, match="no answer within 0.4 s"):
            a_mux([lm], timeout=0.4, group=group)(question="?")
        assert not server.requests
        resolved.set()
        until(lambda: len(server.requests) == (1 if group else K))
        server.wait_until_left()
        lm.close()
    nothing_left()


@pytest.mark.parametrize("how", ["call", "acall"])
def test_calls_through_litellm_are_bounded_and_ended_too(how):
    """LiteLLM keeps idle connections and a thread for its log: only the draws' threads must end."""
    met = [Fault.HANG, Fault.TRICKLE, Fault.UNAVAILABLE, Fault.UNAUTHORIZED, Fault.NOT_FOUND]
    with fault_server(
        lambda request: next((fault for fault in met if fault.name == request.model), None)
    ) as server:
        # LiteLLM takes a second over the first call of a process.
        an_lm(server, "first", engine="litellm")("Hello.")
        names = ["sound", *(fault.name for fault in met)]
        mux = SLMMux(
            dspy.Predict("question -> answer"),
            [an_lm(server, name, engine="litellm") for name in names],
            k=1,
            timeout=3,
        )
        verdict = asked(mux, how)
        assert verdict.answer == "42"
        assert [server.count(name) for name in names] == [1, 1, 1, 4, 1, 1]
        causes = [next(iter(ballot.abstentions)) for ballot in verdict.ballots[1:]]
        assert causes[:2] == ["no answer within 3 s"] * 2
        for cause, error in zip(
            causes[2:], ("LMServerError", "LMAuthError", "LMUnsupportedModelError"), strict=True
        ):
            assert cause.startswith(error)
        until(lambda: all(thread.name != "dspy-mux-draw" for thread in threading.enumerate()))


@shared_or_not
def test_an_inner_mux_stops_with_its_outer_draw(group, nothing_left):
    with fault_server(always(Fault.HANG, model="inner")) as server:
        inner, outer = an_lm(server, "inner"), scripted_lm("outer", ["x"])
        others = a_mux([inner], group=group)

        class Nested(dspy.Module):
            def __init__(self):
                super().__init__()
                self.step = dspy.Predict("question -> answer")

            def forward(self, question):
                others(question=question)
                return self.step(question=question)

        mux = SLMMux(Nested(), [outer], k=1, timeout=0.5)
        with pytest.raises(AllMembersFailed, match="no answer within 0.5 s"):
            mux(question="?")
        inner.close()
        server.wait_until_left()
        assert len(server.requests) == (1 if group else K)
    nothing_left()
