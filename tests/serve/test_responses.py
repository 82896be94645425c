"""The Responses API, by OpenAI's own client."""

from __future__ import annotations

import json

import dspy
import openai
import pydantic
import pytest

from dspy_mux import chat_mux

from ..support.http_models import model_server
from ..support.pools import mux_of
from ..support.served import served

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


class City(pydantic.BaseModel):
    name: str


@pytest.fixture(scope="module")
def models():
    with model_server() as models:
        yield models


@pytest.fixture(scope="module")
def client(models):
    settings = {"api_base": f"{models.address}/v1", "api_key": "none", "cache": False}
    pool = {name: dspy.LM(f"openai/{name}", **settings) for name in "ab"}
    muxes = {
        "chat": chat_mux(pool, k=1),
        "sums": mux_of(["42"], program="question -> answer: int", k=1),
        "strict": mux_of(["Lyon", "Paris"], k=2, threshold=0.9, otherwise="abstain"),
    }
    with served(muxes) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)


@pytest.fixture
def say(models):
    def say(message, ending="stop"):
        message = {"content": message} if isinstance(message, str) else message
        models.replies = dict.fromkeys("ab", (message, ending))
        models.bodies.clear()

    say("Lyon")
    return say


def calls():
    function = {"name": "weather", "arguments": '{"city": "Lyon"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    return {"content": None, "tool_calls": [call]}, "tool_calls"


def test_a_text_is_answered(client, say, models):
    response = client.responses.create(
        model="chat", input="Where?", instructions="Be brief.", max_output_tokens=9
    )
    assert (response.output_text, response.status) == ("Lyon", "completed")
    assert response.usage.total_tokens == 24
    assert response.model_extra["mux"]["confidence"] == 1.0
    sent = models.bodies[0]["messages"]
    assert [(turn["role"], turn["content"]) for turn in sent] == [
        ("system", "Be brief."),
        ("user", "Where?"),
    ]


def test_a_conversation_with_images_and_calls_is_sent_on(client, say, models):
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    client.responses.create(
        model="chat",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Here?"}, image]},
            {"type": "reasoning", "id": "r", "summary": []},
            *(
                {"type": "function_call", "call_id": at, "name": "weather", "arguments": "{}"}
                for at in ("1", "2")
            ),
            *({"type": "function_call_output", "call_id": at, "output": "Rain"} for at in "12"),
        ],
    )
    sent = models.bodies[0]["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool", "tool"]
    assert sent[0]["content"][1]["image_url"]["url"] == image["image_url"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["1", "2"]


def test_members_are_sent_no_empty_list_of_calls(client, say, models):
    message = {"role": "user", "content": "Where?", "tool_calls": []}
    client.chat.completions.create(model="chat", messages=[message])
    assert [body["messages"][0] for body in models.bodies] == 2 * [
        {"role": "user", "content": "Where?"}
    ]


def test_json_is_parsed(client, say):
    say('{"name": "Lyon"}')
    parsed = client.responses.parse(model="chat", input="Where?", text_format=City)
    assert parsed.output_parsed == City(name="Lyon")


def test_functions_are_called(client, say, models):
    say(*calls())
    response = client.responses.create(model="chat", input="Rain?", tools=[WEATHER])
    (call,) = response.output
    assert (call.type, call.name, json.loads(call.arguments)) == (
        "function_call",
        "weather",
        {"city": "Lyon"},
    )
    assert models.bodies[0]["tools"][0]["function"]["name"] == "weather"


@pytest.mark.parametrize("what", ["text", "calls"])
def test_streams_are_assembled_by_the_client(client, say, what):
    say(*(["It is in Lyon."] if what == "text" else calls()))
    tools = [] if what == "text" else [WEATHER]
    with client.responses.stream(model="chat", input="Where?", tools=tools) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    if what == "text":
        assert final.output_text == "It is in Lyon."
        assert kinds.count("response.output_text.delta") > 1
    else:
        assert final.output[0].name == "weather"


def test_a_cut_off_response_is_incomplete(client, say):
    say("It is in", "length")
    response = client.responses.create(model="chat", input="Where?", max_output_tokens=3)
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_programs_input_is_the_text(client):
    assert client.responses.create(model="sums", input="6 × 7?").output_text == "42"


def test_an_answer_that_is_kept_back_is_a_refusal(client):
    (message,) = client.responses.create(model="strict", input="Where?").output
    assert "not trusted" in message.content[0].refusal
    with client.responses.stream(model="strict", input="Where?") as stream:
        assert "response.refusal.done" in [event.type for event in stream]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"background": True}, "background"),
        ({"temperature": 7}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"input": [{"type": "computer_call"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input"),
        ({"input": [{"role": "user", "content": ["Where?"]}]}, "input"),
        ({"input": [{"type": "function_call_output", "call_id": "1", "output": [1]}]}, "input"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "y"}}}},
         "text.format"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(client, fields, param):
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**{"model": "chat", "input": "Where?", **fields})
    assert refused.value.body["param"] == param


def test_what_clients_send_routinely_is_let_through(client, say):
    client.responses.create(
        model="chat", input="Where?", store=False, metadata={"a": "b"}, truncation="disabled",
        user="me", include=[], reasoning={"effort": "low"}, text={"verbosity": "medium"},
    )  # fmt: skip
