"""Translate between DSPy's canonical requests and llama.cpp's OpenAI-shaped bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from dspy import lm15
from typing_extensions import TypedDict

from ..errors import ConfigurationError
from .options import EngineOptions

PROVIDER = "local"
#: Answer tokens where neither the LM nor the call names a bound. Small models that do not stop
#: ramble until the context ends.
DEFAULT_MAX_TOKENS = 256
#: llama.cpp's seeds are 32 bits wide and the highest one means "any".
_SEEDS = 2**32 - 1
#: A JSON body that llama.cpp receives or sends.
Body: TypeAlias = dict[str, Any]


class TokenUsage(TypedDict, total=False):
    """llama.cpp's count of a choice's tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]


def payload_of(
    request: lm15.Request, *, chat: bool, options: EngineOptions | None = None
) -> tuple[Body, int | None]:
    """Return the llama.cpp body of `request` without its seed, and the seed.

    Args:
        options: the engine's; those in the request's `Config.extensions` come first.

    Raises:
        lm15.UnsupportedFeatureError: tools, media, or a setting that llama.cpp cannot honour.
    """
    _refuse_unsupported(request)
    config = request.config
    messages = _messages(request)
    payload: Body = {"max_tokens": config.max_tokens or DEFAULT_MAX_TOKENS}
    if chat:
        payload["messages"] = messages
    else:
        # A base model knows no turns: it continues the text.
        payload["prompt"] = "\n\n".join(message["content"] for message in messages)
    for name in ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty"):
        if (value := getattr(config, name)) is not None:
            payload[name] = value
    if config.stop:
        payload["stop"] = list(config.stop)
    if config.logprobs is not None:
        # Where no alternative is asked for, llama.cpp says nothing at all.
        top = max(1, config.logprobs)
        payload.update({"logprobs": True, "top_logprobs": top} if chat else {"logprobs": top})
    if config.response_format is not None:
        payload.update(_format(config.response_format, chat=chat))
    payload.update(_options(config, options or EngineOptions(), chat=chat))
    # At temperature 0 every seed gives the same answer.
    seed = 0 if config.temperature == 0 else config.seed
    return payload, None if seed is None else seed % _SEEDS


def _options(config: lm15.Config, engine: EngineOptions, *, chat: bool) -> Body:
    """Return llama.cpp's own options of a request, its engine's among them."""
    extensions = dict(config.extensions or {})
    # The one option that DSPy's calls carry too.
    options = {name: extensions.pop(name) for name in ("logit_bias",) if name in extensions}
    for name in extensions.keys() - EngineOptions.model_fields.keys():
        raise _unsupported(f"llama.cpp has no setting {name!r}", f"config.extensions.{name}")
    try:
        own = EngineOptions.read({**engine.given(), **extensions}, "config.extensions").given()
    except ConfigurationError as error:
        raise lm15.InvalidRequestError(str(error), provider=PROVIDER) from error
    variables = own.pop("chat_template_kwargs", {})
    if config.reasoning is not None:  # it is off, see _refuse_unsupported
        variables["enable_thinking"] = False
    if variables and chat:  # a text that is continued has no template
        options["chat_template_kwargs"] = variables
    if "grammar" in own and config.response_format is not None:
        # llama.cpp follows one of the two and does not say which.
        raise _unsupported(
            "the model's grammar and a response format exclude each other", "config.response_format"
        )
    return options | own


def with_plain_text(payload: Body, control_tokens: re.Pattern[str] | None) -> Body:
    """Return the body with its texts' control tokens broken up, so that they are read as text.

    llama.cpp reads the whole prompt in one go, the tokens of the template and those that a question
    or another agent's text happens to hold. A space after their first character tells them apart.

    Args:
        control_tokens: matches each of the model's; None where it has none.
    """
    if control_tokens is None:
        return payload

    def plain(text: str) -> str:
        return control_tokens.sub(lambda token: f"{token[0][0]} {token[0][1:]}", text)

    if "prompt" in payload:
        return {**payload, "prompt": plain(payload["prompt"])}
    messages = [
        {**message, "content": plain(message["content"])} for message in payload["messages"]
    ]
    return {**payload, "messages": messages}


def _messages(request: lm15.Request) -> list[dict[str, str]]:
    messages = []
    if request.system:
        parts = (
            [lm15.TextPart(request.system)] if isinstance(request.system, str) else request.system
        )
        messages.append({"role": "system", "content": _text(parts, "system")})
    for index, message in enumerate(request.messages):
        role = "system" if message.role == "developer" else message.role
        if role == "tool":
            raise _unsupported("an embedded model takes no tool results", f"messages[{index}]")
        messages.append({"role": role, "content": _text(message.parts, f"messages[{index}]")})
    return messages


def _text(parts: Sequence[lm15.Part], where: str) -> str:
    for index, part in enumerate(parts):
        if not isinstance(part, (lm15.TextPart, lm15.ThinkingPart)):
            raise _unsupported(
                f"an embedded model reads text only, not {part.type}", f"{where}.parts[{index}]"
            )
    return "".join(part.text for part in parts if isinstance(part, lm15.TextPart))


def _format(wanted: Mapping[str, Any], *, chat: bool) -> Body:
    if wanted["type"] == "json_object":
        return (
            {"response_format": {"type": "json_object"}}
            if chat
            else {"json_schema": {"type": "object"}}
        )
    # Nested, as in OpenAI's API: llama.cpp accepts a flat one too, but silently constrains less.
    schema = {"name": wanted.get("name") or "response", "schema": wanted["schema"], "strict": True}
    return (
        {"response_format": {"type": "json_schema", "json_schema": schema}}
        if chat
        else {"json_schema": wanted["schema"]}
    )


def _refuse_unsupported(request: lm15.Request) -> None:
    config = request.config
    if request.tools or config.tool_choice is not None:
        raise _unsupported("an embedded model takes no tools", "tools")
    if config.reasoning is not None and not config.reasoning.is_off:
        raise _unsupported("an embedded model has no reasoning effort to set", "config.reasoning")
    if config.probabilities == "required":
        raise _unsupported(
            "llama.cpp measures no probabilities over a schema's keys", "config.probabilities"
        )
    for name in ("service_tier", "store"):
        if getattr(config, name) is not None:
            raise _unsupported("an embedded model has no such service", f"config.{name}")


def _unsupported(why: str, feature: str) -> lm15.UnsupportedFeatureError:
    return lm15.UnsupportedFeatureError(
        f"{feature}: {why}; leave it out or use a hosted model.", feature=feature, provider=PROVIDER
    )


def choice_body(
    identity: str,
    text: str,
    reasoning: str,
    logprobs: Sequence[Body],
    finish_reason: str | None,
    usage: TokenUsage | None,
) -> Body:
    """Return one complete choice as a chat completion body of its own.

    Raises:
        lm15.ServerError: llama.cpp ended the stream before the choice was complete.
    """
    if finish_reason is None or usage is None:
        raise lm15.ServerError(
            "llama.cpp stopped before the answer was complete.", provider=PROVIDER
        )
    message: Body = {"role": "assistant", "content": text}
    if reasoning:
        message["reasoning_content"] = reasoning
    choice: Body = {"index": 0, "message": message, "finish_reason": finish_reason}
    if logprobs:
        choice["logprobs"] = {"content": list(logprobs)}
    return {"id": identity, "object": "chat.completion", "choices": [choice], "usage": usage}


def response_of(body: Mapping[str, Any], *, model: str) -> lm15.Response:
    """Return the canonical response of a choice body."""
    return lm15.response_from_openai_chat(body, model=model)


def error_of(body: Mapping[str, Any]) -> lm15.ProviderError:
    """Return llama.cpp's error body as the lm15 error that says whether a retry could help."""
    error = body.get("error", body)
    if not isinstance(error, Mapping):
        error = {"message": str(error)}
    message = str(error.get("message") or "llama.cpp failed without a message")
    code = error.get("code")
    kind = str(error.get("type") or "")
    details = {
        "provider": PROVIDER,
        "provider_code": kind or None,
        "status": code if isinstance(code, int) else None,
    }
    if kind == "exceed_context_size_error" or "context size" in message.lower():
        return lm15.ContextLengthError(message, **details)
    if kind in ("invalid_request_error", "not_supported_error") or (
        isinstance(code, int) and 400 <= code < 500
    ):
        return lm15.InvalidRequestError(message, **details)
    return lm15.ServerError(message, **details)
