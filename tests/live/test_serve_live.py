"""Real small models behind OpenAI's protocol, asked by OpenAI's own client."""

from __future__ import annotations

import json

import openai
import pytest

from dspy_mux import SLMMux, chat_mux
from dspy_mux.local import CATALOG, local_member, path
from programs import everyday

from ..support.served import served

pytestmark = pytest.mark.live

#: Qwen takes part where its weights are on the machine already.
HERE = ["smollm2-135m", *(name for name in CATALOG if name.startswith("qwen") and path(name))]
QUESTION = "Which city is the capital of France?"


@pytest.fixture(scope="module")
def client():
    members = [local_member(name, max_tokens=24) for name in HERE]
    muxes = {
        "chat": chat_mux(members, k=2, temperature=0.5),
        "everyday": SLMMux(everyday.program(), members, k=2, temperature=0.5),
    }
    with served(muxes) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="none", timeout=300, max_retries=0)


def test_a_chat_streams_and_counts_its_tokens(client):
    stream = client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=8,
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = stream
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    verdict = chunks[-1].model_extra["mux"]
    assert verdict["answer"] == text
    assert [ballot["member"] for ballot in verdict["ballots"]] == HERE
    assert last.usage.completion_tokens >= 2 * len(HERE)


def test_a_schema_binds_every_member(client):
    city = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}}
    schema = {**city, "required": ["city"], "additionalProperties": False}
    completion = client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": f"{QUESTION} Reply in JSON."}],
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema}},
    )
    assert json.loads(completion.choices[0].message.content).keys() == {"city"}
    assert not any(ballot["abstentions"] for ballot in completion.model_extra["mux"]["ballots"])


def test_a_program_is_asked_by_its_inputs(client):
    inputs = json.dumps({"question": QUESTION, "category": "capital"})
    completion = client.chat.completions.create(
        model="everyday", messages=[{"role": "user", "content": inputs}]
    )
    assert completion.choices[0].message.content
    assert completion.model_extra["mux"]["calls"] == 2 * len(HERE)
