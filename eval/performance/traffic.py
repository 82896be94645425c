"""Questions put to a mux all at once, and the same prompts put to its LMs bare."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import dspy

from dspy_mux import SLMMux

PROGRAM = "question -> answer: int"
#: An LM, the messages that it is sent, and further settings of the call.
Call: TypeAlias = tuple[dspy.LM, list[dict[str, Any]], dict[str, Any]]


@dataclass
class Taken:
    """What some work has taken: wall time and this process's CPU time, in seconds."""

    wall: float = 0.0
    cpu: float = 0.0


def pool(address: str, members: int, engine: str = "lm15") -> list[dspy.LM]:
    """Return LMs of one server."""
    settings = {"api_base": address, "api_key": "none", "engine": engine, "cache": False}
    return [dspy.LM(f"openai/{at}", **settings) for at in range(members)]


def calls(
    mux: SLMMux,
    questions: Iterable[str],
    *,
    times: int | None = None,
    lms: Sequence[dspy.LM] = (),
    n: int | None = None,
) -> list[Call]:
    """Return the calls that a mux makes, each member's with its own adapter's messages.

    Args:
        times: calls of each member for a question; None for its k.
        lms: called in the members' place.
        n: choices that a call asks for.
    """
    found: list[Call] = []
    for question in questions:
        for at, member in enumerate(mux.members):
            predict = mux.programs[at].predict
            messages = mux.adapter_of(at).format(
                predict.signature, predict.demos, {"question": question}
            )
            call = (lms[at] if lms else member.lm, messages, {} if n is None else {"n": n})
            found += [call] * (times or member.k or 1)
    return found


def ask(mux: SLMMux, questions: Sequence[str]) -> Taken:
    """Ask a mux questions, on as many threads at once."""
    with clock() as taken, ThreadPoolExecutor(len(questions)) as threads:
        for job in [threads.submit(mux, question=question) for question in questions]:
            job.result()
    return taken


async def aask(mux: SLMMux, questions: Sequence[str]) -> Taken:
    with clock() as taken:
        await asyncio.gather(*(mux.acall(question=question) for question in questions))
    return taken


def call(made: Sequence[Call]) -> Taken:
    """Make bare calls, on as many threads at once."""
    with clock() as taken, ThreadPoolExecutor(len(made)) as threads:
        for job in [threads.submit(lm, messages=asked, **more) for lm, asked, more in made]:
            job.result()
    return taken


async def acall(made: Sequence[Call]) -> Taken:
    with clock() as taken:
        await asyncio.gather(*(lm.acall(messages=asked, **more) for lm, asked, more in made))
    return taken


@contextmanager
def clock() -> Iterator[Taken]:
    taken, wall, cpu = Taken(), time.perf_counter(), time.process_time()
    yield taken
    taken.wall, taken.cpu = time.perf_counter() - wall, time.process_time() - cpu
