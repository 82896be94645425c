"""The bodies of responses, as `/openapi.json` describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from ..voting.verdict import Verdict


class ReplyMessage(BaseModel):
    """The answer that won, as a message; `refusal` where it is kept back."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    tool_calls: list[dict[str, Any]] | None = None
    reasoning_content: str | None = None


class ReplyChoice(BaseModel):
    """The one answer of a mux."""

    index: int
    message: ReplyMessage
    finish_reason: Literal["stop", "length", "tool_calls"]
    logprobs: None


class Usage(BaseModel):
    """The tokens of all draws together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """A chat completion, with the verdict in full as `mux`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[ReplyChoice]
    usage: Usage
    mux: Verdict


class ResponseUsage(BaseModel):
    """The tokens of all draws together."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class ResponseObject(BaseModel):
    """A response of the Responses API, with the verdict in full as `mux`."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete"]
    model: str
    output: list[dict[str, Any]]
    usage: ResponseUsage
    mux: Verdict


class MuxAnswer(BaseModel):
    """A program's outputs by name, None where the answer is kept back, and the verdict."""

    model: str
    outputs: dict[str, Any] | None
    verdict: Verdict


class ListedModel(BaseModel):
    """A model that can be asked."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelList(BaseModel):
    """The models that can be asked."""

    object: Literal["list"]
    data: list[ListedModel]


class MuxInput(BaseModel):
    """An input of a program."""

    name: str
    type: Literal["str", "int", "float", "bool", "choice", "json"]
    required: bool
    description: str | None
    choices: list[Any] | None = None


class MuxInfo(BaseModel):
    """A mux: what it asks for, and how it decides."""

    name: str
    kind: Literal["program", "chat"]
    inputs: list[MuxInput]
    answer: str
    answer_kind: str
    members: list[str]
    k: int
    draws: int
    rule: str | None
    schedule: str | None
    threshold: float | None


class MuxInFull(MuxInfo):
    """A mux, with a program's inputs and outputs as JSON schemas."""

    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None


class MuxList(BaseModel):
    """The muxes that are served."""

    muxes: list[MuxInfo]


class Readiness(BaseModel):
    """Which members are up, by mux."""

    status: Literal["ok", "no member is up", "closing"]
    muxes: dict[str, dict[str, str]]


class ErrorDetails(BaseModel):
    """Why there is no answer."""

    message: str
    type: str
    param: str | None
    code: str | None
    causes: dict[str, list[str]] | None = Field(
        default=None, description="Why each member did not answer, where none did."
    )


class ErrorBody(BaseModel):
    """An error, as OpenAI's protocol has it."""

    error: ErrorDetails
