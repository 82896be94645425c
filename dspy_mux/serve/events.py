"""Answers as server-sent events: comments or draws while they settle, then the answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from . import bodies
from .answer import Answer, verdict_body
from .desk import Desk
from .errors import APIError
from .question import Question

#: Seconds of silence after which a comment keeps the connection alive.
_SILENCE_S = 10.0
#: Pieces that an answer is sent in: words with the space around them.
_PIECE = re.compile(r"\s*\S+\s*|\s+")
_LONGEST_PIECE = 2000


async def completion(
    desk: Desk, question: Question, key: str | None, *, usage: bool
) -> AsyncGenerator[str, None]:
    """Yield a chat completion as chunks, with a comment for each draw that settles."""
    head = bodies.head(question.model, "chat.completion.chunk")
    head |= {"usage": None} if usage else {}
    try:
        async with aclosing(_kept_alive(desk.events(question, key))) as told:
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


async def named(desk: Desk, question: Question, key: str | None) -> AsyncGenerator[str, None]:
    """Yield `start`, a `draw` for each that settles, and `verdict` or `error`."""
    members = [{"name": one.label, "k": one.k or 1} for one in question.mux.members]
    yield _event("start", {"total": sum(one["k"] for one in members), "members": members})
    try:
        async with aclosing(_kept_alive(desk.events(question, key))) as told:
            async for item in told:
                if item is None:
                    yield ": waiting\n\n"
                elif isinstance(item, dict):
                    yield _event("draw", item)
                else:
                    yield _event("verdict", item.body())
    except APIError as error:
        yield _event("error", error.body())


async def _kept_alive(events: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """Yield events, and None after each silence."""
    waited: asyncio.Future[Any] | None = None
    try:
        while True:
            waited = waited or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([waited], timeout=_SILENCE_S)
            if not done:
                yield None
                continue
            try:
                item = waited.result()
            except StopAsyncIteration:
                return
            waited = None
            yield item
    finally:
        if waited is not None and not waited.done():
            waited.cancel()
            await asyncio.wait([waited])
        await events.aclose()


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
    pieces = _PIECE.findall(text)
    return [
        piece[at : at + _LONGEST_PIECE]
        for piece in pieces
        for at in range(0, len(piece), _LONGEST_PIECE)
    ]


def _comment(progress: dict[str, Any]) -> str:
    # One line of what a draw may have said would have to be escaped; counts have not.
    return f": {progress['settled']} of {progress['total']} draws\n\n"


def _event(name: str, data: Any) -> str:
    return f"event: {name}\n{_data(data)}"


def _data(data: Any) -> str:
    return f"data: {json.dumps(data)}\n\n"
