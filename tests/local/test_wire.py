"""What DSPy asks for reaches llama.cpp, and what it cannot do is refused by name."""

from __future__ import annotations

import pytest
from dspy import lm15

from dspy_mux.local import wire


def request(*messages: lm15.Message, system: str | None = None, tools=(), **config) -> lm15.Request:
    return lm15.Request(
        model="local/m",
        messages=messages or (lm15.Message.user("Hello"),),
        system=system,
        tools=tools,
        config=lm15.Config(**config),
    )


def test_chat_models_get_messages_base_models_text():
    asked = request(
        lm15.Message.user("a"), lm15.Message.assistant("b"), lm15.Message.user("c"), system="s"
    )

    chat, _ = wire.payload_of(asked, chat=True)
    base, _ = wire.payload_of(asked, chat=False)
    assert [(m["role"], m["content"]) for m in chat["messages"]] == [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "c"),
    ]
    assert base["prompt"] == "s\n\na\n\nb\n\nc"
    assert "messages" not in base


def test_a_base_model_gets_one_message_verbatim():
    text = "Q: Libya\nA: Tripoli\n\nQ: Mali\nA:"

    assert wire.payload_of(request(lm15.Message.user(text)), chat=False)[0]["prompt"] == text


def test_sampling_settings_are_carried_and_the_seed_stands_apart():
    payload, seed = wire.payload_of(
        request(
            max_tokens=12,
            temperature=0.5,
            top_p=0.9,
            top_k=40,
            seed=7,
            stop=("\n",),
            frequency_penalty=0.1,
            presence_penalty=0.2,
            extensions={"min_p": 0.1},
        ),
        chat=True,
    )

    assert seed == 7
    assert {k: v for k, v in payload.items() if k != "messages"} == {
        "max_tokens": 12,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop": ["\n"],
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "min_p": 0.1,
    }


@pytest.mark.parametrize("seed", [-1, 2**32 - 1, 2**40 + 3])
def test_any_seed_fits_llama_cpp(seed):
    _, sent = wire.payload_of(request(seed=seed), chat=True)

    assert sent is not None
    assert 0 <= sent < 2**32 - 1


def test_greedy_draws_need_no_seed_to_be_the_same():
    assert wire.payload_of(request(temperature=0.0, seed=3), chat=True)[1] == 0
    assert wire.payload_of(request(temperature=0.0), chat=True)[1] == 0
    assert wire.payload_of(request(temperature=0.1), chat=True)[1] is None


def test_an_answer_is_bounded_where_nobody_bounds_it():
    assert wire.payload_of(request(), chat=True)[0]["max_tokens"] == wire.DEFAULT_MAX_TOKENS


def test_a_schema_is_nested_as_llama_cpp_needs_it():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = request(response_format={"type": "json_schema", "schema": schema, "name": "n"})

    assert wire.payload_of(asked, chat=True)[0]["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }
    assert wire.payload_of(asked, chat=False)[0]["json_schema"] == schema


@pytest.mark.parametrize(
    ("asked", "feature"),
    [
        (
            request(
                tools=(lm15.FunctionTool(name="f", description="d", parameters={"type": "object"}),)
            ),
            "tools",
        ),
        (
            request(lm15.Message.user([lm15.ImagePart(url="http://x/y.png")])),
            "messages[0].parts[0]",
        ),
        (
            request(lm15.Message.user("a"), reasoning=lm15.Reasoning(effort="high")),
            "config.reasoning",
        ),
        (request(service_tier="flex"), "config.service_tier"),
        (request(extensions={"frobnicate": 1}), "config.extensions.frobnicate"),
    ],
)
def test_unsupported_features_are_refused_by_name(asked, feature):
    with pytest.raises(lm15.UnsupportedFeatureError) as caught:
        wire.payload_of(asked, chat=True)
    assert caught.value.feature == feature


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (
            {"code": 400, "type": "exceed_context_size_error", "message": "request (9 tokens)"},
            lm15.ContextLengthError,
        ),
        (
            {"code": 500, "type": "server_error", "message": "Context size has been exceeded."},
            lm15.ContextLengthError,
        ),
        ({"code": 400, "type": "invalid_request_error", "message": "no"}, lm15.InvalidRequestError),
        ({"code": 501, "type": "not_supported_error", "message": "no"}, lm15.InvalidRequestError),
        ({"code": 500, "type": "server_error", "message": "no"}, lm15.ServerError),
        ({"code": 503, "type": "unavailable_error", "message": "loading"}, lm15.ServerError),
    ],
)
def test_error_bodies_become_retryable_or_final_errors(error, kind):
    for body in ({"error": error}, error):
        raised = wire.error_of(body)
        assert type(raised) is kind
        assert error["message"] in str(raised)


def test_a_choice_becomes_a_response_with_its_own_usage():
    usage = {
        "prompt_tokens": 38,
        "completion_tokens": 3,
        "total_tokens": 41,
        "prompt_tokens_details": {"cached_tokens": 37},
    }
    body = wire.choice_body(
        "id-1", "cat", "hm", [{"token": "cat", "logprob": -0.5}], "length", usage
    )
    response = wire.response_of(body, model="local/m")

    assert response.text == "cat"
    assert response.finish_reason == "length"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (38, 3)
    assert response.usage.cache_read_tokens == 37
    assert response.model == "local/m"
    assert [t.logprob for t in response.logprobs] == [-0.5]


def test_a_cut_off_answer_may_be_retried():
    with pytest.raises(lm15.ServerError, match="before the answer was complete"):
        wire.choice_body("id", "ca", "", [], None, None)


def test_log_probabilities_are_asked_for_with_an_alternative():
    # Asked for none, llama.cpp says nothing of the tokens themselves either.
    request = lm15.Request(
        model="m",
        messages=(lm15.Message.user("Hi"),),
        config=lm15.Config(logprobs=0),
    )
    chat, _ = wire.payload_of(request, chat=True)
    text, _ = wire.payload_of(request, chat=False)
    assert (chat["logprobs"], chat["top_logprobs"], text["logprobs"]) == (True, 1, 1)
