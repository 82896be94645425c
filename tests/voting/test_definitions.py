"""The rules against their definitions (DESIGN section 3, the paper's "Confidence Selection")."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from hypothesis import given, settings

from dspy_mux.voting.frugal import frugal_draws
from dspy_mux.voting.rules import Consistency, Pooled

from ..support.votes import batches, order_of, tally_of


def plurality(votes):
    """(answer, votes) of the most frequent answer, the one drawn first among equals."""
    counts = Counter(vote for vote in votes if vote is not None)
    most = max(counts.values(), default=0)
    return next(((vote, most) for vote in votes if vote is not None and counts[vote] == most), None)


def paper(ballots):
    """(member, answer, confidence, tie break), from f_i, s_i and a_i."""
    found = [plurality(ballot.votes) for ballot in ballots]
    s = [
        Fraction(best[1], len(ballot.votes)) if best else Fraction(-1)
        for best, ballot in zip(found, ballots, strict=True)
    ]
    if max(s) < 0:
        return None
    tied = [at for at, value in enumerate(s) if value == max(s)]
    known = [-1.0 if ballots[at].accuracy is None else ballots[at].accuracy for at in tied]
    first = [at for at, value in zip(tied, known, strict=True) if value == max(known)]
    reason = "nothing" if len(tied) == 1 else "accuracy" if len(first) == 1 else "pool order"
    return first[0], found[first[0]][0], float(max(s)), reason


def agent_forest(ballots):
    best = plurality([vote for ballot in ballots for vote in ballot.votes])
    if best is None:
        return None
    counts = Counter(vote for ballot in ballots for vote in ballot.votes if vote is not None)
    rivals = sum(count == best[1] for count in counts.values())
    return (
        next(at for at, ballot in enumerate(ballots) if best[0] in ballot.votes),
        best[0],
        best[1] / sum(len(ballot.votes) for ballot in ballots),
        "pool order" if rivals > 1 else "nothing",
    )


def as_tuple(choice):
    return choice and (choice.ballot, choice.answer, choice.confidence, choice.tie_break)


@settings(max_examples=300)
@given(batches())
def test_consistency_is_the_rule_of_the_paper(batch):
    for ballots in batch:
        assert as_tuple(Consistency().choose(ballots)) == paper(ballots)


@settings(max_examples=300)
@given(batches())
def test_pooled_is_agent_forest(batch):
    for ballots in batch:
        assert as_tuple(Pooled().choose(ballots)) == agent_forest(ballots)


def frugal(ballots):
    """Draws made one at a time, each only if some answers to come could still change the winner."""
    made, bar = [0] * len(ballots), Fraction(0)
    for at in order_of([ballots]):
        k = len(ballots[at].votes)
        while True:
            best = plurality(ballots[at].votes[: made[at]])
            most = best[1] if best else 0
            if made[at] == k or Fraction(most + k - made[at], k) <= bar:
                break
            made[at] += 1
        if made[at] == k:
            bar = max(bar, Fraction(most, k))
    return made


@settings(max_examples=300)
@given(batches())
def test_frugal_draws_are_those_of_the_definition(batch):
    spent = frugal_draws(Consistency(), tally_of(batch), order_of(batch))
    assert spent.tolist() == [frugal(ballots) for ballots in batch]
