"""Records of members whose skill a test knows, and drawn records for searches."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from dspy_mux.bank.record import Record


def skilled_record(skills, count=120, draws=4, seed=0, cost=None):
    """Members that each know a fixed share of the questions, and answer those well."""
    random = np.random.default_rng(seed)
    members = len(skills)
    knows = random.random((count, members, 1)) < np.array(skills)[None, :, None]
    right = random.random((count, members, draws)) < np.where(knows, 0.95, 0.15)
    votes = np.where(right, 0, random.integers(1, 6, right.shape))
    costs = (
        None
        if cost is None
        else np.broadcast_to(np.array(cost)[None, :, None], right.shape).astype(float)
    )
    return Record(
        members=tuple("abcdefgh"[:members]),
        questions=tuple(map(str, range(count))),
        votes=votes,
        scores=right.astype(np.float32),
        fields={"task": tuple("xy"[n % 2] for n in range(count))},
        cost=costs,
    )


def plain_record(votes, scores):
    """A record of members m0, m1, … from votes and scores alone."""
    votes = np.asarray(votes)
    names = tuple(f"m{at}" for at in range(votes.shape[1]))
    return Record(
        names, tuple(f"q{at}" for at in range(len(votes))), votes, np.asarray(scores, float), {}
    )


@st.composite
def drawn_records(draw, max_members=6, max_questions=12, draws=None):
    """Random small records, with abstentions and equal answers."""
    shape = (
        draw(st.integers(1, max_questions)),
        draw(st.integers(1, max_members)),
        draws or draw(st.integers(1, 3)),
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    votes = random.integers(-1, draw(st.integers(1, 3)), shape)
    truth = random.integers(0, 3, (shape[0], 1, 1))
    return plain_record(votes, votes == truth)
