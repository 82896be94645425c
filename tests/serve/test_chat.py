"""Conversations: what members are sent, and when their replies are the same answer."""

from __future__ import annotations

import json

import dspy
import pytest

from dspy_mux import AllMembersFailed, answer_kind, chat_mux
from dspy_mux.serve.chat import ChatReply, tool_key

from ..support.fault_server import Fault, always, fault_server
from ..support.http_models import model_server
from ..support.logprob_server import logprob_server

HELLO = [{"role": "user", "content": "Where is it?"}]
PERSON = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "number"}},
            "required": ["name", "age"],
        },
    },
}


@pytest.fixture(scope="module")
def models():
    with model_server() as server:
        yield server


@pytest.fixture
def server(models):
    models.replies.clear()
    models.bodies.clear()
    return models


def pool_of(server, *names, **settings):
    settings = {"api_base": f"{server.address}/v1", "api_key": "none", "cache": False, **settings}
    return {name: dspy.LM(f"openai/{name}", **settings) for name in names}


def reply_with(server, **replies):
    """Have each model of the server reply with a text, or with a message and its ending."""
    for model, reply in replies.items():
        given = ({"content": reply}, "stop") if isinstance(reply, str) else reply
        server.replies[model] = given


def calls_of(*calls):
    listed = [
        {"id": f"c{at}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for at, (name, arguments) in enumerate(calls)
    ]
    return {"content": None, "tool_calls": listed}, "tool_calls"


def test_members_get_the_conversation_as_it_is(server):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
        {"role": "assistant", "content": "A cat."},
        {"role": "user", "content": "Are you sure?"},
    ]
    chat_mux(pool_of(server, "a", "b"), k=1)(messages=messages)
    assert len(server.bodies) == 2
    for body in server.bodies:
        assert [turn["role"] for turn in body["messages"]] == [turn["role"] for turn in messages]
        assert body["messages"][0]["content"] == "Be brief."
        assert image in body["messages"][1]["content"]


def test_tool_messages_are_sent_on(server):
    call = calls_of(("find", '{"what": "it"}'))[0]["tool_calls"]
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": call},
        {"role": "tool", "tool_call_id": "c0", "content": "In Lyon."},
    ]
    chat_mux(pool_of(server, "a"), k=1)(messages=messages)
    sent = server.bodies[0]["messages"]
    assert sent[1]["tool_calls"][0]["function"]["name"] == "find"
    assert (sent[2]["role"], sent[2]["tool_call_id"]) == ("tool", "c0")


def test_texts_are_compared_without_case_space_and_markdown(server):
    reply_with(server, a="**Lyon**.", b="lyon", c="Paris")
    verdict = chat_mux(pool_of(server, "a", "b", "c"), k=1, rule="pooled")(messages=HELLO).verdict
    assert (verdict.answer, verdict.member, verdict.confidence) == ("**Lyon**.", "a", 2 / 3)


def test_a_marked_answer_counts_not_the_words_around_it(server):
    reply_with(server, a="It is old. The answer is Lyon.", b="I think. The answer is Lyon.", c="No")
    verdict = chat_mux(pool_of(server, "a", "b", "c"), k=1, rule="pooled")(messages=HELLO).verdict
    assert verdict.answer == "It is old. The answer is Lyon."
    assert verdict.confidence == 2 / 3


def test_thinking_is_not_compared_and_no_answer(server):
    reply_with(server, a="<think>A?</think>Lyon", b="<think>B?</think> lyon", c="<think>C?")
    verdict = chat_mux(pool_of(server, "a", "b", "c"), k=1, rule="pooled")(messages=HELLO).verdict
    assert verdict.confidence == 2 / 3
    assert verdict.ballots[2].abstentions == {"all thinking and no answer": 1}


@pytest.mark.parametrize("ending", ["", " The answer is Lyon."])
def test_long_texts_are_compared(server, ending):
    long = "A long text. " * 20_000
    reply_with(server, a=long + ending, b=f"{long} {ending}", c=f"No. {long}Nice.")
    verdict = chat_mux(pool_of(server, "a", "b", "c"), k=1, rule="pooled")(messages=HELLO).verdict
    assert verdict.confidence == 2 / 3


def test_the_kind_of_answer_is_the_muxes(server):
    reply_with(server, a="1,200 km, roughly.", b="It is 1200.0", c="900", d="No idea.")
    mux = chat_mux(pool_of(server, *"abcd"), kind=answer_kind(float), k=1, rule="pooled")
    verdict = mux(messages=HELLO).verdict
    assert (verdict.answer, verdict.confidence) == ("1,200 km, roughly.", 0.5)
    assert verdict.ballots[3].votes == [None]


def test_json_is_compared_by_content(server):
    reply_with(
        server,
        a='```json\n{"name": "Ann", "age": 30}\n```',
        b='{"age":30.0,"name":"Ann"}',
        c='{"name": "Bob", "age": 30}',
        d='{"name": "Ann"}',
        e="Ann, 30",
    )
    mux = chat_mux(pool_of(server, *"abcde"), k=1, rule="pooled")
    verdict = mux(messages=HELLO, settings={"response_format": PERSON}).verdict
    assert json.loads(verdict.answer) == {"name": "Ann", "age": 30}
    assert verdict.confidence == 2 / 5
    assert [ballot.abstentions for ballot in verdict.ballots[3:]] == [
        {"unparsable response": 1},
        {"unparsable response": 1},
    ]
    assert {body["response_format"]["json_schema"]["name"] for body in server.bodies} == {"person"}


def test_tool_calls_are_compared_by_name_and_arguments(server):
    reply_with(
        server,
        a=calls_of(("find", '{"x": 1, "y": "A"}'), ("stop", "{}")),
        b=calls_of(("stop", ""), ("find", '{"y":"A","x":1.0}')),
        c=calls_of(("find", '{"x": 2, "y": "A"}'), ("stop", "{}")),
    )
    tools = [{"type": "function", "function": {"name": name}} for name in ("find", "stop")]
    mux = chat_mux(pool_of(server, *"abc"), k=1, rule="pooled")
    pred = mux(messages=HELLO, settings={"tools": tools})
    assert pred.verdict.confidence == 2 / 3
    message = pred.answer.message()
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["find", "stop"]
    assert (pred.answer.finish_reason, message["content"]) == ("tool_calls", None)


def test_tool_calls_that_are_no_json_have_no_key():
    call = {"function": {"name": "find", "arguments": "{"}}
    assert tool_key([call]) is None


def test_a_lower_limit_of_the_member_holds(server):
    mux = chat_mux(pool_of(server, "a", max_tokens=50), k=1)
    for asked in (20, 80):
        mux(messages=HELLO, settings={"max_tokens": asked})
    assert [body["max_completion_tokens"] for body in server.bodies] == [20, 50]


def test_a_reply_that_was_cut_off_counts_as_it_stands():
    with fault_server(always(Fault.CUT_OFF)) as faults:
        lm = dspy.LM("openai/a", api_base=faults.address, api_key="none")
        answer = chat_mux({"a": lm}, k=1)(messages=HELLO).answer
    assert answer.finish_reason == "length"
    assert answer.content


def test_json_that_was_cut_off_is_no_answer(server):
    reply_with(server, a=({"content": '{"name": "An'}, "length"))
    with pytest.raises(AllMembersFailed) as failed:
        chat_mux(pool_of(server, "a"), k=1)(
            messages=HELLO, settings={"response_format": {"type": "json_object"}}
        )
    assert failed.value.causes == {"a": ["cut off at max_tokens"]}


def test_a_reply_with_the_members_key_is_refused(server):
    reply_with(server, a="Your key is sk-made-up-key-4242", b="Lyon")
    pool = pool_of(server, "a", "b", api_key="sk-made-up-key-4242")
    verdict = chat_mux(pool, k=1)(messages=HELLO).verdict
    assert verdict.member == "b"
    assert "sk-made-up" not in verdict.model_dump_json()


def test_an_empty_reply_abstains(server):
    reply_with(server, a=" ", b="Lyon")
    verdict = chat_mux(pool_of(server, "a", "b"), k=1)(messages=HELLO).verdict
    assert (verdict.member, verdict.ballots[0].votes) == ("b", [None])


def test_draws_share_a_request():
    with fault_server(lambda asked: None) as faults:
        lms = {
            name: dspy.LM(f"openai/{name}", api_base=faults.address, api_key="none")
            for name in "ab"
        }
        verdict = chat_mux(lms, k=3)(messages=HELLO).verdict
    assert (verdict.calls, verdict.shared_calls) == (6, 4)
    assert faults.sizes("a") == [3]


def test_a_short_reply_is_as_probable_as_its_text():
    with logprob_server(lambda prompt: "Paris it is") as models:
        lm = dspy.LM("openai/a", api_base=models.address, api_key="none")
        mux = chat_mux({"a": lm}, k=1, temperature=0, rule="probability")
        (ballot,) = mux(messages=HELLO).verdict.ballots
    assert ballot.probabilities == [pytest.approx(2.718281828 ** (3 * -0.5))]


async def test_awaited_calls_do_the_same(server):
    reply_with(server, a="Lyon", b="lyon.")
    pred = await chat_mux(pool_of(server, "a", "b"), k=1, rule="pooled").acall(messages=HELLO)
    assert isinstance(pred.answer, ChatReply)
    assert pred.verdict.confidence == 1.0
