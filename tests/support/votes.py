"""Votes, ballots and records, given or drawn at random."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from dspy_mux.bank.record import Record
from dspy_mux.voting.ballot import Ballot, by_accuracy
from dspy_mux.voting.tally import ABSTAINED, Tally


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


def drawn(questions=150, rates=(0.8, 0.5, 0.3), k=3, seed=0):
    """Votes and scores [Q, M, k] of members that know answers at these rates, else guess."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, (questions, 1, 1))
    shape = (questions, len(rates), k)
    knows = random.random(shape) < np.asarray(rates)[None, :, None]
    votes = np.where(knows, truth, random.integers(ABSTAINED, 4, shape))
    return votes, (votes == truth).astype(float)


answers = st.one_of(st.none(), st.integers(0, 3))
known_or_not = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5]))


@st.composite
def batches(draw):
    """Some questions' ballots of the same members, with members' own k."""
    ks = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    accuracies = draw(st.tuples(*[known_or_not] * len(ks)))
    questions = draw(
        st.lists(st.tuples(*[st.tuples(*[answers] * k) for k in ks]), min_size=1, max_size=4)
    )
    return [
        [
            Ballot(f"m{index}", votes, accuracy)
            for index, (votes, accuracy) in enumerate(zip(question, accuracies, strict=True))
        ]
        for question in questions
    ]


def tally_of(batch):
    ks = [len(ballot.votes) for ballot in batch[0]]
    votes = np.full((len(batch), len(ks), max(ks)), ABSTAINED)
    for row, ballots in enumerate(batch):
        for index, ballot in enumerate(ballots):
            votes[row, index, : ks[index]] = [
                ABSTAINED if vote is None else vote for vote in ballot.votes
            ]
    return Tally(votes, ks)


def order_of(batch):
    return by_accuracy([ballot.accuracy for ballot in batch[0]])


def draw_as_they_arrive(rule, ballots, arrivals):
    """As under the hedged schedule: all draws begin, arrive in this order of members, and end as
    soon as `rule` wants no more. Return its choice, and the draws that have arrived."""
    made = [0] * len(ballots)
    for at in [*arrivals, None]:
        so_far = [
            dataclasses.replace(b, votes=b.votes[:n], asked=len(b.votes))
            for b, n in zip(ballots, made, strict=True)
        ]
        if at is None or not rule.wants(so_far):
            return rule.choose(so_far), made
        made[at] += 1


def draw_as_wanted(rule, ballots):
    """Draw as `rule` wants: return its choice, and the draws made of each of the ballots."""
    made = [0] * len(ballots)
    while True:
        so_far = [
            dataclasses.replace(b, votes=b.votes[:n], asked=len(b.votes))
            for b, n in zip(ballots, made, strict=True)
        ]
        wanted = rule.wants(so_far)
        if not wanted:
            return rule.choose(so_far), made
        for at, count in wanted:
            assert 1 <= count <= len(ballots[at].votes) - made[at]
            made[at] += count
