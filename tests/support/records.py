"""Rows to bring into a bank, and whether two records are the same."""

from __future__ import annotations

import numpy as np

from .rows import a_row


def some_rows(questions=4, members="ab", k=3):
    """Member b agrees with a on even questions; its last draw abstains."""
    return [
        a_row(
            f"q{q}",
            m,
            d,
            "" if (m, d) == ("b", k - 1) else "x" if m == "a" or q % 2 == 0 else f"y{d}",
            m == "a" or q % 2 == 0,
            task="ab"[q % 2],
            split="test" if q % 2 else "train",
        )
        for q in range(questions)
        for m in members
        for d in range(k)
    ]


def renamed(votes):
    """Votes with each question's classes numbered as they are met: equal for records that agree
    on what is equal."""
    told = []
    for question in votes:
        names = {}
        told.append(
            [
                vote if vote < 0 else names.setdefault(vote, len(names))
                for vote in question.ravel().tolist()
            ]
        )
    return told


def same(one, other, *, fields=True):
    assert (one.members, one.questions) == (other.members, other.questions)
    assert one.votes.shape == other.votes.shape
    assert renamed(one.votes) == renamed(other.votes)
    np.testing.assert_array_equal(one.scores, other.scores)
    if fields:
        ours, theirs = (
            {
                name: values
                for name, values in each.fields.items()
                if name not in ("question_id", "dataset")
            }
            for each in (one, other)
        )
        assert ours == theirs
    return True


def spent(record):
    return [
        None if values is None else values.tolist()
        for values in (record.calls, record.tokens, record.cost)
    ]
