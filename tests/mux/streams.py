"""Read what a streamified program sends."""

from __future__ import annotations

import asyncio

import dspy
import pytest
from dspy.streaming import StatusMessage, StreamResponse

#: How a program is called, and how its stream is read.
WAYS = pytest.mark.parametrize("way", ["thread", "awaited", "sync stream"])


def read(program, *, way="thread", inputs=None, **settings):
    """Everything that a streamified program sends, in order."""
    streamed = dspy.streamify(
        program,
        is_async_program=way == "awaited",
        async_streaming=way != "sync stream",
        **settings,
    )
    inputs = inputs or {"question": "?"}
    if way == "sync stream":
        return list(streamed(**inputs))

    async def collect():
        return [item async for item in streamed(**inputs)]

    return asyncio.run(collect())


def texts(items):
    return [item.message for item in items if isinstance(item, StatusMessage)]


def chunks(items):
    sent = [item for item in items if isinstance(item, StreamResponse)]
    return [(item.signature_field_name, item.chunk) for item in sent]
