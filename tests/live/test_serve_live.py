"""Real small models behind OpenAI's protocol, asked by real clients."""

from __future__ import annotations

import asyncio
import json

import dspy
import openai
import pytest

from dspy_mux import SLMMux
from dspy_mux.local import local_member
from dspy_mux.serve.chat import chat_mux
from programs import everyday

from ..support.served import served
from .test_mux_live import HERE, QUESTION

pytestmark = pytest.mark.live

ASKED = [{"role": "user", "content": json.dumps({"question": QUESTION, "category": "capital"})}]


@pytest.fixture(scope="module")
def address():
    members = [local_member(name, max_tokens=16, accept_license=True) for name in HERE]
    talkers = [local_member("smollm2-135m", max_tokens=24)]
    muxes = {
        "everyday": SLMMux(everyday.program(), members, temperature=0.5),
        "chat": chat_mux(talkers, k=2, temperature=0.5),
    }
    with served(muxes) as url:
        yield f"{url}/v1"


def test_openai_asks_the_pool(address):
    client = openai.OpenAI(base_url=address, api_key="none", timeout=600)
    raw = client.chat.completions.with_raw_response.create(model="everyday", messages=ASKED)
    reply = raw.parse()
    assert reply.choices[0].message.content
    assert [ballot["member"] for ballot in reply.mux["ballots"]] == HERE
    found = {each["answer"] for ballot in reply.mux["ballots"] for each in ballot["answers"]}
    assert "Paris" in found
    assert raw.headers["x-mux-calls"] == str(3 * len(HERE))
    assert reply.usage.completion_tokens >= 3 * len(HERE)


def test_openai_streams_the_pool(address):
    async def read() -> list[str]:
        client = openai.AsyncOpenAI(base_url=address, api_key="none", timeout=600)
        stream = await client.chat.completions.create(
            model="everyday", messages=ASKED, seed=1, stream=True
        )
        return [each.choices[0].delta.content or "" async for each in stream]

    assert "".join(asyncio.run(read())).strip()


def test_dspy_asks_one_member(address):
    lm = dspy.LM("openai/chat", api_base=address, api_key="none", timeout=600, cache=False)
    [text] = lm("Say hello in one word.")
    assert text
    with dspy.context(lm=lm):
        assert isinstance(lm.history[-1]["usage"]["total_tokens"], int)


def test_a_small_model_fits_a_schema(address):
    client = openai.OpenAI(base_url=address, api_key="none", timeout=600)
    schema = {
        "type": "object",
        "properties": {"yes": {"type": "boolean"}},
        "required": ["yes"],
        "additionalProperties": False,
    }
    reply = client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": "Is water wet?"}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": schema, "strict": True},
        },
    )
    assert set(json.loads(reply.choices[0].message.content)) == {"yes"}
