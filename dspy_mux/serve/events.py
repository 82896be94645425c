"""Answers as server-sent events: comments or draws while they settle, then the answer."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from ..mux.prediction import verdict_body
from . import bodies
from .answer import Answer
from .asking import Asking
from .errors import APIError
from .json_body import strict_json

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
                if isinstance(item, Answer):
                    for chunk in _chunks(head, item, usage):
                        yield data(chunk)
                else:
                    yield comment(item)
    except APIError as error:
        yield data(error.body())
        return
    yield "data: [DONE]\n\n"


async def named(asking: Asking) -> AsyncGenerator[str, None]:
    """Yield `start`, a `draw` for each that settles, and `verdict` or `error`."""
    members = [{"name": one.label, "k": one.k or 1} for one in asking.question.mux.members]
    yield event("start", {"total": sum(one["k"] for one in members), "members": members})
    try:
        async with aclosing(asking.events()) as told:
            async for item in told:
                if isinstance(item, Answer):
                    yield event("verdict", item.body())
                else:
                    yield comment(item) if item is None else event("draw", item)
    except APIError as error:
        yield event("error", error.body())


def _chunks(head: dict[str, Any], answer: Answer, usage: bool) -> list[dict[str, Any]]:
    message = answer.message
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if message.get("reasoning_content"):
        deltas.append({"reasoning_content": message["reasoning_content"]})
    deltas += [{"content": piece} for piece in pieces(message["content"] or "")]
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


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of whole words, or nearly so."""
    least, start = len(text) // _MOST_PIECES, 0
    for word in _WORD.finditer(text):
        if word.end() - start > least:
            yield text[start : word.end()]
            start = word.end()
    if start < len(text):
        yield text[start:]


def comment(progress: dict[str, Any] | None) -> str:
    """Return a comment on how far a question is; None says that nothing has changed."""
    if progress is None:
        return ": waiting\n\n"
    # Counts alone: what a draw said may hold the end of a line.
    return f": {progress['settled']} of {progress['total']} draws\n\n"


def event(name: str, content: Any) -> str:
    """Return an event with a name."""
    return f"event: {name}\n{data(content)}"


def data(content: Any) -> str:
    """Return an event."""
    text = strict_json(content)
    if not text.isascii():  # some clients end a line at U+2028 too
        text = json.dumps(json.loads(text))
    return f"data: {text}\n\n"
