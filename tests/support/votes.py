"""Records with votes as given or drawn at random."""

from __future__ import annotations

import numpy as np

from dspy_mux.bank.record import Record


def record_from(votes, scores, **fields):
    votes = np.asarray(votes)
    names = tuple("abcdefgh"[: votes.shape[1]])
    return Record(
        names, tuple(f"q{at}" for at in range(len(votes))), votes, np.asarray(scores, float), fields
    )


def random_record(questions=60, members=3, draws=3, seed=0):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, questions)
    rates = np.linspace(0.7, 0.3, members)[None, :, None]
    knows = random.random((questions, members, draws)) < rates
    votes = np.where(knows, truth[:, None, None], random.integers(-1, 4, knows.shape))
    return record_from(votes, votes == truth[:, None, None])
