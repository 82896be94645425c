"""Answers as OpenAI's Responses API has them, whole or as events."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from ..mux.prediction import verdict_body
from .answer import Answer
from .asking import Asking
from .errors import APIError
from .events import comment, event, pieces
from .models import ServedModel
from .responses_wire import ResponsesRequest


class ResponseBody:
    """The body of a response to a request.

    Attributes:
        id: of the response.
    """

    def __init__(self, model: ServedModel, request: ResponsesRequest):
        self.id = f"resp_{uuid.uuid4().hex}"
        self._head = {
            "id": self.id,
            "object": "response",
            "created_at": int(time.time()),
            "model": model.name,
            "instructions": request.instructions,
            "max_output_tokens": request.max_output_tokens,
            "metadata": {},
            "parallel_tool_calls": request.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {"effort": request.reasoning and request.reasoning.effort},
            "store": False,
            "temperature": request.temperature,
            "text": {"format": (request.text and request.text.format) or {"type": "text"}},
            "tool_choice": request.tool_choice or "auto",
            "tools": request.tools or [],
            "top_p": request.top_p,
            "truncation": "disabled",
        }

    def begun(self) -> dict[str, Any]:
        """Return it while there is no answer."""
        return {**self._head, **_ending("in_progress"), "output": [], "usage": None}

    def of(self, answer: Answer) -> dict[str, Any]:
        """Return it with an answer."""
        cut = answer.finish_reason == "length"
        usage = answer.usage
        return {
            **self._head,
            **_ending("incomplete" if cut else "completed"),
            "output": items_of(answer),
            "usage": {
                "input_tokens": usage["prompt_tokens"],
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": usage["completion_tokens"],
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage["total_tokens"],
            },
            "mux": verdict_body(answer.verdict),
        }

    def failed(self, error: APIError) -> dict[str, Any]:
        """Return it with the reason why there is no answer."""
        told = {"code": error.code or "server_error", "message": error.body()["error"]["message"]}
        return {**self.begun(), "status": "failed", "error": told}


def _ending(status: str) -> dict[str, Any]:
    why = {"reason": "max_output_tokens"} if status == "incomplete" else None
    return {"status": status, "error": None, "incomplete_details": why}


def items_of(answer: Answer) -> list[dict[str, Any]]:
    """Return an answer as output items: a message, or calls of functions."""
    message, items = answer.message, []
    part: dict[str, Any] = {"type": "refusal", "refusal": message["refusal"]}
    if message["content"] is not None:
        part = {"type": "output_text", "text": message["content"], "annotations": []}
    if message["content"] is not None or message["refusal"]:
        status = "incomplete" if answer.finish_reason == "length" else "completed"
        items.append(
            {
                "id": f"msg_{uuid.uuid4().hex}",
                "type": "message",
                "role": "assistant",
                "status": status,
                "content": [part],
            }
        )
    for call in message.get("tool_calls", ()):
        items.append(
            {
                "id": f"fc_{uuid.uuid4().hex}",
                "type": "function_call",
                "call_id": call["id"],
                "status": "completed",
                **call["function"],
            }
        )
    return items


async def stream(asking: Asking, body: ResponseBody) -> AsyncGenerator[str, None]:
    """Yield a response as events, with a comment for each draw that settles."""
    number = 0

    def told(kind: str, **fields: Any) -> str:
        nonlocal number
        text = event(kind, {"type": kind, "sequence_number": number, **fields})
        number += 1
        return text

    yield told("response.created", response=body.begun())
    yield told("response.in_progress", response=body.begun())
    try:
        async with aclosing(asking.events()) as settled:
            async for item in settled:
                if isinstance(item, Answer):
                    response = body.of(item)
                    for at, output in enumerate(response["output"]):
                        for kind, fields in _steps(output):
                            yield told(kind, output_index=at, **fields)
                    yield told(f"response.{response['status']}", response=response)
                else:
                    yield comment(item)
    except APIError as error:
        yield told("response.failed", response=body.failed(error))


def _steps(item: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the events of an output item, from its beginning to its end."""
    at: dict[str, Any] = {"item_id": item["id"]}
    if item["type"] == "function_call":
        empty = {**item, "status": "in_progress", "arguments": ""}
        yield "response.output_item.added", {"item": empty}
        arguments = item["arguments"]
        yield "response.function_call_arguments.delta", {**at, "delta": arguments}
        done = {"arguments": arguments, "name": item["name"]}
        yield "response.function_call_arguments.done", {**at, **done}
    else:
        yield (
            "response.output_item.added",
            {"item": {**item, "status": "in_progress", "content": []}},
        )
        (part,) = item["content"]
        name = "refusal" if part["type"] == "refusal" else "text"
        kind, at = f"response.{part['type']}", {**at, "content_index": 0}
        more: dict[str, Any] = {} if name == "refusal" else {"logprobs": []}
        yield "response.content_part.added", {**at, "part": {**part, name: ""}}
        for piece in pieces(part[name]):
            yield f"{kind}.delta", {**at, **more, "delta": piece}
        yield f"{kind}.done", {**at, **more, name: part[name]}
        yield "response.content_part.done", {**at, "part": part}
    yield "response.output_item.done", {"item": item}
