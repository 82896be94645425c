"""Subsets per second of the exact search, over a plain-Python loop of the same objective."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from dspy_mux.bank.record import Record
from dspy_mux.optimize.search import Outcomes, search

from .figures import Figure

MEMBERS, QUESTIONS, DRAWS = 15, 500, 9
SIZES = (2, 3, 4, 5)
RUNS = 5
#: The loop is timed on this many subsets: all 4,928 would take it minutes.
LOOPED = 40
#: Seconds for the proof of a search too large to enumerate.
LIMIT = 20.0
ALIKE = (
    "with nearly equal members, millions of subsets lie within a question of the best, and bounds "
    "cut late"
)
#: Pools of 100 that are harder to prove than the one of mixed strength: skill and its spread.
HARDER = {"weak members": (-1.0, 0.5), "members hardly apart": (0.0, 0.2)}


def synthetic(
    members: int,
    questions: int,
    draws: int,
    *,
    skill: float = 0.3,
    spread: float = 0.6,
    seed: int = 0,
) -> Record:
    """Make members of strength `skill` ± `spread` in log-odds that know different questions."""
    random = np.random.default_rng(seed)
    ease = random.normal(size=(questions, 1, 1)) + 0.8 * random.normal(size=(questions, members, 1))
    skills = random.normal(skill, spread, size=(1, members, 1))
    right = random.random((questions, members, draws)) < 1 / (1 + np.exp(-2 * (skills + ease)))
    votes = np.where(right, 0, random.integers(1, 4, right.shape))
    names = tuple(f"m{at}" for at in range(members))
    return Record(names, tuple(map(str, range(questions))), votes, right.astype(np.float32), {})


def figures() -> Iterator[Figure]:
    record = synthetic(MEMBERS, QUESTIONS, DRAWS)
    over_loop, over_floor = _small(record)
    title = f"{MEMBERS} members × {QUESTIONS} questions × {DRAWS} draws, sizes 2–5"
    yield Figure.of(
        f"search: subsets a second over a plain-Python loop ({title})", over_loop, target="≥ 1,000"
    )
    yield Figure.of(
        f"search: time over reading each subset's packed bits once ({title})",
        over_floor,
        target="≤ 5",
    )
    large = synthetic(100, 1000, 3)
    seconds = [search(large, [2, 3, 4], top=1).seconds for _ in range(3)]
    yield Figure.of(
        "search: 100 members × 1,000 questions, sizes 2–4 (4.1 million subsets)",
        seconds,
        "s",
        "≤ 3",
    )
    harder = {
        name: synthetic(100, 1000, 3, skill=skill, spread=spread)
        for name, (skill, spread) in HARDER.items()
    }
    for name, pool in {"mixed strength": large, **harder}.items():
        for size, subsets, target in ((5, "75 million", "≤ 20"), (8, "186 billion", "")):
            found = search(pool, [size], top=1, time_limit=LIMIT)
            title = f"search: 100 members ({name}), size {size} ({subsets} subsets)"
            yield Figure.of(title, [found.seconds], "s", target)
            yield Figure.of(f"{title}, gap left to a proof", [found.gap], "", "≤ 0", why=ALIKE)
    wide = synthetic(40, 1000, 3)
    seconds = [search(wide, SIZES, by="accuracy", top=1).seconds for _ in range(3)]
    yield Figure.of(
        "search: replayed accuracy of all subsets of 40 members, sizes 2–5 (760,000)",
        seconds,
        "s",
        "≤ 10",
    )
    yield from _growth()


def _small(record: Record) -> tuple[list[float], list[float]]:
    """Ratios of speed to a loop's, and of time to that of reading the bits."""
    votes, scores = record.votes.tolist(), record.scores.tolist()
    random = np.random.default_rng(1)
    every = [subset for size in SIZES for subset in itertools.combinations(range(MEMBERS), size)]
    outcomes = Outcomes.from_record(record)
    over_loop, over_floor = [], []
    for _ in range(RUNS):
        chosen = [every[at] for at in random.choice(len(every), LOOPED, replace=False)]
        began = time.perf_counter()
        looped = [_loop(votes, scores, subset) for subset in chosen]
        slow = LOOPED / (time.perf_counter() - began)
        assert looped == [_objective(outcomes, subset) for subset in chosen]
        found = search(record, SIZES, top=1)
        over_loop.append(found.evaluated / found.seconds / slow)
        over_floor.append(found.seconds / _reading(outcomes))
    return over_loop, over_floor


def _reading(outcomes: Outcomes) -> float:
    """Return the seconds to count the bits of each subset's members once, in contiguous memory."""
    seconds = 0.0
    for size in SIZES:
        members = np.array(list(itertools.combinations(range(MEMBERS), size)))
        bits = np.stack([outcomes.correct[members], outcomes.wrong[members]])
        began = time.perf_counter()
        np.bitwise_count(bits).sum()
        seconds += time.perf_counter() - began
    return seconds


def _growth() -> Iterator[Figure]:
    """Fit how the time of enumeration grows: a power law over subsets and questions."""
    over = {
        "members (40 to 120, size 3)": [(m, synthetic(m, 500, 3), 3) for m in (40, 60, 80, 120)],
        "subsets (60 members, sizes 2 to 4)": [
            (math.comb(60, size), synthetic(60, 500, 3), size) for size in (2, 3, 4)
        ],
        "questions (2,000 to 16,000; 40 members, size 3)": [
            (q, synthetic(40, q, 3), 3) for q in (2000, 4000, 8000, 16000)
        ],
    }
    for name, points in over.items():
        seconds = [
            min(search(record, [size], top=1).seconds for _ in range(3))
            for _, record, size in points
        ]
        slope = np.polyfit(np.log([x for x, _, _ in points]), np.log(seconds), 1)[0]
        yield Figure.of(f"search: time grows with {name} to the power", [float(slope)], "")


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
