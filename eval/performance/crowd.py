"""Five hundred questions at once: how long the event loop stalls, and how many threads there are.

The models are scripted and answer after 200 ms. The loop's longest stall is taken over that of the
same calls through bare `dspy.Predict` programs in the same run; so are the threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
from dspy.lm15 import Request, Response

from dspy_mux import SLMMux
from dspy_mux.adapters.formats import default_adapter
from dspy_mux.sampling.thread_limit import MOST_THREADS

from .figures import Figure
from .overhead import InstantEngine

QUESTIONS, MEMBERS, K, RUNS = 500, 3, 3, 3
LATENCY_S = 0.2
#: Seconds between two looks at the loop and at the threads.
BEAT_S = 0.002
GARBAGE = (
    "what is left is Python's full collection of garbage, which looks through all objects of the "
    "process, 85,000 of DSPy's own before the first call: gc.freeze() after set-up spares a part"
)


class SlowEngine(InstantEngine):
    """Answers 42 after a while."""

    def complete(self, request: Request) -> Response:
        time.sleep(LATENCY_S)
        return super().complete(request)


class AsyncSlowEngine:
    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncSlowEngine:
        return self

    async def complete(self, request: Request) -> Response:
        await asyncio.sleep(LATENCY_S)
        return InstantEngine().complete(request)


def figures() -> Iterator[Figure]:
    lms = [
        dspy.LM(f"slow/{at}", cache=False, engine=SlowEngine(), async_engine=AsyncSlowEngine())
        for at in range(MEMBERS)
    ]
    program = dspy.Predict("question -> answer: int")
    mux = SLMMux(program, lms, k=K)
    mux(question="warm up")

    async def bare(question: str) -> None:
        async def draw(lm: dspy.LM) -> None:
            with dspy.context(lm=lm, adapter=default_adapter(), trace=[]):
                await program.acall(question=question)

        await asyncio.gather(*(draw(lm) for lm in lms for _ in range(K)))

    ours, theirs = [], []
    for run in range(RUNS):
        theirs.append(asyncio.run(_longest_stall(bare, run)))
        ours.append(asyncio.run(_longest_stall(lambda text: mux.acall(question=text), run)))
    name = f"crowd: longest stall of the loop, {QUESTIONS} acalls at once, {MEMBERS} × k={K}"
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    yield Figure.of(f"{name}, over bare dspy.Predict programs", ratios, target="≤ 0.2", why=GARBAGE)
    yield Figure.of(name, [1000 * each for each in ours], "ms", target="≤ 100", why=GARBAGE)
    threads = [_most_threads(mux, run) for run in range(RUNS)]
    yield Figure.of(
        f"crowd: threads of draws for {QUESTIONS} calls on threads at once, over the limit of "
        f"{MOST_THREADS}",
        [each / MOST_THREADS for each in threads],
        target="≤ 1.01",
    )


async def _longest_stall(ask: Callable[[str], Awaitable[object]], run: int) -> float:
    stalls = []

    async def beat() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(BEAT_S)
            stalls.append(time.perf_counter() - began - BEAT_S)

    beating = asyncio.ensure_future(beat())
    await asyncio.gather(*(ask(f"{run} {number}") for number in range(QUESTIONS)))
    await asyncio.sleep(2 * BEAT_S)  # for the stall that is not over yet
    beating.cancel()
    return max(stalls)


def _most_threads(mux: SLMMux, run: int) -> int:
    most, over = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(BEAT_S):
            draws = sum(thread.name == "dspy-mux-draw" for thread in threading.enumerate())
            most = max(most, draws)

    looking = threading.Thread(target=look)
    looking.start()
    with ThreadPoolExecutor(QUESTIONS) as pool:
        for job in [pool.submit(mux, question=f"{run} {n}") for n in range(QUESTIONS)]:
            job.result()
    over.set()
    looking.join()
    return most
