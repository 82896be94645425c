"""A reply of several choices is split so that nothing is billed twice, and nothing lost."""

from __future__ import annotations

import json

import litellm
import pytest
from dspy._vendor.lm15.providers.base import HttpResponse
from hypothesis import given, strategies as st

from dspy_mux.sampling.choices import split_body, split_model_response, split_usage

from ..support.choice_server import choice_server
from ..support.choices import Choice, Shape, reply
from ..support.group_draws import a_mux, answers, each_engine, numbered

K = 4
each_shape = pytest.mark.parametrize("shape", Shape, ids=lambda shape: shape.value)


@each_engine
@pytest.mark.parametrize("out_of_order", [False, True], ids=["in order", "out of order"])
@each_shape
def test_a_verdict_counts_what_each_server_bills(shape, out_of_order, engine):
    with choice_server(numbered) as server:
        server.shape, server.out_of_order = shape, out_of_order
        verdict = a_mux(server, k=K, engine=engine)(question="?").verdict
        assert server.sizes() == [K]
        assert answers(verdict) == {str(number): 1 for number in range(K)}
        assert verdict.prompt_tokens == server.prompt_tokens
        # Texts of one length: what llama.cpp counts of one choice holds for each.
        billed = sum(server.count(numbered("", number)) for number in range(K))
        assert verdict.completion_tokens == billed


def body_of(choices, **settings):
    body = json.dumps(reply("a", choices, **settings)).encode()
    return HttpResponse(status=200, reason="OK", headers=[], body=body)


@each_shape
@pytest.mark.parametrize("out_of_order", [False, True])
def test_each_body_is_one_of_a_request_of_its_own(shape, out_of_order):
    choices = [Choice("x" * number, tokens=number) for number in (1, 2, 3)]
    bodies = [
        json.loads(each.body)
        for each in split_body(body_of(choices, shape=shape, out_of_order=out_of_order), 3)
    ]
    whole = json.loads(body_of(choices, shape=shape).body)
    for at, body in enumerate(bodies):
        assert {**body, "usage": None, "choices": None} == {**whole, "usage": None, "choices": None}
        assert body["choices"] == [{**whole["choices"][at], "index": 0}]
        assert body["usage"].keys() == whole["usage"].keys()
    assert [body["usage"]["prompt_tokens"] for body in bodies] == [10, 0, 0]
    # By the length of their texts; llama.cpp's count of the first says how long a token is.
    assert [body["usage"]["completion_tokens"] for body in bodies] == [1, 2, 3]


@pytest.mark.parametrize("split", ["lm15", "litellm"])
@pytest.mark.parametrize("n", [1, 3])
def test_a_reply_without_choices_is_the_reply_to_all(split, n):
    if split == "lm15":
        replies = [json.loads(each.body) for each in split_body(body_of([]), n)]
    else:
        raw = litellm.ModelResponse(**reply("a", []))
        raw.choices = []
        replies = [each.model_dump() for each in split_model_response(raw, n)]
    assert [each["choices"] for each in replies] == [[]] * n
    assert sum(each["usage"]["prompt_tokens"] for each in replies) == 10


def test_one_choice_is_left_as_it_is():
    one = body_of([Choice("x")])
    assert split_body(one, 3) == [one]


@pytest.mark.parametrize("body", ["[]", "{}", '{"choices": null}', '{"choices": "x"}'])
def test_what_is_no_reply_is_left_to_the_client(body):
    odd = HttpResponse(status=200, reason="OK", headers=[], body=body.encode())
    assert split_body(odd, 3) == [odd]


def test_the_cost_that_litellm_reports_is_the_first_ones():
    raw = litellm.ModelResponse(**reply("a", [Choice("x"), Choice("y")]))
    raw._hidden_params = {"response_cost": 0.25}
    replies = split_model_response(raw, 2)
    assert [each._hidden_params["response_cost"] for each in replies] == [0.25, 0.0]
    assert [each.choices[0].message.content for each in replies] == ["x", "y"]
    assert raw._hidden_params == {"response_cost": 0.25}


counts = st.integers(0, 10**6)
details = st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens"]), counts)
usages = st.fixed_dictionaries(
    {"prompt_tokens": counts, "completion_tokens": counts},
    optional={
        "completion_tokens_details": st.none() | details,
        "prompt_tokens_details": st.none() | st.dictionaries(st.just("cached_tokens"), counts),
        "reasoning_tokens": counts,
        "cost": st.floats(0, 1),
        "service_tier": st.just("default"),
    },
)
texts = st.lists(st.none() | st.text(max_size=30), min_size=1, max_size=9)


@given(usages, texts)
def test_parts_of_a_usage_sum_to_it(usage, texts):
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
    parts = split_usage(usage, [{"message": {"content": text}} for text in texts])
    assert len(parts) == len(texts)
    for name, whole in usage.items():
        if isinstance(whole, dict):
            for key, number in whole.items():
                assert sum(part[name][key] for part in parts) == number
        elif isinstance(whole, (int, float)):
            assert sum(part[name] for part in parts) == whole
        else:
            assert [part[name] for part in parts] == [whole] * len(parts)
    for part in parts:
        assert part["total_tokens"] == part["prompt_tokens"] + part["completion_tokens"]
        assert all(part[name] >= 0 for name in ("prompt_tokens", "completion_tokens"))


@given(st.lists(st.integers(1, 50), min_size=2, max_size=9))
def test_tokens_that_log_probabilities_list_are_counted_exactly(lengths):
    choices = [{"logprobs": {"content": [{}] * length}} for length in lengths]
    parts = split_usage({"prompt_tokens": 1, "completion_tokens": sum(lengths)}, choices)
    assert [part["completion_tokens"] for part in parts] == lengths


def test_no_usage_stays_none():
    assert split_usage(None, [{}, {}]) == [None, None]
