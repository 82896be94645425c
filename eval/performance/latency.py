"""Wall time of one question over one call's latency, and of fifty at once over bare calls.

A loop would take members × k. Draws are separate requests here; `grouped` has theirs in one.

The server answers after 200 ms and runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import dspy

from dspy_mux import SLMMux

from .figures import Figure
from .server import model_server
from .traffic import PROGRAM, aask, acall, ask, call, calls, pool

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
                [ask(mux, [f"sync {i}"]).wall / LATENCY for i in range(RUNS)],
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
        threads = [
            ask(mux, _questions(i)).wall / call(calls(mux, _questions(i))).wall
            for i in range(CROWDS)
        ]
        yield Figure.of(f"{name}, threads", threads, target="≤ 1.3", why=BUSY)
        yield Figure.of(f"{name}, tasks", asyncio.run(_crowds_async(mux)), target="≤ 1.3", why=BUSY)
        yield from _work(mux)


def _mux(address: str, members: int, k: int) -> SLMMux:
    return SLMMux(PROGRAM, pool(address, members), k=k, group=False)


def _questions(run: int) -> list[str]:
    return [f"{run} {number}" for number in range(QUESTIONS)]


async def _one_async(mux: SLMMux) -> list[float]:
    await mux.acall(question="warm up")
    return [(await aask(mux, [f"async {i}"])).wall / LATENCY for i in range(RUNS)]


async def _crowds_async(mux: SLMMux) -> list[float]:
    return [
        (await aask(mux, _questions(run))).wall / (await acall(calls(mux, _questions(run)))).wall
        for run in range(CROWDS)
    ]


def _work(mux: SLMMux) -> Iterator[Figure]:
    """Measure a call's CPU, as tasks: bare, through Predict with the same adapter, in a mux."""
    made = calls(mux, _questions(0))
    lms = [member.lm for member in mux.members for _ in range(member.k or 1)]
    program, adapter = mux.programs[0], mux.adapter_of(0)

    async def bare() -> None:
        await acall(made)

    async def predicted() -> None:
        async def one(lm: dspy.BaseLM, question: str) -> None:
            with dspy.context(lm=lm, adapter=adapter, trace=[]):
                await program.acall(question=question)

        await asyncio.gather(*(one(lm, question) for question in _questions(0) for lm in lms))

    async def muxed() -> None:
        await aask(mux, _questions(0))

    for name, work in {"a bare dspy.LM": bare, "a DSPy program": predicted, "a mux": muxed}.items():
        taken = []
        for _ in range(CROWDS):
            began = time.process_time()
            asyncio.run(work())
            taken.append(1000 * (time.process_time() - began) / len(made))
        yield Figure.of(f"latency: CPU of a call through {name}", taken, "ms")
