"""Answers as server-sent events: comments or draws while they settle, then the answer."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from . import bodies
from .answer import Answer, verdict_body
from .asking import Asking
from .errors import APIError

#: Words with the space around them, of which a long one is cut.
_WORD = re.compile(r"\s*\S{1,200}\s*|\s{1,200}")
#: Pieces that an answer is sent in at most: a long one has several words in each.
_MOST_PIECES = 200


async def completion(asking: Asking, *, usage: bool) -> AsyncGenerator[str, None]:
    """Yield a chat completion as chunks, with a comment for each draw that settles."""
    head = bodies.head(asking.question.model, "chat.completion.chunk")
    head |= {"usage": None} if usage else {}
    try:
        async with aclosing(asking.events()) as told:
            async for item in told:
                if item is None:
                    yield ": waiting\n\n"
                elif isinstance(item, dict):
                    yield _comment(item)
                else:
                    for chunk in _chunks(head, item, usage):
                        yield _data(chunk)
    except APIError as error:
        yield _data(error.body())
        return
    yield "data: [DONE]\n\n"


async def named(asking: Asking) -> AsyncGenerator[str, None]:
    """Yield `start`, a `draw` for each that settles, and `verdict` or `error`."""
    members = [{"name": one.label, "k": one.k or 1} for one in asking.question.mux.members]
    yield _event("start", {"total": sum(one["k"] for one in members), "members": members})
    try:
        async with aclosing(asking.events()) as told:
            async for item in told:
                if item is None:
                    yield ": waiting\n\n"
                elif isinstance(item, dict):
                    yield _event("draw", item)
                else:
                    yield _event("verdict", item.body())
    except APIError as error:
        yield _event("error", error.body())


def _chunks(head: dict[str, Any], answer: Answer, usage: bool) -> list[dict[str, Any]]:
    message = answer.message
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if message.get("reasoning_content"):
        deltas.append({"reasoning_content": message["reasoning_content"]})
    deltas += [{"content": piece} for piece in _pieces(message["content"] or "")]
    if message["refusal"]:
        deltas.append({"refusal": message["refusal"]})
    if message.get("tool_calls"):
        calls = [{"index": at, **call} for at, call in enumerate(message["tool_calls"])]
        deltas.append({"tool_calls": calls})
    chunks = [{**head, "choices": [_choice(delta)]} for delta in deltas]
    last = {**head, "choices": [_choice({}, answer.finish_reason)]}
    last["mux"] = verdict_body(answer.verdict)
    chunks.append(last)
    if usage:
        chunks.append({**head, "choices": [], "usage": answer.usage})
    return chunks


def _choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}


def _pieces(text: str) -> list[str]:
    """Return a text in pieces of whole words, or nearly so."""
    least, pieces, start = len(text) // _MOST_PIECES, [], 0
    for word in _WORD.finditer(text):
        if word.end() - start > least:
            pieces.append(text[start : word.end()])
            start = word.end()
    return [*pieces, *([text[start:]] if start < len(text) else [])]


def _comment(progress: dict[str, Any]) -> str:
    # One line of what a draw may have said would have to be escaped; counts have not.
    return f": {progress['settled']} of {progress['total']} draws\n\n"


def _event(name: str, data: Any) -> str:
    return f"event: {name}\n{_data(data)}"


def _data(data: Any) -> str:
    return f"data: {json.dumps(data)}\n\n"
