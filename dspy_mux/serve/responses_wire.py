"""Requests of OpenAI's Responses API, as the chat completions that they amount to."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from .bodies import not_valid
from .errors import APIError
from .models import ServedModel
from .question import Question, of_chat
from .settings import ServeSettings
from .wire import IGNORED, ChatRequest

#: Fields that a stateless mux cannot honour; a value that asks for nothing is let through.
_REFUSED: dict[str, tuple[Any, ...]] = {
    "background": (None, False),
    "context_management": (None,),
    "conversation": (None,),
    "include": (None, []),
    "max_tool_calls": (None,),
    "previous_response_id": (None,),
    "prompt": (None,),
    "top_logprobs": (None, 0),
    "truncation": (None, "disabled"),
}
#: A chat completion's fields by their names here.
_RENAMED = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
}
_HANDED_ON = ("model", "stream", "temperature", "top_p", "parallel_tool_calls", "seed")


class TextOptions(BaseModel):
    """What the reply is to be."""

    model_config = ConfigDict(extra="forbid")
    format: dict[str, Any] | None = None
    verbosity: Literal["medium"] | None = None


class Reasoning(BaseModel):
    """How much members are to think."""

    model_config = ConfigDict(extra="allow")
    effort: str | None = None


class ResponsesRequest(BaseModel):
    """A response, as OpenAI's protocol asks for one; nothing is stored."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: str | list[dict[str, Any]] = Field(
        min_length=1,
        # Which the schema of a union leaves out.
        json_schema_extra={"minLength": 1, "minItems": 1},
    )
    instructions: str | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: JsonValue = None
    parallel_tool_calls: bool | None = None
    seed: int | None = None

    def as_chat(self) -> ChatRequest:
        """Return the chat completion that this amounts to.

        Raises:
            APIError: a field cannot be honoured.
        """
        self._check_fields()
        given: dict[str, Any] = {name: getattr(self, name) for name in _HANDED_ON}
        given["max_completion_tokens"] = self.max_output_tokens
        given["reasoning_effort"] = None if self.reasoning is None else self.reasoning.effort
        given["tools"] = None if self.tools is None else [_tool(one) for one in self.tools]
        given["tool_choice"] = _tool_choice(self.tool_choice)
        given["response_format"] = None if self.text is None else _format(self.text.format)
        given["messages"] = self._messages()
        try:
            return ChatRequest.model_validate(
                {name: value for name, value in given.items() if value is not None}
            )
        except ValidationError as error:
            raise not_valid(error.errors()) from error

    def _check_fields(self) -> None:
        for name, value in (self.model_extra or {}).items():
            if name in IGNORED or any(value == one for one in _REFUSED.get(name, (None,))):
                continue
            code = "unsupported_parameter" if name in _REFUSED else "unknown_parameter"
            raise APIError(
                400,
                f"{name[:100]!r}: it is not honoured; a mux answers what it is sent and stores "
                "nothing.",
                param=name[:100],
                code=code,
            )

    def _messages(self) -> list[dict[str, Any]]:
        first = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            return [*first, {"role": "user", "content": self.input}]
        messages: list[dict[str, Any]] = [*first]
        for item in self.input:
            message = _message(item)
            calls = message and message.get("tool_calls")
            if calls and messages and "tool_calls" in messages[-1]:
                messages[-1]["tool_calls"] += calls  # made in one reply
            elif message is not None:
                messages.append(message)
        return messages


def question_of(model: ServedModel, request: ResponsesRequest, settings: ServeSettings) -> Question:
    """Return the question in a request.

    Raises:
        APIError: a field cannot be honoured, or the program's inputs are not there.
    """
    try:
        return of_chat(model, request.as_chat(), settings)
    except APIError as error:
        first, dot, rest = (error.param or "").partition(".")
        error.param = f"{_RENAMED.get(first, first)}{dot}{rest}" or None
        raise


def _message(item: dict[str, Any]) -> dict[str, Any] | None:
    """Return an item of the input as a message; None for reasoning, which no member reads."""
    kind = item.get("type", "message")
    if kind == "message":
        return {"role": item.get("role", "user"), "content": _content(item.get("content"))}
    if kind == "function_call":
        named = {"name": item.get("name"), "arguments": item.get("arguments")}
        call = {"id": item.get("call_id"), "type": "function", "function": named}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    if kind == "function_call_output":
        output = _content(item.get("output"))
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
    if kind == "reasoning":
        return None
    raise _refused("input", f"items of the type {str(kind)[:80]!r} are not taken")


def _content(content: Any) -> Any:
    """Return the content of an item as that of a chat's message."""
    if not isinstance(content, list):
        return content
    return [_part(part) for part in content]


def _part(part: Any) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise _refused("input", "each part of an item's content is an object")
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and part.get("image_url"):
        image = {"url": part["image_url"], "detail": part.get("detail") or "auto"}
        return {"type": "image_url", "image_url": image}
    raise _refused("input", f"content of the type {str(kind)[:80]!r} is not taken")


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise _refused("tools", "only functions are taken")
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


def _tool_choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _format(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if given is None or given.get("type") != "json_schema":
        return given
    schema = {name: value for name, value in given.items() if name != "type"}
    return {"type": "json_schema", "json_schema": schema}


def _refused(param: str, why: str) -> APIError:
    return APIError(400, f"{param}: {why}.", param=param, code="unsupported_value")
