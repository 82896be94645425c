"""Wall time of one question over one call's latency, and of fifty at once over bare calls.

A loop would take members × k.

The server answers after 200 ms and runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import dspy

from dspy_mux import SLMMux

from .figures import Figure
from .server import model_server

LATENCY = 0.2
RUNS = 9
#: Where these miss, profiles show one interpreter's work, most of it DSPy's; `_work` measures it.
BUSY = (
    "all calls leave at once and take one interpreter's time, most of it DSPy's: see a call's CPU "
    "below"
)
#: Questions at once, and runs of them: each sends questions × members × k requests.
QUESTIONS, CROWDS = 50, 3


def figures() -> Iterator[Figure]:
    """Ask one question with 3 × k=3 and 5 × k=9, and fifty with 3 × k=3, sync and async."""
    with model_server(LATENCY) as address:
        for members, k, target in ((3, 3, "≤ 1.15"), (5, 9, "≤ 1.3")):
            mux = _mux(address, members, k)
            name = f"latency: one question, {members} members × k={k}"
            mux(question="warm up")
            over = f"over one call's {LATENCY * 1000:.0f} ms"
            yield Figure.of(
                f"{name}, sync, {over}",
                [_one(mux, i) / LATENCY for i in range(RUNS)],
                target=target,
                why=BUSY,
            )
            yield Figure.of(
                f"{name}, async, {over}", asyncio.run(_one_async(mux)), target=target, why=BUSY
            )
        mux = _mux(address, 3, 3)
        name = (
            f"latency: {QUESTIONS} questions at once, 3 members × k=3, over bare dspy.LM calls "
            "with the same requests"
        )
        threads = [_crowd(mux, i) / _bare(mux, i) for i in range(CROWDS)]
        yield Figure.of(f"{name}, threads", threads, target="≤ 1.3", why=BUSY)
        yield Figure.of(f"{name}, tasks", asyncio.run(_crowds_async(mux)), target="≤ 1.3", why=BUSY)
        yield from _work(mux)


def _mux(address: str, members: int, k: int) -> SLMMux:
    settings = {"api_base": address, "api_key": "none", "engine": "lm15", "cache": False}
    return SLMMux(
        "question -> answer: int", [dspy.LM(f"openai/{i}", **settings) for i in range(members)], k=k
    )


def _one(mux: SLMMux, i: int) -> float:
    began = time.perf_counter()
    mux(question=f"sync {i}")
    return time.perf_counter() - began


async def _one_async(mux: SLMMux) -> list[float]:
    times = []
    await mux.acall(question="warm up")
    for i in range(RUNS):
        began = time.perf_counter()
        await mux.acall(question=f"async {i}")
        times.append((time.perf_counter() - began) / LATENCY)
    return times


def _crowd(mux: SLMMux, run: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(QUESTIONS) as pool:
        for job in [pool.submit(mux, question=f"{run} {i}") for i in range(QUESTIONS)]:
            job.result()
    return time.perf_counter() - began


def _bare(mux: SLMMux, run: int) -> float:
    """The same requests from as many threads as the muxes use."""
    calls = _requests(mux, run)
    began = time.perf_counter()
    with ThreadPoolExecutor(len(calls)) as pool:
        for job in [pool.submit(lm, messages=messages) for lm, messages in calls]:
            job.result()
    return time.perf_counter() - began


async def _crowds_async(mux: SLMMux) -> list[float]:
    ratios = []
    for run in range(CROWDS):
        began = time.perf_counter()
        await asyncio.gather(*(mux.acall(question=f"{run} {i} async") for i in range(QUESTIONS)))
        ours = time.perf_counter() - began
        calls = _requests(mux, run)
        began = time.perf_counter()
        await asyncio.gather(*(lm.acall(messages=messages) for lm, messages in calls))
        ratios.append(ours / (time.perf_counter() - began))
    return ratios


def _work(mux: SLMMux) -> Iterator[Figure]:
    """Measure a call's CPU, as tasks: bare, through Predict with the same adapter, in a mux."""
    calls, lms = (
        _requests(mux, 0),
        [member.lm for member in mux.members for _ in range(member.k or 1)],
    )
    program, adapter = mux.programs[0], mux.adapter_of(0)

    async def bare() -> None:
        await asyncio.gather(*(lm.acall(messages=messages) for lm, messages in calls))

    async def predicted() -> None:
        async def one(lm: dspy.BaseLM, question: int) -> None:
            with dspy.context(lm=lm, adapter=adapter, trace=[]):
                await program.acall(question=str(question))

        await asyncio.gather(*(one(lm, question) for question in range(QUESTIONS) for lm in lms))

    async def muxed() -> None:
        await asyncio.gather(*(mux.acall(question=str(question)) for question in range(QUESTIONS)))

    for name, ask in {"a bare dspy.LM": bare, "a DSPy program": predicted, "a mux": muxed}.items():
        taken = []
        for _ in range(CROWDS):
            began = time.process_time()
            asyncio.run(ask())
            taken.append(1000 * (time.process_time() - began) / len(calls))
        yield Figure.of(f"latency: CPU of a call through {name}", taken, "ms")


def _requests(mux: SLMMux, run: int) -> list[tuple[dspy.LM, list[dict[str, str]]]]:
    """Return what the muxes send: every member k times, with its adapter's messages."""
    calls = []
    for at, member in enumerate(mux.members):
        predict, adapter = mux.programs[at].predict, mux.adapter_of(at)
        for question in range(QUESTIONS):
            messages = adapter.format(
                predict.signature, predict.demos, {"question": f"{run} {question}"}
            )
            calls += [(member.lm, messages)] * (member.k or 1)
    return calls
