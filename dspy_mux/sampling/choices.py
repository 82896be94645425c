"""Split a reply of several choices into the replies of requests of their own.

Tokens of the prompt are billed once, so they are the first reply's. Those of the completions are
counted for all choices together: each choice has its own where log-probabilities list them, else a
share by the length of its text. llama.cpp counts those of one choice alone, which is taken for the
first: the others' follow by their length.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import dspy
from dspy._vendor.lm15.providers.base import HttpResponse
from dspy.clients.call_result import CallResult
from dspy.clients.capabilities import resolve
from dspy.clients.execution import _price_result
from dspy.lm15 import Response

from .usage import own_cost

#: A field of llama.cpp's replies.
_LLAMA_CPP = "timings"
#: Fields of a reply's usage that count what was generated.
_GENERATED = ("completion_tokens", "reasoning_tokens", "audio_tokens")


def split_body(response: HttpResponse, n: int) -> list[HttpResponse]:
    """Return a reply of OpenAI's form as one for each of its choices, by their index.

    Args:
        n: how many were asked for; a reply without any is the reply to each of them.

    Raises:
        lm15.ProviderError: it is not JSON.
    """
    body = response.json()
    found = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(found, list) or len(found) == 1:
        return [response]
    choices = sorted(found, key=_index)
    usages = split_usage(body.get("usage"), choices or [{}] * n, of_one=_LLAMA_CPP in body)
    alone = [[{**choice, "index": 0}] for choice in choices] or [[]] * n
    return [
        replace(response, body=json.dumps({**body, "choices": own, "usage": usage}).encode())
        for own, usage in zip(alone, usages, strict=True)
    ]


def split_model_response(raw: Any, n: int) -> list[Any]:
    """Return a reply of LiteLLM as one for each of its choices; the first has the whole cost.

    Args:
        n: as in `split_body`.
    """
    choices = sorted(raw.choices, key=_index)
    if len(choices) == 1:
        return [raw]
    usage = getattr(raw, "usage", None)
    plain = [choice.model_dump() for choice in choices] or [{}] * n
    told = None if usage is None else usage.model_dump()
    usages = split_usage(told, plain, of_one=hasattr(raw, _LLAMA_CPP))
    alone = [[choice.model_copy(update={"index": 0})] for choice in choices] or [[]] * n
    replies = []
    for at, (one, own) in enumerate(zip(alone, usages, strict=True)):
        reply = raw.model_copy()
        reply.choices = one
        if usage is not None and own is not None:
            reply.usage = type(usage)(**own)
        hidden = dict(getattr(raw, "_hidden_params", None) or {})
        if at and hidden.get("response_cost") is not None:
            hidden["response_cost"] = 0.0
        reply._hidden_params = hidden
        replies.append(reply)
    return replies


def merged(replies: Sequence[Any]) -> Any:
    """Return the first of replies of one choice, with what all of them used."""
    first = replies[0]
    if isinstance(first, Response):
        used = _sum([asdict(reply.usage) for reply in replies])
        return replace(first, usage=type(first.usage)(**used))
    usage = getattr(first, "usage", None)
    reply = first.model_copy()
    if usage is not None:
        reply.usage = type(usage)(**_sum([each.usage.model_dump() for each in replies]))
    hidden = [dict(getattr(each, "_hidden_params", None) or {}) for each in replies]
    reply._hidden_params = {
        **hidden[0],
        "response_cost": _sum([each.get("response_cost") for each in hidden]),
    }
    return reply


def bill_of(lm: dspy.BaseLM, choice: Any) -> tuple[dict[str, Any], float | None]:
    """Return what a choice used and costs, as DSPy reports it of a call that takes it."""
    if isinstance(choice, Response):
        provider = resolve(lm).provider
        result = CallResult.native(choice, provider=provider)
        _price_result(lm, result, choice, provider, None)
        used, cost = result.usage, result.cost
    else:
        used = dict(getattr(choice, "usage", None) or {})
        cost = (getattr(choice, "_hidden_params", None) or {}).get("response_cost")
    return used, own_cost(lm, cost)


def _sum(values: Sequence[Any]) -> Any:
    """Return the sum of numbers, or of those in mappings; the first of anything else.

    >>> _sum([{"tokens": 2, "of": {"thought": None}}, {"tokens": 3, "of": {"thought": 1}}])
    {'tokens': 5, 'of': {'thought': 1}}
    """
    known = [value for value in values if value is not None]
    if known and isinstance(known[0], Mapping):
        return {name: _sum([value.get(name) for value in known]) for name in known[0]}
    if known and isinstance(known[0], (int, float)):
        return sum(known)
    return known[0] if known else None


def split_usage(
    usage: Mapping[str, Any] | None, choices: Sequence[Mapping[str, Any]], *, of_one: bool = False
) -> list[dict[str, Any] | None]:
    """Return what each choice used; the sums are those of the reply.

    Args:
        of_one: whether the reply counts the tokens of its first choice alone.

    >>> choices = [{"message": {"content": text}} for text in ("a", "bcd")]
    >>> split_usage({"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}, choices)
    ... # doctest: +NORMALIZE_WHITESPACE
    [{'prompt_tokens': 9, 'completion_tokens': 2, 'total_tokens': 11},
     {'prompt_tokens': 0, 'completion_tokens': 6, 'total_tokens': 6}]
    """
    if not usage:
        return [None] * len(choices)
    weights = _weights(choices)
    if of_one:
        usage = {**usage, **_of_all(usage, weights)}
    split: list[dict[str, Any] | None] = []
    for at in range(len(choices)):
        own = {name: _share(name, value, weights, at) for name, value in usage.items()}
        split.append(own)
        if own.get("total_tokens") is not None:
            own["total_tokens"] = (own.get("prompt_tokens") or 0) + (
                own.get("completion_tokens") or 0
            )
    return split


def _share(name: str, value: Any, weights: Sequence[float], at: int) -> Any:
    """Return a choice's part of a number of a reply's usage."""
    if name == "completion_tokens_details" and isinstance(value, Mapping):
        return {key: _share("completion_tokens", one, weights, at) for key, one in value.items()}
    if name in _GENERATED and isinstance(value, int):
        return _parts(value, weights)[at]
    if at == 0 or value is None:
        return copy.copy(value)
    if isinstance(value, Mapping):
        return {key: _share("", one, weights, at) for key, one in value.items()}
    return 0 if isinstance(value, (int, float)) else value


def _of_all(usage: Mapping[str, Any], weights: Sequence[float]) -> dict[str, int]:
    """Return the tokens of all choices, given those of the first."""
    counted = usage.get("completion_tokens")
    if not isinstance(counted, int):
        return {}
    return {"completion_tokens": round(counted * sum(weights) / weights[0])}


def _parts(total: int, weights: Sequence[float]) -> list[int]:
    """Return whole numbers that sum to `total`, in proportion to the weights.

    >>> _parts(10, [1, 1, 1])
    [4, 3, 3]
    """
    whole = sum(weights)
    ends = [0, *(round(total * sum(weights[: at + 1]) / whole) for at in range(len(weights)))]
    parts = [end - begin for begin, end in itertools.pairwise(ends)]
    return sorted(parts, reverse=True) if len(set(weights)) == 1 else parts


def _weights(choices: Sequence[Mapping[str, Any]]) -> list[float]:
    counted = [len(((choice.get("logprobs") or {}).get("content")) or ()) for choice in choices]
    if all(counted):
        return [float(count) for count in counted]
    return [max(1.0, float(len(_text(choice)))) for choice in choices]


def _text(choice: Mapping[str, Any]) -> str:
    message = choice.get("message") or {}
    parts = [message.get(name) for name in ("reasoning_content", "reasoning", "content")]
    calls = message.get("tool_calls")
    return "".join(str(part) for part in (*parts, calls) if part)


def _index(choice: Any) -> int:
    index = choice.get("index") if isinstance(choice, dict) else getattr(choice, "index", None)
    return index if isinstance(index, int) else 0


def text_of(reply: Response | Any) -> str:
    """Return what a reply of one choice says, its calls of tools included."""
    if isinstance(reply, Response):
        return repr(reply.message.parts)
    return _text(reply.choices[0].model_dump()) if reply.choices else ""
