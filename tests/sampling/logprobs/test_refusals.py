"""Servers that refuse log-probabilities are asked on without them."""

from __future__ import annotations

import contextlib

import pytest

from dspy_mux import AllMembersFailed

from .pools import ENGINES, a_mux


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_refuses_is_asked_no_more(server, engine):
    mux = a_mux(server, "refuses", engine=engine, k=1, logprobs=True)
    assert mux(question="1?").verdict.calls == 2
    assert mux(question="2?").verdict.calls == 1
    assert server.asked() == [True, False, False]
    other = a_mux(server, "another-refuses", engine=engine, k=1, logprobs=True)
    other(question="1?")
    assert server.asked()[3:] == [True, False]


@pytest.mark.parametrize(
    "refusal",
    [
        (400, "Unsupported parameter: 'logprobs' is not supported with this model."),
        (422, "Extra inputs are not permitted"),
        (500, "logprobs are not implemented"),
    ],
)
def test_refusals_have_many_forms(server, refusal):
    server.refusal = refusal
    mux = a_mux(server, "refuses", k=1, logprobs=True)
    for number in range(4):
        assert mux(question=f"{number}?").answer == "Paris"
    # Where the server does not say what it refuses, it is asked once more.
    again = [False] if "logprobs" in refusal[1] else [True, False]
    assert server.asked() == [True, False, *again, False, False]


def test_a_request_that_is_wrong_otherwise_stays_so(server, monkeypatch):
    mux = a_mux(server, "refuses", k=1, logprobs=True)
    monkeypatch.setattr(server, "refuses_all", True)
    with pytest.raises(AllMembersFailed, match="not supported"):
        mux(question="?")
    monkeypatch.setattr(server, "refuses_all", False)
    server.bodies.clear()
    assert mux(question="?").answer == "Paris"
    assert server.asked() == [True, False]  # nothing was remembered


@pytest.mark.parametrize(
    "failure",
    [
        (404, "The model does not exist."),
        (429, "Rate limit reached."),
        (503, "The model is overloaded."),
        (429, "Too many requests with logprobs."),
        (503, "No worker with logprobs is free."),
        (400, "This model's maximum context length is 10 tokens."),
    ],
)
def test_an_error_that_passes_is_no_refusal(server, failure):
    server.fails_once = failure
    mux = a_mux(server, "gives", k=1, logprobs=True)
    with contextlib.suppress(AllMembersFailed):
        mux(question="?")
    assert mux(question="?").verdict.ballots[0].probabilities
    assert server.asked()[-1]


def test_a_server_that_gave_them_is_asked_on_after_an_error_that_names_none(server):
    mux = a_mux(server, "gives", k=1, logprobs=True)
    for number in range(3):
        assert mux(question=f"{number}?").verdict.ballots[0].probabilities
        server.fails_once = 400, "A value is out of range."
        assert not mux(question=f"{number}, and fails?").verdict.ballots[0].probabilities
    assert server.asked() == [True, True, False] * 3


def test_an_error_that_comes_without_them_too_costs_one_call_more_but_once(server):
    mux = a_mux(server, "ignores", k=1, logprobs=True)
    mux(question="?")
    server.refuses_all = True
    for number in range(3):
        server.refusal = 400, f"Request req_{number} is malformed."
        with pytest.raises(AllMembersFailed, match="malformed"):
            mux(question=f"{number}?")
    assert server.asked()[1:] == [True, False, True, True]


def test_a_server_that_says_the_same_of_all_it_refuses_costs_no_draw(server):
    server.refusal = 400, "Bad Request"
    mux = a_mux(server, "refuses", k=1, logprobs=True)
    server.refuses_all = True
    with pytest.raises(AllMembersFailed, match="Bad Request"):
        mux(question="?")
    server.refuses_all = False
    assert mux(question="?").answer == "Paris"
