"""The frugal schedule saves draws and never changes the answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.voting.ballot import by_accuracy
from dspy_mux.voting.frugal import frugal_draws
from dspy_mux.voting.rules import Consistency, Pooled
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.votes import batches, order_of, tally_of


def cut(tally, spent):
    """Keep the first `spent` draws; the others count as abstentions, and k stays."""
    undrawn = np.arange(tally.shape[2]) >= spent[..., None]
    return Tally(np.where(undrawn, ABSTAINED, tally.votes), tally.k)


def same_answers(one, other, tally):
    assert one.member.tolist() == other.member.tolist()
    found = one.member >= 0
    assert one.draw[found].tolist() == other.draw[found].tolist()
    rows = np.arange(len(found))
    assert (
        tally.votes[rows, one.member, one.draw][found]
        == tally.votes[rows, other.member, other.draw][found]
    ).all()


@settings(max_examples=300)
@given(batches())
def test_frugal_keeps_the_answer_of_consistency(batch):
    tally, order = tally_of(batch), order_of(batch)
    full, short = (
        Consistency().pick(tally, order),
        Consistency().pick(cut(tally, frugal_draws(Consistency(), tally, order)), order),
    )
    same_answers(full, short, tally)
    assert short.confidence.tolist() == full.confidence.tolist()


@settings(max_examples=300)
@given(batches())
def test_frugal_keeps_the_answer_of_pooled(batch):
    tally = tally_of(batch)
    same_answers(
        Pooled().pick(tally, []),
        Pooled().pick(cut(tally, frugal_draws(Pooled(), tally, [])), []),
        tally,
    )


@settings(max_examples=300)
@given(batches(), st.integers(0, 2**32 - 1))
def test_what_was_not_drawn_could_have_been_anything(batch, seed):
    """Stronger than lossless: the verdict stands whatever the saved draws hold."""
    tally, order = tally_of(batch), order_of(batch)
    for spent, rule in (
        (frugal_draws(Consistency(), tally, order), lambda t: Consistency().pick(t, order)),
        (frugal_draws(Pooled(), tally, []), lambda t: Pooled().pick(t, [])),
    ):
        draws = np.arange(tally.shape[2])
        other = np.random.default_rng(seed).integers(-1, 4, tally.shape)
        undrawn = (draws >= spent[..., None]) & (draws < tally.k[:, None])
        changed = Tally(np.where(undrawn, other, tally.votes), tally.k)
        same_answers(rule(tally), rule(changed), tally)


@given(batches())
def test_no_member_draws_more_than_its_k(batch):
    tally = tally_of(batch)
    for spent in (
        frugal_draws(Consistency(), tally, order_of(batch)),
        frugal_draws(Pooled(), tally, []),
    ):
        assert spent.shape == tally.shape[:2]
        assert ((spent >= 0) & (spent <= tally.k)).all()


@given(batches())
def test_the_most_accurate_member_draws_all_it_may(batch):
    tally, order = tally_of(batch), order_of(batch)
    assert (frugal_draws(Consistency(), tally, order)[:, order[0]] == tally.k[order[0]]).all()


@given(batches())
def test_draws_spent_depend_on_those_made(batch):
    """A live mux cannot look at draws it has not made."""
    tally, order = tally_of(batch), order_of(batch)
    spent = frugal_draws(Consistency(), tally, order)
    assert frugal_draws(Consistency(), cut(tally, spent), order).tolist() == spent.tolist()
    spent = frugal_draws(Pooled(), tally, [])
    assert frugal_draws(Pooled(), cut(tally, spent), []).tolist() == spent.tolist()


@pytest.mark.parametrize(
    ("first", "second", "third", "spent"),
    [
        ((0, 0, 0), (1, 1, 1), (2, 2, 2), [3, 0, 0]),  # unanimous: equals go to the earlier member
        (
            (0, 1, 0),
            (1, 2, 1),
            (2, 2, 2),
            [3, 2, 3],
        ),  # 2/3 to beat: the second is out with two different draws
        ((0, 1, 0), (1, 1, 1), (2, 2, 2), [3, 3, 0]),
        (
            (0, None, None),
            (1, None, 2),
            (None, None, None),
            [3, 3, 2],
        ),  # 1/3 to beat: lost with the second abstention
        ((None, None, None), (None, None, None), (None, None, 0), [3, 3, 3]),
    ],
)
def test_hand_worked_draws_of_consistency(first, second, third, spent):
    votes = np.array(
        [
            [
                [ABSTAINED if vote is None else vote for vote in member]
                for member in (first, second, third)
            ]
        ]
    )
    assert frugal_draws(Consistency(), Tally(votes), by_accuracy([0.9, 0.5, 0.4])).tolist() == [
        spent
    ]


def test_the_most_accurate_member_draws_first():
    votes = np.array([[[0, 0, 0], [1, 1, 1], [2, 2, 2]]])
    assert frugal_draws(Consistency(), Tally(votes), by_accuracy([0.1, None, 0.3])).tolist() == [
        [0, 0, 3]
    ]


@pytest.mark.parametrize(
    ("votes", "spent"),
    [
        ([[0, 0, 0], [1, 1, 1]], [3, 3]),  # level to the end
        ([[0, 0, 0], [0, 1, 1]], [3, 1]),  # four of six
        ([[0, 1], [1, 0], [1, 1]], [2, 2, 2]),
        (
            [[0, 0], [0, 1], [2, 3]],
            [2, 2, 1],
        ),  # 3 to 1 with two left could end level: one more draw settles it
    ],
)
def test_hand_worked_draws_of_pooled(votes, spent):
    assert frugal_draws(Pooled(), Tally(np.array([votes])), []).tolist() == [spent]
