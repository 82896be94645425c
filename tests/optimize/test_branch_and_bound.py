"""Bounds of what members do together, against what they do."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st

from dspy_mux.optimize.branch_and_bound import Pairs


def sets_of(bits):
    return [
        set(np.flatnonzero(np.unpackbits(row.view(np.uint8), bitorder="little")).tolist())
        for row in bits
    ]


@st.composite
def pools(draw, least=2):
    """(correct, wrong) bits of members, in two words of which the second is hardly used."""
    members = draw(st.integers(least, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    outcomes = random.choice(3, (members, 128), p=random.dirichlet([1, 1, 1]))
    outcomes[:, 70:] = 0
    bits = [
        np.packbits(outcomes == which, axis=1, bitorder="little").view(np.uint64)
        for which in (1, 2)
    ]
    return bits[0], bits[1]


@given(pools(least=3), st.data())
def test_parts_bound_what_any_subset_adds_and_takes(pool, data):
    correct, wrong = pool
    count = len(correct)
    start = data.draw(st.integers(0, count - 3))
    left = data.draw(st.integers(3, count - start))
    questions = np.array(
        data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2)), np.uint64
    )
    mask = sets_of(questions[None])[0]
    pairs = Pairs(correct, wrong)
    added, taken = pairs.added(start, questions, left), pairs.taken(start, questions, left)
    right, against = sets_of(correct), sets_of(wrong)
    for subset in itertools.combinations(range(start, count), left):
        places = [member - start for member in subset]
        assert added[places].sum() >= len(set().union(*(right[m] for m in subset)) & mask) - 1e-9
        assert taken[places].sum() <= len(set().union(*(against[m] for m in subset)) & mask) + 1e-9


@given(pools(), st.data())
def test_a_prefix_is_completed_by_every_later_pair(pool, data):
    correct, wrong = pool
    start = data.draw(st.integers(0, len(correct) - 2))
    union = np.bitwise_or.reduce(correct[:start], axis=0, initial=0).astype(np.uint64)
    wrongs = np.bitwise_or.reduce(wrong[:start], axis=0, initial=0).astype(np.uint64)
    right, against = sets_of(correct), sets_of(wrong)
    members, unions, contradicted = Pairs(correct, wrong).completed(start, union, wrongs)
    assert members.tolist() == [
        list(pair) for pair in itertools.combinations(range(start, len(correct)), 2)
    ]
    for pair, some_right, both in zip(members.tolist(), unions, contradicted, strict=True):
        subset = [*range(start), *pair]
        every = set().union(*(right[m] for m in subset))
        assert (some_right, both) == (
            len(every),
            len(every & set().union(*(against[m] for m in subset))),
        )


def test_bounds_are_tight_for_members_that_share_nothing():
    correct = np.array([[0b000111], [0b111000], [0b1000000]], np.uint64)
    pairs, every = Pairs(correct, correct), np.array([2**64 - 1], np.uint64)
    assert pairs.added(0, every, 3).tolist() == pairs.taken(0, every, 3).tolist() == [3, 3, 1]


def test_equal_members_take_what_one_takes():
    same = np.full((3, 1), 0b111111, np.uint64)
    taken = Pairs(same, same).taken(0, np.array([2**64 - 1], np.uint64), 3)
    assert taken.sum() == pytest.approx(6)
