"""A stream whose reader leaves: the mux withdraws its draws."""

from __future__ import annotations

import asyncio
import threading

import dspy
import pytest

from dspy_mux import SLMMux

from ..support.pools import QA
from ..support.scripted import TwoSteps, calls, scripted_lm
from ..support.wait import until


class Watched(dspy.Module):
    """A program that says when it has ended, and with what."""

    def __init__(self, mux):
        super().__init__()
        self.mux, self.ended, self.error = mux, threading.Event(), None

    def forward(self, question):
        try:
            return self.mux(question=question)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()

    async def aforward(self, question):
        try:
            return await self.mux.acall(question=question)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()


async def leave(program, *, is_async, after):
    """Read the first items of a stream, then cancel the task that reads it."""
    enough = asyncio.Event()

    async def reader():
        seen = 0
        async for _ in dspy.streamify(program, is_async_program=is_async)(question="?"):
            seen += 1
            if seen == after:
                enough.set()

    task = asyncio.ensure_future(reader())
    await enough.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.to_thread(program.ended.wait, 60)
    assert isinstance(program.error, asyncio.CancelledError)


@pytest.mark.parametrize("is_async", [True, False])
async def test_no_draw_begins_when_nobody_reads(is_async):
    lm = scripted_lm("a", ["Paris"], latency=0.05)
    program = Watched(SLMMux(QA, [lm], k=100, num_threads=1))
    await leave(program, is_async=is_async, after=1)
    assert calls(lm) < 100
    before = calls(lm)
    await asyncio.sleep(0.2)
    assert calls(lm) == before


async def test_draws_under_way_end_without_a_message_between():
    """Nothing is sent after the reader left, so nothing but looking tells."""
    go, asked = threading.Event(), []

    def slow(prompt, draw):
        asked.append(prompt)
        if draw:
            assert go.wait(60)
        else:
            until(lambda: len(asked) >= 3)
        return {"idea": "x", "answer": "y"}

    lm = scripted_lm("a", slow)
    program = Watched(SLMMux(TwoSteps(), [lm], k=3))
    try:
        await leave(program, is_async=False, after=1)  # while two draws wait
    finally:
        go.set()
    await asyncio.sleep(0.2)
    assert len(asked) == 4  # two steps of the first draw, one of each other
