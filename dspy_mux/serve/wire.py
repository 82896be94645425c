"""Requests of OpenAI's protocol: which fields are honoured, and which are refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from .errors import APIError
from .messages import Message

#: The most tokens that anybody asks for: what servers read as a 32-bit number.
_MOST = 2**31 - 1
#: What clients send routinely, and what changes no answer here.
IGNORED = frozenset(
    {
        *(
            "metadata",
            "prediction",
            "prompt_cache_key",
            "prompt_cache_retention",
            "safety_identifier",
        ),
        *("service_tier", "store", "stream_options", "user"),
    }
)
#: Fields that would change the answer, and why no mux can honour them; a value that asks for
#: nothing is let through.
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "n": ((None, 1), "A mux gives one answer: the one it chose of all its draws. Leave n out."),
    "logprobs": (
        (None, False),
        "An answer chosen among several models has no log-probabilities of one; `mux` in the "
        "response says how sure it is.",
    ),
    "top_logprobs": ((None, 0), "An answer chosen among several models has no log-probabilities."),
    "logit_bias": ((None, {}), "Members have different tokens, so a bias of tokens means nothing."),
    "audio": ((None,), "Only text is answered."),
    "modalities": ((None, ["text"]), "Only text is answered."),
    "functions": ((None, []), "Use tools in place of functions."),
    "function_call": ((None, "none"), "Use tool_choice in place of function_call."),
    "web_search_options": ((None,), "Members do not search the web."),
}
#: Settings of a call that members of a chat are handed on, by their names in DSPy.
PASSED = (
    *("top_p", "stop", "presence_penalty", "frequency_penalty", "reasoning_effort"),
    *("tools", "tool_choice", "parallel_tool_calls", "response_format"),
)
_NO_SUCH = "Unknown parameter: it is not a field of a chat completion, or not one that is honoured."


class Function(BaseModel):
    """A function that a model may call."""

    model_config = ConfigDict(extra="allow")
    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(BaseModel):
    """A tool that a model may call."""

    type: Literal["function"]
    function: Function


class JSONSchema(BaseModel):
    """A JSON schema that the reply is to fit."""

    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseFormat(BaseModel):
    """What the reply is to be: text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchema | None = None


class StreamOptions(BaseModel):
    """What a stream tells beside the answer."""

    model_config = ConfigDict(extra="allow")
    include_usage: bool | None = None


class ChatRequest(BaseModel):
    """A chat completion, as OpenAI's protocol asks for one.

    Other fields are ignored where they change no answer, and refused where they would.
    """

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=_MOST)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=_MOST)
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    reasoning_effort: str | None = None
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    n: JsonValue = Field(default=None, description="1 alone: a mux gives one answer.")

    def check_fields(self) -> None:
        """Refuse fields that cannot be honoured, as OpenAI refuses them."""
        given = {"n": self.n, **(self.model_extra or {})}
        for name, value in given.items():
            if name in IGNORED:
                continue
            harmless, why = REFUSED.get(name, ((None,), _NO_SUCH))
            if not any(value == one and type(value) is type(one) for one in harmless):
                code = "unsupported_parameter" if name in REFUSED else "unknown_parameter"
                raise APIError(400, f"{name[:100]!r}: {why}", param=name[:100], code=code)

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    def settings(self) -> dict[str, Any]:
        """Return the settings of a member's call."""
        given = self.model_dump(include=set(PASSED), exclude_none=True, by_alias=True)
        if given.get("response_format", {}).get("type") == "text":
            del given["response_format"]
        if not given.get("tools"):
            for name in ("tools", "tool_choice", "parallel_tool_calls"):
                given.pop(name, None)
        if self.most_tokens is not None:
            given["max_tokens"] = self.most_tokens
        return given


class MuxRequest(BaseModel):
    """A question by named inputs, or as a conversation where the mux takes those."""

    model_config = ConfigDict(extra="forbid")

    inputs: dict[str, Any] | None = Field(default=None, description="The program's inputs by name.")
    messages: list[Message] | None = Field(default=None, min_length=1)
    seed: int | None = Field(default=None, description="Another seed draws anew.")
    stream: bool = Field(default=False, description="Send each draw as it settles, as events.")
