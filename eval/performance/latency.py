"""A question's wall time over the latency of one of its calls: a loop over members and draws would take members × k."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage

from dspy_mux import SLMMux

LATENCY = 0.2
RUNS = 9


@dataclass(frozen=True)
class Ratio:
    name: str
    median: float
    low: float
    high: float
    n: int


class SleepingEngine:
    """Answers after a fixed latency."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SleepingEngine:
        return self

    def complete(self, request: Request) -> Response:
        time.sleep(LATENCY)
        return _reply(request)


class AsyncSleepingEngine:
    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncSleepingEngine:
        return self

    async def complete(self, request: Request) -> Response:
        await asyncio.sleep(LATENCY)
        return _reply(request)


def _reply(request: Request) -> Response:
    text = "[[ ## reasoning ## ]]\nr\n\n[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]"
    message = Message.assistant([TextPart(text)])
    usage = Usage(input_tokens=1, output_tokens=1, total_tokens=2)
    return Response(id=None, model=request.model, message=message, finish_reason="stop", usage=usage)


def ratios() -> Iterator[Ratio]:
    """One question through 3 members × k=5 and 5 × 9, sync and async, in multiples of the 200 ms that one call takes."""
    for members, k in ((3, 5), (5, 9)):
        mux = _mux(members, k)
        yield _ratio(f"one question, {members} members × k={k}, sync, over one call", [_timed(mux, i) for i in range(RUNS)])
        yield _ratio(f"one question, {members} members × k={k}, async, over one call", asyncio.run(_timed_async(mux)))


def _mux(members: int, k: int) -> SLMMux:
    engines: dict[str, Any] = {"engine": SleepingEngine(), "async_engine": AsyncSleepingEngine()}
    return SLMMux("question -> answer: int", [dspy.LM(f"sleeping/{i}", cache=False, **engines) for i in range(members)], k=k)


def _timed(mux: SLMMux, i: int) -> float:
    began = time.perf_counter()
    mux(question=f"sync {i}")
    return time.perf_counter() - began


async def _timed_async(mux: SLMMux) -> list[float]:
    times = []
    for i in range(RUNS):
        began = time.perf_counter()
        await mux.acall(question=f"async {i}")
        times.append(time.perf_counter() - began)
    return times


def _ratio(name: str, seconds: list[float]) -> Ratio:
    return Ratio(name, statistics.median(seconds) / LATENCY, min(seconds) / LATENCY, max(seconds) / LATENCY, len(seconds))
