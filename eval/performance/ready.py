"""What DSPy itself takes for a call: the same calls with a reply that is there at once.

A draw is a call of a DSPy program, in its history and with its callbacks, so no way of asking a
server makes a draw cheaper than this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import dspy
from dspy.clients.engines.lm15_engine import LM15Engine

from .figures import Figure
from .traffic import PROGRAM, clock, pool

CALLS, THREADS, RUNS = 300, 32, 7


def figures(address: str) -> Iterator[Figure]:
    """Measure the CPU of calls with a ready reply, over that of bare calls of a server."""
    lm, program = pool(address, 1)[0], dspy.Predict(PROGRAM)

    def bare(number: int) -> None:
        lm(f"What is {number}?")

    def whole(number: int) -> None:
        with dspy.context(lm=lm):
            program(question=f"What is {number}?")

    turns = []
    for _ in range(1 + RUNS):
        sent = _cpu(bare)
        with _ready():
            turns.append((_cpu(bare) / sent, _cpu(whole) / sent))
    for what, ratios in zip(
        ("a bare call", "a call of dspy.Predict"), zip(*turns[1:], strict=True), strict=True
    ):
        yield Figure.of(
            f"grouped: CPU of {what} whose reply is there at once, over a bare call of the server",
            list(ratios),
        )


def _cpu(job: Callable[[int], None]) -> float:
    with clock() as taken, ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(job, range(CALLS)))
    return taken.cpu


@contextmanager
def _ready() -> Iterator[None]:
    """Have DSPy's own client answer all calls by its first reply."""
    complete = LM15Engine.complete
    kept: list[Any] = []

    def answer(engine: LM15Engine, request: Any) -> Any:
        if not kept:
            kept.append(complete(engine, request))
        return kept[0]

    LM15Engine.complete = answer
    try:
        yield
    finally:
        LM15Engine.complete = complete
