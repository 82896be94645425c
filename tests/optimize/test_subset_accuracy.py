"""Subsets ranked by what the paper's rule scores with them, against the rule itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux import ConfigurationError
from dspy_mux.optimize import search as searching
from dspy_mux.optimize.search import search
from dspy_mux.optimize.subset_accuracy import count_right, rank_codes
from dspy_mux.voting.ballot import Ballot, by_accuracy
from dspy_mux.voting.rules import Consistency
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.tuning import drawn_records, plain_record


def accuracy(record, subset, a_i):
    """Question by question, with the rule itself."""
    right = 0
    for votes, scores in zip(record.votes, record.scores, strict=True):
        ballots = [
            Ballot(
                record.members[m],
                tuple(None if v == ABSTAINED else int(v) for v in votes[m]),
                float(a_i[m]),
            )
            for m in subset
        ]
        choice = Consistency().choose(ballots)
        if choice is not None:
            member = subset[choice.ballot]
            right += scores[member, votes[member].tolist().index(choice.answer)] >= 1
    return right / len(record.questions)


@settings(max_examples=150)
@given(drawn_records(), st.integers(1, 6))
def test_every_subset_scores_as_the_rule_does(record, top):
    a_i = Tally(record.votes).plurality_scores(record.scores).mean(axis=0)
    sizes = range(1, len(record.members) + 1)
    every = [
        subset
        for size in sizes
        for subset in itertools.combinations(range(len(record.members)), size)
    ]
    expected = sorted(
        every, key=lambda subset: (-accuracy(record, subset, a_i), len(subset), subset)
    )
    found = search(record, sizes, by="accuracy", top=top)
    assert found.evaluated == len(every)
    assert found.exact
    assert [each.members for each in found.results] == [
        tuple(record.members[m] for m in subset) for subset in expected[:top]
    ]
    for each, subset in zip(found.results, expected, strict=False):
        assert each.accuracy == pytest.approx(accuracy(record, subset, a_i))
        assert each.accuracy <= each.union_accuracy, "the rule never scores above the union"


@given(drawn_records(max_members=5))
def test_all_subsets_of_a_size_come_once(record):
    tally = Tally(record.votes)
    table = rank_codes(
        tally, record.scores, by_accuracy(tally.plurality_scores(record.scores).mean(axis=0)), 1.0
    )
    for size in range(1, len(record.members) + 1):
        subsets = [
            (*prefix, *tail)
            for prefix, tails, right in count_right(table, size)
            for tail in tails.tolist()
        ]
        assert sorted(subsets) == list(itertools.combinations(range(len(record.members)), size))


def test_more_members_than_a_byte_can_rank():
    random = np.random.default_rng(0)
    votes = random.integers(-1, 3, (20, 200, 2))
    record = plain_record(votes, votes == 0)
    a_i = Tally(votes).plurality_scores(record.scores).mean(axis=0)
    for each in search(record, [2], by="accuracy", top=5).results:
        subset = [record.members.index(name) for name in each.members]
        assert each.accuracy == pytest.approx(accuracy(record, subset, a_i))


def test_fewer_draws_are_a_mean_over_choices():
    random = np.random.default_rng(1)
    votes = random.integers(0, 2, (30, 4, 5))
    record = plain_record(votes, votes == 0)
    found = search(record, [2], k=3, by="accuracy", top=1)
    assert search(record, [2], k=3, by="accuracy", top=1).results == found.results
    assert 0 <= found.results[0].accuracy <= 1


def test_too_many_subsets_are_refused(monkeypatch):
    monkeypatch.setattr(searching, "ENUMERABLE", 3)
    with pytest.raises(ConfigurationError, match="6 subsets are too many to be ranked by accuracy"):
        search(plain_record(np.zeros((3, 4, 1), int), np.ones((3, 4, 1))), [2], by="accuracy")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "pooled"}, "by the accuracy of consistency.* to get the accuracy of pooled"),
        ({"time_limit": 5.0}, "a time limit is only"),
    ],
)
def test_options_of_the_other_ranking_are_refused(options, message):
    record = plain_record(np.zeros((3, 4, 1), int), np.ones((3, 4, 1)))
    with pytest.raises(ConfigurationError, match=message):
        search(record, [2], by="accuracy", **options)
    assert search(record, [2], by="accuracy", rule="consistency").exact
