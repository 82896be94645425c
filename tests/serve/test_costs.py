"""What served questions cost: told, limited, and counted where no answer came."""

from __future__ import annotations

import re
from contextlib import contextmanager

import dspy
import httpx
import pytest

from dspy_mux import ServeSettings, chat_mux

from ..support.fault_server import Fault, always, fault_server
from ..support.served import served
from .test_limits import HELLO, code, post


@pytest.fixture
def priced(monkeypatch):
    """Serve two members by a fault server, whose first has a price; yield both."""
    monkeypatch.setattr("dspy_mux.sampling.usage.is_loopback", lambda address: False)

    @contextmanager
    def priced(fault, **settings):
        with fault_server(always(fault, "other"), answers=lambda asked: "Lyon") as faults:
            lms = {
                model: dspy.LM(
                    f"openai/{model}", api_base=faults.address, api_key="none", cache=False
                )
                for model in ("gpt-4o-mini", "other")
            }
            with served({"chat": chat_mux(lms, k=1)}, ServeSettings(**settings)) as url:
                yield url, faults

    return priced


def test_the_cost_is_told_and_limited(priced):
    with priced(Fault.UNAUTHORIZED, max_cost=1e-9) as (url, _):
        told = post(url)
        assert told.json()["mux"]["cost"] > 0
        assert code(post(url)) == (429, "insufficient_quota")


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.HANG])
def test_questions_without_an_answer_are_on_the_bill(fault, priced):
    body = {**HELLO, "response_format": {"type": "json_object"}}  # which is no reply's
    settled = 'mux_draws_total{member="gpt-4o-mini",model="chat"} 1.0'
    with priced(fault, deadline=3.0) as (url, _):
        told = {Fault.UNAUTHORIZED: "no_answer", Fault.HANG: "deadline_exceeded"}[fault]
        assert code(post(url, body))[1] == told
        page = httpx.get(f"{url}/metrics").text
    assert (settled in page) is (fault is Fault.UNAUTHORIZED)
    found = dict(re.findall(r"^mux_(\S+) (\S+)$", page, re.MULTILINE))
    assert found['calls_total{by="server",model="chat"}'] == "2.0"
    assert float(found['tokens_total{kind="prompt",model="chat"}']) > 0
    assert float(found['cost_dollars_total{model="chat"}']) > 0
