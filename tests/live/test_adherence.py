"""What llama.cpp is asked for and leaves out, on real weights, those of SmolLM2."""

from __future__ import annotations

import pytest
from dspy import lm15

from dspy_mux.local import AsyncLlamaEngine, LlamaEngine, fetch, local_lm

pytestmark = pytest.mark.live

SETTINGS = {"slots": 1, "context": 512}
GRAMMAR = 'root ::= "maybe" | "perhaps"'
#: Reads `enable_thinking`, and leaves a system message out of longer conversations.
TEMPLATE = (
    "{% for m in messages %}{% if m.role != 'system' or messages|length < 3 %}"
    "{{ m.role + ': ' + m.content + '\n' }}{% endif %}{% endfor %}assistant:"
    "{% if enable_thinking is defined and not enable_thinking %}{{ ' <no thinking>' }}{% endif %}"
)


@pytest.fixture(scope="module")
def other_template(tmp_path_factory):
    """The same weights under `TEMPLATE`, padded to the length of their own."""
    weights = bytearray(fetch("smollm2-135m").read_bytes())
    at = weights.index(b"tokenizer.chat_template") + len(b"tokenizer.chat_template") + 4
    length = int.from_bytes(weights[at : at + 8], "little")
    template = TEMPLATE.encode()
    weights[at + 8 : at + 8 + length] = template + b"{#".ljust(length - len(template) - 2) + b"#}"
    path = tmp_path_factory.mktemp("weights") / "other.gguf"
    path.write_bytes(weights)
    yield path
    path.unlink()


def request(*messages: lm15.Message, system: str | None = None, **config) -> lm15.Request:
    return lm15.Request(
        model="m",
        system=system,
        messages=messages or (lm15.Message.user("Is it raining?"),),
        config=lm15.Config(**{"max_tokens": 1, "temperature": 0.0, **config}),
    )


def warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "dspy_mux"]


@pytest.mark.parametrize("text", [False, True])
async def test_every_answer_follows_the_grammar(text, caplog):
    engines = LlamaEngine("smollm2-135m", grammar=GRAMMAR, **SETTINGS)
    twin = AsyncLlamaEngine("smollm2-135m", grammar=GRAMMAR, **SETTINGS)
    if text:
        engines, twin = engines.as_text()
    answers = [engines.complete(request(seed=s, temperature=1.0, max_tokens=8)) for s in (1, 2)]
    answers.append(await twin.complete(request(seed=3, temperature=1.0, max_tokens=8)))

    assert {answer.text for answer in answers} <= {"maybe", "perhaps"}
    assert warnings(caplog) == []


def test_a_grammar_that_cannot_be_read_is_an_error():
    lm = local_lm("smollm2-135m", grammar="root ::= nothing", cache=False, **SETTINGS)
    with pytest.raises(Exception, match="failed to parse grammar"):
        lm("Hello")


def test_a_schema_that_cannot_be_read_is_an_error():
    schema = {"type": "object", "properties": {"a": {"$ref": "#/nothing"}}}
    engine = LlamaEngine("smollm2-135m", **SETTINGS)
    with pytest.raises(lm15.InvalidRequestError, match="cannot resolve"):
        engine.complete(request(response_format={"type": "json_schema", "schema": schema}))


def test_a_variable_that_the_template_does_not_read_is_logged_once(caplog):
    for _ in range(2):
        engine = LlamaEngine(
            "smollm2-135m", chat_template_kwargs={"enable_thinking": False}, **SETTINGS
        )
        engine.complete(request())

    (message,) = warnings(caplog)
    assert "SmolLM2-135M-Instruct.Q4_1 does not read enable_thinking" in message


def test_thinking_is_turned_off_where_the_template_can(other_template, caplog):
    prompts = [
        LlamaEngine(other_template, **SETTINGS, **options)
        .complete(request(reasoning=reasoning))
        .usage.input_tokens
        for options, reasoning in (
            ({"chat_template_kwargs": {"enable_thinking": True}}, None),
            ({"chat_template_kwargs": {"enable_thinking": False}}, None),
            ({}, lm15.Reasoning(effort="off")),
        )
    ]

    assert prompts[0] < prompts[1] == prompts[2]
    assert warnings(caplog) == []


def test_a_system_message_that_the_template_leaves_out_is_logged_once(other_template, caplog):
    engine = LlamaEngine(other_template, **SETTINGS)
    turns = (lm15.Message.user("a"), lm15.Message.assistant("b"), lm15.Message.user("c"))
    for _ in range(2):
        engine.complete(request(*turns, system="Answer in French."))

    (message,) = warnings(caplog)
    assert "chat template of other leaves system messages out" in message


@pytest.mark.parametrize(
    ("text", "broken"),
    # A text to continue is under no grammar at all where llama.cpp cannot express a part of it.
    [(False, "'uniqueItems' does not hold at $"), (True, "it is not JSON")],
)
def test_a_reply_that_breaks_its_schema_is_logged_once(text, broken, caplog):
    engine = LlamaEngine("smollm2-135m", **SETTINGS)
    if text:
        engine, _ = engine.as_text()
    schema = {"type": "array", "items": {"enum": [1]}, "minItems": 2, "maxItems": 2}
    for extra in ({}, {"uniqueItems": True}, {"uniqueItems": True}):
        format_ = {"type": "json_schema", "schema": {**schema, **extra}}
        engine.complete(request(response_format=format_, max_tokens=30))

    (message,) = warnings(caplog)
    assert f"does not follow its response format: {broken}" in message


def test_a_reply_that_is_no_json_is_logged_and_one_that_is_cut_off_is_not(caplog):
    engine = LlamaEngine("smollm2-135m", **SETTINGS)
    engine.complete(request(response_format={"type": "json_object"}, max_tokens=2))
    assert warnings(caplog) == []

    engine.complete(request(response_format={"type": "json_object"}, stop=("{",), max_tokens=9))
    assert "it is not JSON" in warnings(caplog)[0]
