"""Where a schedule is lossless: the draws it spares change nothing, from the draws to the verdict.

Equivalences that are not transitive, members with their own k, fitted rules that let a simple rule
choose. The mux runs without an LM: each draw is given its prediction.
"""

from __future__ import annotations

import dataclasses

import dspy
import numpy as np
from dspy.utils import DummyLM
from hypothesis import given, settings, strategies as st

from dspy_mux import AllMembersFailed, Member, SLMMux
from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.votes import draw_as_wanted

PROGRAM = dspy.Predict("question -> answer: int")
KS = (3, 1, 2)
LMS = [Member(DummyLM([]), name=f"m{at}", k=k) for at, k in enumerate(KS)]


def near(a, b):
    """Not transitive: 1 is near 2 and 2 near 3, but 1 is not near 3."""
    return abs(int(a) - int(b)) <= 1


def modulo(a, b):
    return int(a) % 3 == int(b) % 3


def played(mux, table):
    """Return a mux's prediction where member m's draw j answers table[m][j], None for a failure."""
    rounds = mux._rounds({"question": "?"})
    try:
        while True:
            for draw in next(rounds).draws:
                answer = table[mux.pool.names.index(draw.member.label)][draw.number]
                if answer is None:
                    draw.cause = "empty response"
                else:
                    draw.prediction = dspy.Prediction(answer=answer)
    except StopIteration as end:
        return end.value
    except AllMembersFailed:
        return None


answers = st.one_of(st.none(), st.integers(0, 5))
tables = st.tuples(*[st.tuples(*[answers] * k) for k in KS])
measured = st.fixed_dictionaries(
    {}, optional={f"m{at}": st.sampled_from([0.2, 0.5, 0.8]) for at in range(len(KS))}
)


def both(table, accuracies, **options):
    full, frugal = (
        played(SLMMux(PROGRAM, LMS, accuracies=accuracies, schedule=schedule, **options), table)
        for schedule in ("full", "frugal")
    )
    assert (full is None) == (frugal is None)
    return (full, frugal) if full is not None else None


@settings(max_examples=150, deadline=None)
@given(tables, measured, st.sampled_from(["consistency", "pooled", "self_consistency"]))
def test_a_transitive_equivalence_is_lossless_by_every_rule(table, accuracies, rule):
    found = both(table, accuracies, rule=rule, equivalence=modulo)
    if found is not None:
        full, frugal = found
        assert full.answer == frugal.answer
        assert full.verdict.member == frugal.verdict.member
        if rule != "pooled":  # a share of all draws, of which some were spared
            assert full.verdict.confidence == frugal.verdict.confidence


@settings(max_examples=300, deadline=None)
@given(tables, measured, st.sampled_from(["consistency", "self_consistency"]))
def test_an_equivalence_that_is_not_is_lossless_where_members_count_alone(table, accuracies, rule):
    """A member's confidence is of its own draws: what others answered merges none of them."""
    found = both(table, accuracies, rule=rule, equivalence=near)
    if found is not None:
        full, frugal = found
        assert full.answer == frugal.answer
        assert full.verdict.member == frugal.verdict.member
        assert full.verdict.confidence == frugal.verdict.confidence


@settings(max_examples=200, deadline=None)
@given(tables, st.sampled_from([near, modulo]))
def test_a_members_ballot_is_that_of_the_member_alone(table, equivalence):
    whole = played(SLMMux(PROGRAM, LMS, equivalence=equivalence), table)
    if whole is None:
        return
    for member, drawn, ballot in zip(LMS, table, whole.verdict.ballots, strict=True):
        alone = played(SLMMux(PROGRAM, [member], equivalence=equivalence), [drawn])
        shares = 0.0 if alone is None else alone.verdict.confidence
        assert ballot.confidence == shares


def fitted(seed):
    random = np.random.default_rng(seed)
    votes = random.integers(ABSTAINED, 3, (60, len(KS), max(KS)))
    for at, k in enumerate(KS):
        votes[:, at, k:] = ABSTAINED
    scores = ((votes == 0) & (random.random((60, 1, 1)) < 0.8)).astype(float)
    return fit(Training(Tally(votes, KS), scores, [member.name for member in LMS]))


RULES = [
    dataclasses.replace(fitted(seed), instead=instead)
    for seed in range(2)
    for instead in (None, "consistency", "pooled", "self_consistency")
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(RULES), tables)
def test_fitted_rules_of_unequal_k_keep_their_answer(rule, table):
    ballots = [Ballot(member.name, votes) for member, votes in zip(LMS, table, strict=True)]
    short, made = draw_as_wanted(rule, ballots)
    full = rule.choose(ballots)
    assert (short and short.answer) == (full and full.answer)
    assert all(drawn <= k for drawn, k in zip(made, KS, strict=True))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([rule for rule in RULES if rule.instead]), tables)
def test_and_so_does_a_mux_with_one(rule, table):
    found = both(table, None, rule=rule, equivalence=modulo)
    if found is not None:
        assert found[0].answer % 3 == found[1].answer % 3
