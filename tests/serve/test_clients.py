"""Clients of OpenAI's protocol as their makers ship them, against a served pool."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Literal

import dspy
import openai
import pydantic
import pytest

from dspy_mux.serve.chat import chat_mux
from dspy_mux.serve.settings import ServeSettings
from dspy_mux.voting.confidence import RuleScale, Scale

from ..support.http_models import model_server
from ..support.pools import mux_of
from ..support.scripted import marked
from ..support.served import served

KEY = "a-key-for-these-tests-1"
HELLO = [{"role": "user", "content": "Which city is the capital of France?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


class City(pydantic.BaseModel):
    name: str
    size: Literal["small", "large"]


def call_of(at: int, **arguments: object) -> tuple[dict, str]:
    function = {"name": "weather", "arguments": json.dumps(arguments)}
    call = {"id": f"call_{at}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"


def says(city: str) -> Callable[[str], str]:
    """Reply in the form that the prompt asks for."""
    return lambda prompt: marked(answer=city) if "[[ ##" in prompt else city


@pytest.fixture(scope="module")
def server():
    with model_server() as server:
        yield server


@pytest.fixture
def models(server):
    """What three model servers say: a and b agree whatever they are asked, c does not."""
    server.texts = {name: says("Lyon" if name == "c" else "Paris") for name in "abc"}
    server.replies = {}
    server.bodies.clear()
    return server


@pytest.fixture(scope="module")
def served_pool(server):
    settings = {"api_base": f"{server.address}/v1", "api_key": "none", "cache": False}
    muxes = {
        "my-mux": chat_mux(
            {name: dspy.LM(f"openai/{name}", **settings) for name in "abc"}, k=2, rule="pooled"
        ),
        "sums": mux_of(["42", "41"], ["42"], program=dspy.Predict("question -> answer: int"), k=2),
        "typed": mux_of(["7"], program=dspy.Predict("city: str, year: int -> answer: int"), k=1),
    }
    muxes["tuned"] = mux_of(["1"], ["1"], k=1)
    muxes["tuned"].pool.scale = RuleScale("consistency", ("a", "b"), (1, 1), Scale(answers=20))
    with served(muxes, ServeSettings(keys={"TEST_KEY": KEY})) as url:
        yield url


@pytest.fixture
def address(served_pool, models):
    return served_pool


@pytest.fixture
def client(address):
    with openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_openai_asks(client):
    raw = client.chat.completions.with_raw_response.create(model="my-mux", messages=HELLO)
    reply = raw.parse()
    assert reply.choices[0].message.content == "Paris"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 0
    assert reply.mux["confidence"] == pytest.approx(4 / 6)
    assert raw.headers["x-mux-confidence"] == "0.6667"
    assert raw.headers["x-mux-calls"] == "6"


async def test_openai_asks_without_blocking(address):
    async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY) as client:
        reply = await client.chat.completions.create(model="my-mux", messages=HELLO)
        assert reply.choices[0].message.content == "Paris"
        stream = await client.chat.completions.create(
            model="my-mux", messages=HELLO, stream=True, seed=2
        )
        texts = [each.choices[0].delta.content or "" async for each in stream]
        assert "".join(texts) == "Paris"


def test_openai_streams(client, models):
    models.texts["c"] = models.texts["a"] = models.texts["b"] = lambda prompt: "It is Paris.\n"
    chunks = list(
        client.chat.completions.create(
            model="my-mux", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    *parts, usage = chunks
    texts = [each.choices[0].delta.content for each in parts if each.choices[0].delta.content]
    assert "".join(texts).strip() == "It is Paris."
    assert len(texts) == 3
    assert parts[-1].choices[0].finish_reason == "stop"
    assert parts[-1].mux["confidence"] == 1
    assert (usage.choices, usage.usage.completion_tokens > 0) == ([], True)


def test_openai_parses_structured_output(client, models):
    # Of the same content, in another order and in a fence.
    models.texts["a"] = lambda prompt: '{"name": "Paris", "size": "large"}'
    models.texts["b"] = lambda prompt: '```json\n{"size": "large",\n "name": "Paris"}\n```'
    models.texts["c"] = lambda prompt: '{"name": "Paris", "size": "vast"}'
    reply = client.chat.completions.parse(model="my-mux", messages=HELLO, response_format=City)
    assert reply.choices[0].message.parsed == City(name="Paris", size="large")
    assert reply.mux["confidence"] == pytest.approx(4 / 6)
    [*_, c] = reply.mux["ballots"]
    assert sum(c["abstentions"].values()) == 2
    assert models.bodies[0]["response_format"]["type"] == "json_schema"


def test_openai_gets_one_tool_call(client, models):
    models.texts.clear()
    models.replies = {
        "a": call_of(1, city="Paris", days=2),
        "b": call_of(2, days=2, city="Paris"),
        "c": call_of(3, city="Lyon"),
    }
    asked = {"model": "my-mux", "messages": HELLO, "tools": [WEATHER]}
    choice = client.chat.completions.create(**asked).choices[0]
    [call] = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == {"city": "Paris", "days": 2}
    # What the tool said goes to every member in turn.
    models.replies.clear()
    models.texts = dict.fromkeys("abc", lambda prompt: "Rain" if "wet" in prompt else "Sun")
    said = {"role": "tool", "tool_call_id": call.id, "content": "wet"}
    asked["messages"] = [*HELLO, choice.message, said]
    assert client.chat.completions.create(**asked).choices[0].message.content == "Rain"


def test_openai_streams_a_tool_call(client, models):
    models.texts.clear()
    models.replies = {name: call_of(1, city="Paris") for name in "abc"}
    with client.chat.completions.stream(model="my-mux", messages=HELLO, tools=[WEATHER]) as stream:
        final = stream.get_final_completion()
    [call] = final.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_openai_sends_typed_inputs(client):
    asked = json.dumps({"city": "Paris", "year": 1900})
    reply = client.chat.completions.create(
        model="typed", messages=[{"role": "user", "content": asked}]
    )
    assert reply.choices[0].message.content == "7"
    with pytest.raises(openai.BadRequestError, match="year"):
        client.chat.completions.create(
            model="typed", messages=[{"role": "user", "content": '{"city": "Paris"}'}]
        )


def test_openai_lists_models(client):
    names = [model.id for model in client.models.list()]
    assert {"my-mux", "my-mux/a", "sums"} <= set(names)
    assert client.models.retrieve("my-mux/a").id == "my-mux/a"
    reply = client.chat.completions.create(model="my-mux/c", messages=HELLO)
    assert reply.choices[0].message.content == "Lyon"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "nothing"}, openai.NotFoundError, "nothing"),
        ({"n": 2}, openai.BadRequestError, "n"),
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"logprobs": True}, openai.BadRequestError, "log-prob"),
        ({"temperature": 9}, openai.BadRequestError, "temperature"),
    ],
)
def test_openai_raises_as_of_openai(client, settings, error, message):
    with pytest.raises(error, match=message):
        client.chat.completions.create(**{"model": "my-mux", "messages": HELLO, **settings})


def test_openai_with_a_wrong_key(address):
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="my-mux", messages=HELLO)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
@pytest.mark.parametrize("how", ["call", "acall"])
async def test_dspy_asks(address, engine, how):
    lm = dspy.LM("openai/my-mux", api_base=f"{address}/v1", api_key=KEY, engine=engine, cache=False)
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        prediction = (
            program(question="Which city?")
            if how == "call"
            else await program.acall(question="Which city?")
        )
    assert prediction.answer == "Paris"


@pytest.mark.parametrize("engine", ["lm15", "litellm"])
def test_dspy_asks_a_program_by_its_input_alone(address, engine):
    """Its adapters' prompts are no inputs of a program: the error says what to do."""
    lm = dspy.LM("openai/sums", api_base=f"{address}/v1", api_key=KEY, engine=engine, cache=False)
    assert lm("What is 6 × 7?") == ["42"]
    for adapter in (dspy.ChatAdapter(), dspy.JSONAdapter()):
        with (
            dspy.context(lm=lm, adapter=adapter),
            pytest.raises(Exception, match="the mux with --chat"),
        ):
            dspy.Predict("question -> answer")(question="What is 6 × 7?")


@pytest.mark.parametrize("name", ["tuned", "tuned/a"])
def test_a_tuned_mux_names_what_serves_prompts(address, name):
    """The server would refuse --chat for it."""
    lm = dspy.LM(f"openai/{name}", api_base=f"{address}/v1", api_key=KEY, cache=False)
    with (
        dspy.context(lm=lm, adapter=dspy.ChatAdapter()),
        pytest.raises(Exception, match="the pool file, without this saved mux, with --chat"),
    ):
        dspy.Predict("question -> answer")(question="What is 6 × 7?")


def test_a_limit_of_tokens_says_where_it_belongs(client):
    with pytest.raises(openai.BadRequestError, match="leave max_completion_tokens out, or set it"):
        client.chat.completions.create(model="sums", messages=HELLO, max_completion_tokens=100)


def test_litellm_asks(address):
    import litellm

    asked = {"model": "openai/my-mux", "api_base": f"{address}/v1", "api_key": KEY}
    reply = litellm.completion(**asked, messages=HELLO)
    assert reply.choices[0].message.content == "Paris"
    stream = litellm.completion(**asked, messages=HELLO, stream=True)
    assert "".join(each.choices[0].delta.content or "" for each in stream) == "Paris"
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**{**asked, "api_key": "wrong"}, messages=HELLO)


@pytest.fixture
def llm_folder(address, tmp_path, monkeypatch):
    """Where `llm` looks for its settings, with the mux among its models."""
    told = {
        "model_id": "mux",
        "model_name": "my-mux",
        "api_base": f"{address}/v1",
        "api_key_name": "mux",
        "supports_schema": True,
        "supports_tools": True,
    }
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([told]))  # JSON is YAML
    (tmp_path / "keys.json").write_text(json.dumps({"mux": KEY}))
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    monkeypatch.setenv("LLM_LOAD_PLUGINS", "")
    return tmp_path


def test_llm_asks_on_the_command_line(llm_folder):
    command = [sys.executable, "-m", "llm", "-m", "mux", HELLO[0]["content"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "Paris"), done.stderr


def test_llm_asks_streams_and_goes_on(llm_folder):
    import llm

    model = llm.get_model("mux")
    assert model.prompt(HELLO[0]["content"], stream=False).text() == "Paris"
    talk = model.conversation()
    assert "".join(talk.prompt(HELLO[0]["content"])) == "Paris"
    assert "".join(talk.prompt("And of Spain?")) == "Paris"


def test_llm_asks_for_a_schema(llm_folder, models):
    import llm

    models.texts = dict.fromkeys("abc", lambda prompt: '{"name": "Paris", "size": "large"}')
    reply = llm.get_model("mux").prompt("Which city?", schema=City)
    assert json.loads(reply.text()) == {"name": "Paris", "size": "large"}


def test_llm_calls_a_tool(llm_folder, models):
    import llm

    models.texts.clear()
    models.replies = {name: call_of(1, city="Paris") for name in "abc"}
    asked = []

    def weather(city: str) -> str:
        """Say how the weather is."""
        asked.append(city)
        models.replies.clear()
        models.texts = dict.fromkeys("abc", lambda prompt: "Rain" if "wet" in prompt else "Sun")
        return "wet"

    chain = llm.get_model("mux").chain("How is it in Paris?", tools=[weather])
    assert chain.text() == "Rain"
    assert asked == ["Paris"]
