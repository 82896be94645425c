"""How servers answer a request for `n` choices: whether they take it, and what they reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

Body = dict[str, Any]
NAMES_N = "'n' : number must be at most 1"


class TakesN(str, Enum):
    """What a server makes of `n` above 1."""

    ALL = "takes n"
    NAMED = "n-refused"  # as Groq does
    UNNAMED = "n-unnamed"
    ONE = "one-choice"  # as Ollama does
    SAME = "one-text"
    FEWER = "fewer-choices"
    LIMITED = "limited-n"  # as llama.cpp's server does above its slots

    @classmethod
    def of(cls, model: str) -> TakesN:
        """Return what a model's name says, "openai/small-one-choice", say; ALL by default."""
        return next((each for each in cls if each.value in model), cls.ALL)

    def refusal(self, n: int, most: int, says: str = NAMES_N) -> tuple[int, Body] | None:
        """Return the status and body that refuse `n` choices; None where it takes them.

        Args:
            says: what a refusal that names n says.
        """
        if n == 1:
            return None
        if self is TakesN.NAMED:
            return 400, _error(says)
        if self is TakesN.UNNAMED:
            return 422, _error("The request could not be processed.")
        if self is TakesN.LIMITED and n > most:
            what = f"Field 'n': Value must be between 1 <= value <= {most}, but got {n}"
            return 400, {"error": {**_error(what)["error"], "code": 400}}
        return None

    def count(self, n: int, most: int) -> int:
        """Return how many choices it gives."""
        if self is TakesN.ONE:
            return 1
        return min(n, most) if self is TakesN.FEWER else n


class Shape(str, Enum):
    """Whose reply: beside what all have, each has fields of its own.

    OpenAI, vLLM and SGLang sum the completion tokens of all choices; llama.cpp's server counts
    those of one.
    """

    PLAIN = "plain"
    OPENAI = "openai"
    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMA_CPP = "llama.cpp"


@dataclass(frozen=True)
class Choice:
    """One choice of a reply.

    Attributes:
        tokens: how many it has, for the bill.
        logprobs: of each token, in OpenAI's form; None where they were not asked for.
    """

    text: str | None
    tokens: int = 2
    logprobs: list[Body] | None = None
    finish_reason: str = "stop"


def reply(
    model: str,
    choices: Sequence[Choice],
    *,
    prompt_tokens: int = 10,
    shape: Shape = Shape.PLAIN,
    out_of_order: bool = False,
) -> Body:
    """Return the body of a reply.

    Args:
        out_of_order: whether the last choice comes first; the indexes say which is which.
    """
    made = [_choice(at, choice, shape) for at, choice in enumerate(choices)]
    counted = choices[:1] if shape is Shape.LLAMA_CPP else choices
    completion_tokens = sum(choice.tokens for choice in counted)
    usage = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": made[::-1] if out_of_order else made,
        "usage": {**usage, **_USAGE.get(shape, {})},
        **_TOP.get(shape, {}),
    }


def _choice(at: int, choice: Choice, shape: Shape) -> Body:
    made: Body = {
        "index": at,
        "message": {
            "role": "assistant",
            "content": choice.text,
            **_MESSAGE.get(shape, {}),
        },
        "finish_reason": choice.finish_reason,
        **_CHOICE.get(shape, {}),
    }
    if choice.logprobs is not None:
        # llama.cpp has none for an empty text.
        bare = shape is Shape.LLAMA_CPP and not choice.text
        made["logprobs"] = None if bare else {"content": choice.logprobs}
    return made


def _error(message: str) -> Body:
    return {"error": {"message": message, "type": "invalid_request_error"}}


_MESSAGE: dict[Shape, Body] = {
    Shape.OPENAI: {"refusal": None, "annotations": []},
    Shape.VLLM: {
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning_content": None,
    },
    Shape.SGLANG: {"reasoning_content": None, "tool_calls": None},
}
_CHOICE: dict[Shape, Body] = {
    Shape.OPENAI: {"logprobs": None},
    Shape.VLLM: {"logprobs": None, "stop_reason": None, "token_ids": None},
    Shape.SGLANG: {"logprobs": None, "matched_stop": None},
}
_USAGE: dict[Shape, Body] = {
    Shape.OPENAI: {
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    },
    Shape.VLLM: {"prompt_tokens_details": None},
    Shape.SGLANG: {"prompt_tokens_details": None, "reasoning_tokens": 0},
    Shape.LLAMA_CPP: {"prompt_tokens_details": {"cached_tokens": 0}},
}
_TOP: dict[Shape, Body] = {
    Shape.OPENAI: {"service_tier": "default", "system_fingerprint": "fp_1"},
    Shape.VLLM: {
        "service_tier": None,
        "system_fingerprint": None,
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "kv_transfer_params": None,
    },
    Shape.SGLANG: {"metadata": {"weight_version": "default"}},
    Shape.LLAMA_CPP: {
        "system_fingerprint": "b0-unknown",
        "timings": {
            "cache_n": 0,
            "prompt_n": 10,
            "prompt_ms": 325.0,
            "prompt_per_token_ms": 32.5,
            "prompt_per_second": 30.8,
            "predicted_n": 2,
            "predicted_ms": 120.0,
            "predicted_per_token_ms": 60.0,
            "predicted_per_second": 16.7,
        },
    },
}
