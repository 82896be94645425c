"""Streams: comments while draws settle, then the answer, also for readers who do not read."""

from __future__ import annotations

import json
import socket

import dspy
import httpx
import pytest

from dspy_mux import ServeSettings, chat_mux

from ..support.fault_server import Fault, always, fault_server
from ..support.pools import mux_of
from ..support.scripted import scripted_lm
from ..support.served import served
from ..support.wait import until

MUXES = {
    "chat": chat_mux({"a": scripted_lm("a", lambda prompt, draw: "It is\n in  Lyon. ")}, k=3),
    "qa": mux_of(["Lyon", "Paris", "Lyon"], ["Paris", ValueError("broken"), "Rome"], k=3),
    "strict": mux_of(["Lyon", "Paris"], k=2, threshold=0.9, otherwise="abstain"),
}
MESSAGES = [{"role": "user", "content": "Where?"}]


@pytest.fixture(scope="module")
def url():
    with served(MUXES) as url:
        yield url


def events_of(url, path, **body):
    """Return the events of a stream: (name, data), and comments as (":", text)."""
    reply = httpx.post(f"{url}{path}", json={"stream": True, **body}, timeout=60)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in reply.text.strip().split("\n\n"):
        name = "data"
        for line in block.split("\n"):
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            else:
                found.append((":", value) if not field else (name, value))
    return found


def chat_events(url, **body):
    return events_of(url, "/v1/chat/completions", messages=MESSAGES, **body)


def test_comments_come_while_draws_settle_then_the_text_as_it_is(url):
    events = chat_events(url, model="chat", stream_options={"include_usage": True})
    comments = [text for name, text in events if name == ":"]
    assert comments == ["1 of 3 draws", "2 of 3 draws", "3 of 3 draws"]
    assert events[-1] == ("data", "[DONE]")
    chunks = [json.loads(text) for name, text in events[3:-1]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert deltas[0]["role"] == "assistant"
    pieces = [delta.get("content", "") for delta in deltas]
    assert "".join(pieces) == "It is\n in  Lyon. "
    assert len(pieces) > 3
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-2]["mux"]["confidence"] == 1.0
    assert chunks[-1]["usage"]["completion_tokens"] == 6
    assert chunks[-1]["choices"] == []


def test_an_answer_that_is_kept_back_is_a_refusal(url):
    chunks = [json.loads(text) for name, text in chat_events(url, model="strict")[2:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert any("not trusted" in delta.get("refusal", "") for delta in deltas)
    assert not any(delta.get("content") for delta in deltas)


def test_named_events_tell_of_each_draw(url):
    events = events_of(url, "/v1/mux/qa", inputs={"question": "Where?"})
    names = [name for name, _ in events]
    assert names == ["start", *["draw"] * 6, "verdict"]
    start, *draws, verdict = (json.loads(text) for _, text in events)
    assert start == {"total": 6, "members": [{"name": "a", "k": 3}, {"name": "b", "k": 3}]}
    assert [draw["settled"] for draw in draws] == [1, 2, 3, 4, 5, 6]
    causes = [draw["cause"] for draw in draws if draw["cause"]]
    assert len(causes) == 1
    assert "broken" in causes[0]
    assert verdict["outputs"]["answer"] == "Lyon"
    assert verdict["verdict"]["ballots"][1]["votes"][1] is None


def test_silence_is_broken_by_comments(monkeypatch):
    monkeypatch.setattr("dspy_mux.serve.asking._SILENCE_S", 0.05)
    slow = {"a": scripted_lm("a", lambda prompt, draw: "Lyon", latency=0.5)}
    with served({"chat": chat_mux(slow, k=1)}) as url:
        assert (":", "waiting") in chat_events(url, model="chat")


def test_an_error_after_the_first_byte_is_an_event():
    with fault_server(always(Fault.UNAUTHORIZED)) as faults:
        lm = dspy.LM("openai/a", api_base=faults.address, api_key="none", num_retries=0)
        with served({"chat": chat_mux({"a": lm}, k=1)}) as url:
            *_, (name, text) = chat_events(url, model="chat")
            assert (name, json.loads(text)["error"]["code"]) == ("data", "no_answer")
            *_, (name, text) = events_of(url, "/v1/mux/chat", messages=MESSAGES)
            assert (name, json.loads(text)["error"]["code"]) == ("error", "no_answer")


def test_a_reader_who_does_not_read_takes_no_place():
    long = "A long answer. " * 200_000
    lms = {"a": scripted_lm("a", lambda prompt, draw: long)}
    with served({"chat": chat_mux(lms, k=1)}, ServeSettings(max_concurrency=1)) as url:
        body = json.dumps({"model": "chat", "messages": MESSAGES, "stream": True}).encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port), timeout=60) as connection:
            connection.sendall(head.encode() + body)
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            until(lambda: "mux_questions_under_way 0.0" in httpx.get(f"{url}/metrics").text)
            other = {"model": "chat", "messages": MESSAGES, "max_tokens": 9}
            reply = httpx.post(f"{url}/v1/chat/completions", json=other, timeout=60)
            assert reply.status_code == 200
