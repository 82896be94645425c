"""Exact search against brute force over plain sets."""

from __future__ import annotations

import itertools
import math
import types
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.errors import ConfigurationError
from dspy_mux.optimize import branch_and_bound, search as searching
from dspy_mux.optimize.enumeration import Best, enumerate_subsets
from dspy_mux.optimize.search import Outcomes, _branch_and_bound, most_accurate, search
from dspy_mux.replay import resample

from ..support.tuning import drawn_records, plain_record

# Quarters are exact in binary, so that equal objectives are equal floats and ties are true ties.
penalties = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 1e3, 1e6])


def outcome(votes, scores):
    """(correct, consistently wrong) of one member on one question."""
    given = [vote for vote in votes if vote >= 0]
    if not given:
        return False, False
    most = max(map(given.count, given))
    answer = next(vote for vote in given if given.count(vote) == most)
    correct = scores[votes.index(answer)] >= 1
    return correct, most == len(votes) and not correct


def brute_force(record, sizes, penalty):
    """(members, objective, union, contradiction) of every subset, best first, from plain sets."""
    questions, count = len(record.questions), len(record.members)
    outcomes = [
        [outcome(record.votes[q, m].tolist(), record.scores[q, m].tolist()) for m in range(count)]
        for q in range(questions)
    ]
    correct = [{q for q in range(questions) if outcomes[q][m][0]} for m in range(count)]
    wrong = [{q for q in range(questions) if outcomes[q][m][1]} for m in range(count)]
    found = []
    for size in sizes:
        for subset in itertools.combinations(range(count), size):
            union = set().union(*(correct[m] for m in subset))
            contradicted = union & set().union(*(wrong[m] for m in subset))
            value = Fraction(len(union)) - Fraction(penalty) * len(contradicted)
            found.append((-value, size, subset, len(union), len(contradicted)))
    return [
        (
            tuple(record.members[m] for m in subset),
            float(-value / questions),
            union / questions,
            contradicted / questions,
        )
        for value, _, subset, union, contradicted in sorted(found)
    ]


def terms(found):
    return [
        (each.members, each.objective, each.union_accuracy, each.contradiction)
        for each in found.results
    ]


# --- exact ---------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(drawn_records(), penalties, st.integers(1, 8))
def test_the_best_of_all_sizes_match_brute_force(record, penalty, top):
    sizes = range(1, len(record.members) + 1)
    found, expected = (
        search(record, sizes, penalty=penalty, top=top),
        brute_force(record, sizes, penalty),
    )
    assert terms(found) == expected[:top]
    assert (found.evaluated, found.exact, found.gap) == (len(expected), True, 0.0)


@settings(max_examples=200)
@given(drawn_records(), penalties, st.integers(1, 5), st.data())
def test_the_best_of_each_size_match_brute_force(record, penalty, top, data):
    size = data.draw(st.integers(1, len(record.members)))
    assert (
        terms(search(record, [size], penalty=penalty, top=top))
        == brute_force(record, [size], penalty)[:top]
    )


@given(drawn_records(max_members=5, max_questions=150), penalties)
def test_questions_beyond_one_word_are_counted(record, penalty):
    assert (
        terms(search(record, [2] if len(record.members) > 1 else [1], penalty=penalty))[:1]
        == (brute_force(record, [2] if len(record.members) > 1 else [1], penalty)[:1])
    )


@settings(max_examples=200)
@given(drawn_records(max_members=8), penalties, st.integers(1, 6), st.data())
def test_branch_and_bound_matches_enumeration(record, penalty, top, data):
    size = data.draw(st.integers(1, len(record.members)))
    both_find_the_same(record, size, penalty, top)


def both_find_the_same(record, size, penalty, top):
    outcomes, one = Outcomes.from_record(record), Best(top)
    bits = outcomes.correct, outcomes.wrong, outcomes.rows
    assert enumerate_subsets(*bits, size, penalty, one) == math.comb(len(record.members), size)
    for paired in (
        branch_and_bound._PAIRED,
        0,
    ):  # pools too large for that are not looked at pair by pair
        other = Best(top)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(branch_and_bound, "_PAIRED", paired)
            _, gap = _branch_and_bound(outcomes, size, penalty, other, None)
        assert gap == 0.0
        assert one.subsets() == other.subsets()


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("strength", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("size", [5, 7])
def test_branch_and_bound_matches_enumeration_in_larger_pools(size, strength, penalty):
    random = np.random.default_rng(int(10 * strength))
    right = random.random((200, 16, 1)) < random.beta(6 * strength, 6 * (1 - strength), (1, 16, 1))
    sure = random.random((200, 16, 1)) < 0.5
    votes = np.concatenate(
        [np.where(right, 0, 1), np.where(right, 0, np.where(sure, 1, 2))], axis=2
    )
    both_find_the_same(plain_record(votes, votes == 0), size, penalty, 3)


@given(drawn_records())
def test_without_a_penalty_the_union_ranks(record):
    best = search(record, range(1, len(record.members) + 1), penalty=0.0).results[0]
    everyone = brute_force(record, [len(record.members)], 0.0)[0]
    assert best.objective == best.union_accuracy == best.ceiling == everyone[2]


@given(drawn_records(), penalties)
def test_ceiling_and_floor_are_the_objectives_ends(record, penalty):
    for each in search(record, range(1, len(record.members) + 1), penalty=penalty, top=100).results:
        assert each.ceiling == each.union_accuracy
        assert each.floor == each.union_accuracy - each.contradiction
        assert each.objective == pytest.approx(each.union_accuracy - penalty * each.contradiction)


@given(drawn_records(draws=1))
def test_one_draw_scores_between_floor_and_ceiling(record):
    # With more draws only the ceiling holds: an unsure wrong answer can beat an unsure right one.
    for each in search(
        record, range(1, len(record.members) + 1), top=100, rule="consistency"
    ).results:
        assert each.floor - 1e-12 <= each.accuracy <= each.ceiling + 1e-12


@given(drawn_records())
def test_consistency_never_scores_above_the_ceiling(record):
    for each in search(
        record, range(1, len(record.members) + 1), top=100, rule="consistency"
    ).results:
        assert each.accuracy <= each.ceiling + 1e-12


@pytest.mark.parametrize("penalty", [0.0, 0.5, 1.0, 3.0])
def test_the_standard_error_is_over_questions(penalty):
    record = plain_record(np.random.default_rng(1).integers(0, 3, (40, 2, 1)), np.zeros((40, 2, 1)))
    scores = (record.votes == 0).astype(float)
    best = search(plain_record(record.votes, scores), [2], penalty=penalty).results[0]
    outcomes = [
        [outcome(record.votes[q, m].tolist(), scores[q, m].tolist()) for m in range(2)]
        for q in range(40)
    ]
    values = [
        any(c for c, _ in both) - penalty * (any(c for c, _ in both) and any(w for _, w in both))
        for both in outcomes
    ]
    assert best.objective == pytest.approx(float(np.mean(values)))
    assert best.stderr == pytest.approx(float(np.std(values) / np.sqrt(40)))


def test_a_hand_worked_pool():
    # a is unanimous: right on three of four. b is right on the fourth, and unanimously wrong on the
    # first. c only abstains.
    votes = [
        [[0, 0], [1, 1], [-1, -1]],
        [[0, 0], [1, 2], [-1, -1]],
        [[0, 0], [1, -1], [-1, -1]],
        [[0, 0], [1, 1], [-1, -1]],
    ]
    right = [[1, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]
    record = plain_record(votes, np.repeat(np.array(right)[:, :, None], 2, axis=2))
    found = search(record, [1, 2, 3], penalty=1.0)
    # a and b: all four right, contradicted by b on the first and by a on the fourth; c adds and
    # takes nothing.
    assert terms(found) == [
        (("m0",), 0.75, 0.75, 0.0),
        (("m0", "m2"), 0.75, 0.75, 0.0),
        (("m0", "m1"), 0.5, 1.0, 0.5),
        (("m0", "m1", "m2"), 0.5, 1.0, 0.5),
        (("m1",), 0.25, 0.25, 0.0),
        (("m1", "m2"), 0.25, 0.25, 0.0),
        (("m2",), 0.0, 0.0, 0.0),
    ]


def test_the_threshold_says_what_is_correct():
    record = plain_record(np.zeros((2, 1, 2), int), np.full((2, 1, 2), 0.5))
    assert search(record, [1], threshold=0.5).results[0].union_accuracy == 1.0
    assert search(record, [1]).results[0].union_accuracy == 0.0


def test_fewer_draws_average_over_seeded_choices():
    votes = np.random.default_rng(0).integers(0, 3, (30, 4, 6))
    record = plain_record(votes, votes == 0)
    one, again, other = (terms(search(record, [2], k=2, seed=seed)) for seed in (0, 0, 1))
    assert one == again != other
    assert Outcomes.from_record(record, k=2).rows == 30 * resample.OBJECTIVE_RESAMPLES


def test_the_most_accurate_members_stand_in_pool_order():
    votes = np.zeros((4, 3, 1), int)
    scores = np.array([[[0], [1], [1]], [[0], [1], [1]], [[0], [0], [1]], [[0], [0], [1]]])
    assert most_accurate(plain_record(votes, scores), 2) == ("m1", "m2")
    assert most_accurate(plain_record(votes, scores), 1) == ("m2",)


def test_a_subset_is_plain_values_for_json():
    plain = (
        search(plain_record(np.zeros((2, 2, 1), int), np.ones((2, 2, 1))), [2], rule="pooled")
        .results[0]
        .as_dict()
    )
    assert plain["members"] == ["m0", "m1"]
    assert plain["accuracy"] == plain["ceiling"] == plain["floor"] == plain["objective"] == 1.0


# --- pools too large to enumerate ----------------------------------------------------------------


@pytest.fixture
def large(monkeypatch):
    """Every pool counts as too large, and its best subset is known by enumeration."""
    votes = np.random.default_rng(3).integers(0, 4, (60, 12, 2))
    record = plain_record(votes, votes == 0)
    best = search(record, [4]).results[0]
    monkeypatch.setattr(searching, "ENUMERABLE", 0)
    return record, best


def ticking(monkeypatch):
    """A clock that advances 1 s per reading: the limit is a number of steps on any machine."""
    ticks = itertools.count()
    clock = types.SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(searching, "time", clock)
    monkeypatch.setattr(branch_and_bound, "time", clock)


def test_a_large_pool_without_limit_is_proven(large):
    record, best = large
    found = search(record, [4], top=3)
    assert (found.exact, found.gap) == (True, 0.0)
    assert found.results[0] == best
    assert found.results[0].members == best.members


@pytest.mark.parametrize("steps", [8, 12, 20, 50, 200, 1000])
@pytest.mark.parametrize("top", [1, 5])
def test_a_search_cut_short_bounds_its_gap(large, monkeypatch, steps, top):
    record, best = large
    ticking(monkeypatch)
    found = search(record, [4], time_limit=float(steps), top=top)
    if found.results:
        assert best.objective <= found.results[0].objective + found.gap + 1e-12
    else:
        assert found.gap > 0
    assert found.exact == (found.gap == 0.0)
    if found.exact:
        assert found.results[0].objective == best.objective


@pytest.mark.parametrize("sizes", [[4], [3, 4]])
def test_a_search_without_any_time_proves_nothing(large, monkeypatch, sizes):
    record, _ = large
    ticking(monkeypatch)
    found = search(record, sizes, time_limit=0.0)
    assert not found.exact
    assert found.gap > 0


def test_a_size_not_reached_is_not_proven(large, monkeypatch):
    record, _ = large
    best = search(record, [4], penalty=0.0).results[0]
    monkeypatch.setattr(searching, "ENUMERABLE", math.comb(12, 2))
    ticking(monkeypatch)
    found = search(record, [2, 4], penalty=0.0, time_limit=0.0)
    assert found.results[0].objective + found.gap >= best.objective
    assert not found.exact


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [2, np.int64(2)])
def test_one_size_is_a_number_too(sizes):
    record = plain_record(np.zeros((2, 3, 1), int), np.zeros((2, 3, 1)))
    assert search(record, sizes).results == search(record, [2]).results


@pytest.mark.parametrize("sizes", [[], [0], 0, [4], [-1, 2], range(1, 5)])
def test_sizes_that_no_subset_can_have_are_refused(sizes):
    with pytest.raises(ConfigurationError, match="Subsets of 3 members have from 1 to 3 members"):
        search(plain_record(np.zeros((2, 3, 1), int), np.zeros((2, 3, 1))), sizes)


def test_of_one_member_there_is_nothing_to_choose():
    with pytest.raises(ConfigurationError, match="There is one member, and nothing to choose"):
        search(plain_record(np.zeros((2, 1, 1), int), np.zeros((2, 1, 1))), [2, 3])


@pytest.mark.parametrize("penalty", [-0.1, 1e200, 1e308, math.inf, math.nan])
def test_a_penalty_out_of_range_is_refused(penalty):
    with pytest.raises(ConfigurationError, match="penalty λ must be 0 or more"):
        search(plain_record(np.zeros((2, 3, 1), int), np.zeros((2, 3, 1))), [2], penalty=penalty)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"top": 0}, "must be 1 or more"),
        ({"k": 2}, "fewer than k=2"),
        ({"k": 0}, "k must be 1 or more"),
    ],
)
def test_other_bad_settings_are_refused(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        search(plain_record(np.zeros((2, 3, 1), int), np.zeros((2, 3, 1))), [2], **settings)
