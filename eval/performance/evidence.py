"""What asking for log-probabilities costs: CPU of a draw, bytes of a reply and of DSPy's cache.

The same server, in a process of its own, is asked without and with them, in turns.
"""

from __future__ import annotations

import pickle
import statistics
import tempfile
import time
from collections.abc import Iterator

import dspy

from dspy_mux import SLMMux

from .figures import Figure
from .server import model_server, reply_body

QUESTIONS, K, RUNS = 20, 4, 7
#: Words of reasoning before the answer: a short reply, and a chain of thought.
LENGTHS = (1, 300)


def figures() -> Iterator[Figure]:
    for words in LENGTHS:
        bodies = [len(reply_body(words, logprobs=asks)) for asks in (False, True)]
        name = f"log-probabilities, replies of {_tokens(words)} tokens"
        yield Figure.of(f"{name}: bytes of a reply without", [bodies[0]], "B")
        yield Figure.of(f"{name}: bytes of a reply with", [bodies[1]], "B")
        with model_server(0.0, words) as address:
            plain, asking = (_mux(address, asks=asks) for asks in (False, True))
            cpu: dict[bool, list[float]] = {False: [], True: []}
            for run in range(-1, RUNS):  # the first one warms up
                for asks, mux in ((False, plain), (True, asking)):
                    taken = _cpu(mux, run)
                    if run >= 0:
                        cpu[asks].append(taken)
            yield Figure.of(f"{name}: CPU of a draw without", cpu[False], "µs")
            yield Figure.of(f"{name}: CPU of a draw with", cpu[True], "µs")
            more = [with_ - without for without, with_ in zip(*cpu.values(), strict=True)]
            yield Figure.of(f"{name}: CPU of a draw more with them, paired", more, "µs")
            for asks, word in ((False, "without"), (True, "with")):
                size = _cached(address, asks=asks)
                yield Figure.of(f"{name}: bytes of a draw in DSPy's cache {word}", [size], "B")


def _tokens(words: int) -> int:
    return reply_body(words, logprobs=True).count(b'"token"')


def _mux(address: str, *, asks: bool, cache: bool = False) -> SLMMux:
    lm = dspy.LM("openai/any", api_base=address, api_key="none", engine="lm15", cache=cache)
    return SLMMux("question -> answer: int", [lm], k=K, logprobs=asks)


def _cpu(mux: SLMMux, run: int) -> float:
    """Return the microseconds of this process for one draw."""
    began = time.process_time()
    for question in range(QUESTIONS):
        mux(question=f"{run} {question}")
    return 1e6 * (time.process_time() - began) / (QUESTIONS * K)


def _cached(address: str, *, asks: bool) -> float:
    """Return the bytes of an entry of DSPy's cache."""
    before = dspy.cache
    with tempfile.TemporaryDirectory() as folder:
        try:
            dspy.configure_cache(disk_cache_dir=folder)
            _mux(address, asks=asks, cache=True)(question="?")
            entries = dspy.cache.disk_cache
            return statistics.median(len(pickle.dumps(entries[key])) for key in entries)
        finally:
            dspy.cache = before
