"""Ollama by both of its addresses and both of DSPy's clients, with and without its own options."""

from __future__ import annotations

import asyncio
import logging

import dspy
import pytest

from dspy_mux import AllMembersFailed, SLMMux
from dspy_mux.mux.pool_file import PoolFile
from dspy_mux.sampling import ollama

from ..support.http_models import model_server
from ..support.ollama_server import ollama_server

OWN = {"num_ctx": 8192, "think": False, "keep_alive": "10m"}


@pytest.fixture
def server():
    with ollama_server() as started:
        yield started


def a_mux(server, path="", k=1, **settings):
    lm = dspy.LM("ollama_chat/qwen", api_base=server.address + path, api_key="none", **settings)
    return SLMMux("question -> answer", [lm], k=k)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/"])
@pytest.mark.parametrize(
    ("engine", "options", "asked"),
    [
        ("auto", {}, "/v1/chat/completions"),
        ("lm15", {}, "/v1/chat/completions"),
        ("litellm", {}, "/api/chat"),
        ("auto", OWN, "/api/chat"),
        ("litellm", OWN, "/api/chat"),
    ],
)
def test_both_addresses_reach_it(server, path, engine, options, asked):
    mux = a_mux(server, path, engine=engine, **options)
    assert mux(question="?").answer == "42"
    assert asyncio.run(mux.acall(question="??")).answer == "42"
    assert [path for path, _ in server.requests] == [asked] * 2


def test_its_own_options_arrive(server):
    for name, value in OWN.items():
        assert a_mux(server, "/v1", **{name: value})(question=name).answer == "42"
        path, body = server.requests[-1]
        assert path == "/api/chat"
        assert {**body, **body["options"]}[name] == value


def test_an_option_of_one_call_alone_arrives(server):
    class Program(dspy.Module):
        def __init__(self):
            super().__init__()
            self.answer = dspy.Predict("question -> answer")

        def forward(self, question):
            return self.answer(question=question, config={"num_ctx": 8192})

    lm = dspy.LM("ollama_chat/qwen", api_base=f"{server.address}/v1", api_key="none")
    assert SLMMux(Program(), [lm], k=1)(question="?").answer == "42"
    assert server.requests[-1][1]["options"]["num_ctx"] == 8192


def test_the_lm_keeps_its_address(server):
    mux = a_mux(server, "/v1", **OWN)
    mux(question="?")
    assert mux.members[0].lm.kwargs["api_base"] == f"{server.address}/v1"


def test_a_pool_file_takes_its_options(server, tmp_path):
    path = tmp_path / "pool.toml"
    path.write_text(
        f'[[members]]\nmodel = "ollama_chat/qwen"\napi_base = "{server.address}/v1"\n'
        "options = { num_ctx = 8192 }\n"
    )
    assert PoolFile.load(path).mux()(question="?").answer == "42"


def test_a_client_without_them_refuses_its_options(server):
    with pytest.raises(AllMembersFailed, match="num_ctx"):
        a_mux(server, engine="lm15", num_ctx=8192)(question="?")
    assert not server.requests


def test_a_prompt_that_does_not_fit_is_noticed(server, caplog, monkeypatch):
    monkeypatch.setattr(ollama, "_warned", {})
    mux = a_mux(server, num_ctx=200, k=2)
    with caplog.at_level(logging.WARNING, logger="dspy_mux"):
        mux(question="short?")
        assert not caplog.records
        mux(question="word " * 300)
    (record,) = caplog.records  # once for both draws
    assert "ollama_chat/qwen filled its context of num_ctx=200 tokens (200 of the prompt" in (
        record.getMessage()
    )


def test_a_reply_that_is_cut_off_abstains_by_both_clients(server):
    for options in ({}, OWN):
        with pytest.raises(AllMembersFailed, match="max_tokens"):
            a_mux(server, max_tokens=2, **options)(question=f"{options}")


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_a_model_of_this_machine_costs_nothing(engine):
    with model_server() as server:
        lm = dspy.LM(
            "openai/gpt-4o-mini", api_base=f"{server.address}/v1", api_key="none", engine=engine
        )
        verdict = SLMMux("question -> answer", [lm], k=2)(question="?").verdict
    assert (verdict.calls, verdict.cost) == (2, 0.0)
