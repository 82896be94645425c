"""Subsets a second of the exact search, over a plain-Python loop of the same objective: per subset, per question, per member."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from dspy_mux.record import Record
from dspy_mux.search import Outcomes, search

from .latency import Ratio

MEMBERS, QUESTIONS, DRAWS = 15, 500, 9
SIZES = (2, 3, 4, 5)
RUNS = 5
#: The loop is timed on this many subsets: all 4,928 would take it minutes.
LOOPED = 40


def synthetic(members: int, questions: int, draws: int, *, seed: int = 0) -> Record:
    """Members of different strength that each know other questions."""
    random = np.random.default_rng(seed)
    ease = random.normal(size=(questions, 1, 1)) + 0.8 * random.normal(size=(questions, members, 1))
    skill = random.normal(0.3, 0.6, size=(1, members, 1))
    right = random.random((questions, members, draws)) < 1 / (1 + np.exp(-2 * (skill + ease)))
    votes = np.where(right, 0, random.integers(1, 4, right.shape))
    names = tuple(f"m{at}" for at in range(members))
    return Record(names, tuple(map(str, range(questions))), votes, right.astype(np.float32), {})


def ratios() -> Iterator[Ratio]:
    record = synthetic(MEMBERS, QUESTIONS, DRAWS)
    votes, scores = record.votes.tolist(), record.scores.tolist()
    random = np.random.default_rng(1)
    every = [subset for size in SIZES for subset in itertools.combinations(range(MEMBERS), size)]
    speeds = []
    for _ in range(RUNS):
        chosen = [every[at] for at in random.choice(len(every), LOOPED, replace=False)]
        began = time.perf_counter()
        looped = [_loop(votes, scores, subset) for subset in chosen]
        slow = LOOPED / (time.perf_counter() - began)
        found = search(record, SIZES, top=1)
        outcomes = Outcomes.of(record)
        assert looped == [_objective(outcomes, subset) for subset in chosen]
        speeds.append(found.evaluated / found.seconds / slow)
    speeds.sort()
    name = f"search: subsets a second over a plain-Python loop ({MEMBERS} members × {QUESTIONS} questions × {DRAWS} draws)"
    yield Ratio(name, float(np.median(speeds)), speeds[0], speeds[-1], RUNS)


def _objective(outcomes: Outcomes, subset: tuple[int, ...]) -> float:
    union, contradiction = outcomes.terms(subset)
    return round(union - contradiction, 9)


def _loop(votes: list[Any], scores: list[Any], subset: tuple[int, ...]) -> float:
    """O(S) at λ = 1, as one would write it down."""
    union = contradiction = 0
    for question in range(len(votes)):
        some_right = some_wrong = False
        for member in subset:
            drawn = votes[question][member]
            counts = {answer: drawn.count(answer) for answer in drawn}
            plurality = max(counts, key=counts.__getitem__)
            right = scores[question][member][drawn.index(plurality)] >= 1
            some_right |= right
            some_wrong |= not right and counts[plurality] == len(drawn)
        union += some_right
        contradiction += some_right and some_wrong
    return round((union - contradiction) / len(votes), 9)
