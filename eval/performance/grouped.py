"""The k draws of a member in one request of n choices, beside as many requests of one.

What is billed, wall time and CPU, against a server in a process of its own that answers after
200 ms and bills 1,000 tokens for a prompt. The ways take turns. Bare `dspy.LM` calls go through
DSPy's own client, which makes a request of each choice; those with n through LiteLLM, which sends
n on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from dspy_mux import SLMMux

from . import ready
from .figures import Figure
from .server import bill, model_server
from .traffic import PROGRAM, Call, Taken, aask, acall, ask, call, calls, pool

LATENCY = 0.2
PROMPT_TOKENS = 1000
#: Members, k, and the most that one question may take over one call's latency.
SIZES = ((3, 3, ""), (5, 9, "≤ 1.1"))
RUNS = 7
#: Questions at once, of 3 members × k=3, and runs of them.
QUESTIONS, CROWDS = 50, 3
#: Questions at once where CPU is measured, of 5 members × k=9.
AT_WORK = 4
#: What grouped requests are compared with.
BARE, BARE_N, BARE_ONCE = (
    "bare dspy.LM calls",
    "bare dspy.LM calls with n (LiteLLM)",
    "as many bare dspy.LM calls of one choice",
)
GROUPED, SEPARATE = "grouped", "separate"
BUSY = "what is left is one interpreter's work on each draw: see the CPU of a draw below"


@dataclass(frozen=True)
class Way:
    """A way to put questions to the members: on threads, and as tasks."""

    ask: Callable[[Sequence[str]], Taken]
    aask: Callable[[Sequence[str]], Awaitable[Taken]]


def figures() -> Iterator[Figure]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no prices from the network
    with model_server(LATENCY, prompt_tokens=PROMPT_TOKENS) as address:
        for members, k, target in SIZES:
            name = f"grouped: one question, {members} members × k={k}"
            muxes = _muxes(address, members, k)
            yield from _billed(address, muxes, name)
            yield from _one(muxes, name, target)
        yield from _crowd(address)
        yield from _work(address)
        yield from ready.figures(address)


def _muxes(address: str, members: int, k: int) -> dict[str, SLMMux]:
    return {
        way: SLMMux(PROGRAM, pool(address, members), k=k, group=way == GROUPED)
        for way in (GROUPED, SEPARATE)
    }


def _through(mux: SLMMux) -> Way:
    return Way(lambda questions: ask(mux, questions), lambda questions: aask(mux, questions))


def _bare(made: Callable[[Sequence[str]], list[Call]]) -> Way:
    return Way(lambda questions: call(made(questions)), lambda questions: acall(made(questions)))


def _ways(address: str, members: int, k: int) -> dict[str, Way]:
    muxes = _muxes(address, members, k)
    mux, others = muxes[SEPARATE], pool(address, members, engine="litellm")
    return {
        **{way: _through(each) for way, each in muxes.items()},
        BARE: _bare(lambda questions: calls(mux, questions)),
        BARE_N: _bare(lambda questions: calls(mux, questions, times=1, lms=others, n=k)),
        BARE_ONCE: _bare(lambda questions: calls(mux, questions, times=1)),
    }


def _billed(address: str, muxes: dict[str, SLMMux], name: str) -> Iterator[Figure]:
    """Count what a question is billed, and compare what its verdict says of it."""
    for way, mux in muxes.items():
        before = bill(address)
        verdict = mux(question="What is it?").verdict
        spent = bill(address) - before
        yield Figure.of(f"{name}, {way}: requests", [spent.requests], "")
        yield Figure.of(f"{name}, {way}: prompt tokens billed", [spent.prompt_tokens], "")
        for tokens in ("prompt_tokens", "completion_tokens"):
            yield Figure.of(
                f"{name}, {way}: {tokens.replace('_', ' ')} of the verdict, apart from the bill",
                [abs(getattr(verdict, tokens) - getattr(spent, tokens))],
                "",
                target="≤ 0",
            )


def _one(muxes: dict[str, SLMMux], name: str, target: str) -> Iterator[Figure]:
    ways = {way: _through(mux) for way, mux in muxes.items()}
    for how, turns in _both(ways, 1, RUNS):
        for way in ways:
            yield Figure.of(
                f"{name}, {way}, {how}, over one call's {LATENCY * 1000:.0f} ms",
                [taken.wall / LATENCY for taken in turns[way]],
                target=target if way == GROUPED else "",
                why=BUSY,
            )


def _crowd(address: str) -> Iterator[Figure]:
    name = f"grouped: {QUESTIONS} questions at once, 3 members × k=3"
    for how, turns in _both(_ways(address, 3, 3), QUESTIONS, CROWDS):
        for other, target in ((BARE_N, "≤ 1.1"), (BARE, "≤ 0.5"), (BARE_ONCE, ""), (SEPARATE, "")):
            pairs = zip(turns[GROUPED], turns[other], strict=True)
            yield Figure.of(
                f"{name}, {how}, over {other}",
                [ours.wall / theirs.wall for ours, theirs in pairs],
                target=target,
                why=BUSY,
            )


def _work(address: str) -> Iterator[Figure]:
    members, k = 5, 9
    draws = AT_WORK * members * k
    for how, turns in _both(_ways(address, members, k), AT_WORK, RUNS):
        pairs = zip(turns[GROUPED], turns[BARE], strict=True)
        yield Figure.of(
            f"grouped: CPU of a draw, {members} members × k={k}, {how}, over {BARE}",
            [ours.cpu / theirs.cpu for ours, theirs in pairs],
            target="≤ 0.4",
            why="each draw is read, counted and kept in DSPy's history by itself",
        )
        for way, taken in turns.items():
            yield Figure.of(
                f"grouped: CPU of a draw, {members} members × k={k}, {how}, {way}",
                [1e6 * each.cpu / draws for each in taken],
                "µs",
            )


_Turns = dict[str, list[Taken]]


def _both(ways: dict[str, Way], count: int, runs: int) -> Iterator[tuple[str, _Turns]]:
    """Return what each way takes for so many questions at once, on threads and as tasks.

    The ways take turns, of which the first warms up.
    """
    yield (
        "threads",
        _later(
            [
                {way: each.ask(_questions(run, count)) for way, each in ways.items()}
                for run in range(1 + runs)
            ]
        ),
    )

    async def tasks() -> list[dict[str, Taken]]:
        return [
            {way: await each.aask(_questions(run, count)) for way, each in ways.items()}
            for run in range(1 + runs)
        ]

    yield "tasks", _later(asyncio.run(tasks()))


def _later(turns: list[dict[str, Taken]]) -> _Turns:
    return {way: [turn[way] for turn in turns[1:]] for way in turns[0]}


def _questions(run: int, count: int) -> list[str]:
    return [f"{run} {number}" for number in range(count)]
