"""Overhead of a mux over DSPy's own work: CPU per draw and decision, wall time when cached."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from random import Random
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage

from dspy_mux import SLMMux
from dspy_mux.adapters.formats import default_adapter
from dspy_mux.voting.ballot import Ballot, Rule
from dspy_mux.voting.rules import Consistency, Pooled

from .figures import Figure

MEMBERS, K = 3, 8
QUESTIONS, RUNS = 40, 5
PROGRAM = "question -> answer: int"


class InstantEngine:
    """Answers 42 at once."""

    def __deepcopy__(self, memo: dict[int, Any]) -> InstantEngine:
        return self

    def complete(self, request: Request) -> Response:
        message = Message.assistant([TextPart("[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]")])
        usage = Usage(input_tokens=1, output_tokens=1, total_tokens=2)
        return Response(
            id=None, model=request.model, message=message, finish_reason="stop", usage=usage
        )


def figures() -> Iterator[Figure]:
    lms = [dspy.LM(f"instant/{at}", cache=False, engine=InstantEngine()) for at in range(MEMBERS)]
    mux = SLMMux(dspy.Predict(PROGRAM), lms, k=K)
    predict = dspy.Predict(PROGRAM)
    ours, alone, pooled = [], [], []
    for run in range(RUNS):
        questions = [f"{run} {at}" for at in range(QUESTIONS)]
        ours.append(_cpu(lambda question: mux(question=question), questions))
        alone.append(_cpu(lambda question: _bare(predict, lms, question), questions))
        pooled.append(_cpu(lambda question: _threaded(predict, lms, question), questions))
    title = "overhead: CPU per draw through a mux over bare dspy.Predict calls"
    why = "draws run in threads, as calls that wait must; against as many threads see the next line"
    yield Figure.of(
        f"{title} in one thread",
        [a / b for a, b in zip(ours, alone, strict=True)],
        target="≤ 1.25",
        why=why,
    )
    yield Figure.of(
        f"{title} in as many threads", [a / b for a, b in zip(ours, pooled, strict=True)]
    )
    yield Figure.of(
        "overhead: CPU per draw through a mux",
        [1e6 * cpu / (QUESTIONS * MEMBERS * K) for cpu in ours],
        "µs",
    )
    yield _cached()
    yield from _decisions()


def _decisions() -> Iterator[Figure]:
    """Time a rule on one live question, over only counting its votes in a dict."""
    random = Random(0)
    questions = [
        [tuple(random.choice((0, 1, 2, None)) for _ in range(K)) for _ in range(MEMBERS)]
        for _ in range(200)
    ]

    def count() -> None:
        for votes in questions:
            for ballot in ballots_of(votes):
                ballot.most  # noqa: B018  (counted on first use)

    def ballots_of(votes: list[tuple[int | None, ...]]) -> list[Ballot]:
        return [Ballot(f"m{at}", each, 0.5 + at / 10) for at, each in enumerate(votes)]

    for rule in (Consistency(), Pooled()):

        def decide(rule: Rule = rule) -> None:
            for votes in questions:
                rule.choose(ballots_of(votes))

        values = [_wall(decide) / _wall(count) for _ in range(RUNS * 4)]
        yield Figure.of(f"overhead: a live decision by {rule.name} over counting its votes", values)


def _cached() -> Figure:
    """Time a cached question over looking up its k answers of each member in turn."""
    lms = [dspy.LM(f"cached/{at}", engine=InstantEngine()) for at in range(MEMBERS)]
    mux = SLMMux(dspy.Predict(PROGRAM), lms, k=K)
    predict = dspy.Predict(PROGRAM)

    def look_up() -> None:
        _bare(predict, lms, "cached", rollouts=True)

    mux(question="cached")
    look_up()
    values = []
    for _ in range(RUNS * 20):
        ours, bare = _wall(lambda: mux(question="cached")), _wall(look_up)
        values.append(ours / bare)
    return Figure.of("overhead: a cached question over its lookups", values, target="≤ 2")


def _bare(
    predict: dspy.Predict, lms: list[dspy.LM], question: str, *, rollouts: bool = False
) -> None:
    for lm in lms:
        for draw in range(K):
            _call(predict, lm.copy(rollout_id=draw, temperature=1.0) if rollouts else lm, question)


def _threaded(predict: dspy.Predict, lms: list[dspy.LM], question: str) -> None:
    with ThreadPoolExecutor(MEMBERS * K) as pool:
        jobs = [
            pool.submit(copy_context().run, _call, predict, lm, question)
            for lm in lms
            for _ in range(K)
        ]
        for job in jobs:
            job.result()


def _call(predict: dspy.Predict, lm: dspy.LM, question: str) -> None:
    with dspy.context(lm=lm, adapter=default_adapter(), trace=[]):
        predict(question=question)


def _cpu(ask: Callable[[str], object], questions: list[str]) -> float:
    began = time.process_time()
    for question in questions:
        ask(question)
    return time.process_time() - began


def _wall(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
