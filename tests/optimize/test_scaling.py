"""Scaling and the search behind it, against a second computation in plain sets and loops."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux.bank.record import Record
from dspy_mux.errors import ConfigurationError
from dspy_mux.optimize.figures import scaling_figures
from dspy_mux.optimize.scaling import RULES, scale
from dspy_mux.optimize.search import most_accurate
from dspy_mux.replay.resample import redrawn
from dspy_mux.replay.splits import Split, holdout

from ..support.tuning import skilled_record


@st.composite
def records(draw, max_draws=3):
    questions, members, draws = (
        draw(st.integers(4, 14)),
        draw(st.integers(2, 4)),
        draw(st.integers(1, max_draws)),
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    votes = random.integers(-1, 3, (questions, members, draws))
    truth = random.integers(0, 2, (questions, 1, 1))
    return Record(
        tuple("abcd"[:members]),
        tuple(map(str, range(questions))),
        votes,
        (votes == truth).astype(float),
        {},
    )


# --- the second computation ----------------------------------------------------------------------


def ballot(record, question, member):
    """(answer, draws that gave it, whether it is right); (None, 0, False) where all abstained."""
    votes = [int(vote) for vote in record.votes[question, member]]
    given_ = [vote for vote in votes if vote >= 0]
    if not given_:
        return None, 0, False
    most = max(Counter(given_).values())
    answer = next(vote for vote in given_ if given_.count(vote) == most)
    return answer, most, bool(record.scores[question, member][votes.index(answer)] >= 1)


def terms(record, questions, subset):
    """(union, contradiction) in questions."""
    union = contradiction = 0
    for question in questions:
        outcomes = [ballot(record, question, member) for member in subset]
        right = any(each[2] for each in outcomes)
        union += right
        contradiction += right and any(
            count == record.votes.shape[2] and not fits for _, count, fits in outcomes
        )
    return union, contradiction


def best_subset(record, questions, size):
    """By O(S) at λ = 1; the first in pool order among equals."""
    subsets = list(itertools.combinations(range(len(record.members)), size))
    values = [
        union - contradiction
        for union, contradiction in (terms(record, questions, subset) for subset in subsets)
    ]
    return subsets[values.index(max(values))]


def decided(record, question, subset, rule, accuracies):
    """Whether the rule's answer is right."""
    if rule == "consistency":
        order = sorted(
            subset, key=lambda member: -accuracies[member]
        )  # stable: pool order among equals
        return max(
            (ballot(record, question, member) for member in order), key=lambda outcome: outcome[1]
        )[2]
    votes = [
        (int(vote), member, at)
        for member in subset
        for at, vote in enumerate(record.votes[question, member])
        if vote >= 0
    ]
    if not votes:
        return False
    counts = Counter(vote for vote, _, _ in votes)
    winner = next(each for each in votes if counts[each[0]] == max(counts.values()))
    return bool(record.scores[question, winner[1], winner[2]] >= 1)


def slowly(record, size, rule, splits):
    """(accuracy, union, contradiction), each the mean over the splits' test parts."""
    figures = []
    for split in splits:
        train, test = split.train.tolist(), split.test.tolist()
        subset = best_subset(record, train, size)
        accuracies = {
            member: sum(ballot(record, q, member)[2] for q in train) / len(train)
            for member in subset
        }
        right = sum(decided(record, question, subset, rule, accuracies) for question in test)
        figures.append([value / len(test) for value in (right, *terms(record, test, subset))])
    return np.mean(figures, axis=0).tolist()


# --- the curves ----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(records())
def test_points_over_members_match_plain_loops(record):
    splits = holdout(len(record.questions), repeats=3)
    curves = scale(record, k=record.votes.shape[2], splits=splits)
    assert [(point.size, point.rule) for point in curves.by_members] == [
        (size, rule) for size in range(1, len(record.members) + 1) for rule in RULES
    ]
    for point in curves.by_members:
        found = [point.accuracy, point.union_accuracy, point.contradiction]
        assert found == pytest.approx(slowly(record, point.size, point.rule, splits))


@settings(max_examples=40)
@given(records(max_draws=4), st.integers(1, 3))
def test_consistency_is_never_above_the_union(record, k):
    curves = scale(
        record, k=min(k, record.votes.shape[2]), splits=holdout(len(record.questions), repeats=2)
    )
    for point in curves.by_members + curves.by_draws:
        assert point.rule == "pooled" or point.accuracy <= point.union_accuracy + 1e-12
        assert point.contradiction <= 1


def a_bank(draws=5, count=120):
    """A sure and weak member, an unsure and better one, and one that copies the first."""
    random = np.random.default_rng(7)
    sure = np.repeat(random.random((count, 1, 1)) < 0.6, draws, axis=2)
    unsure = random.random((count, 1, draws)) < 0.7
    right = np.concatenate([sure, unsure, sure], axis=1)
    return Record(
        ("sure", "unsure", "copy"),
        tuple(map(str, range(count))),
        np.where(right, 0, 1),
        right.astype(float),
        {},
    )


def test_the_curve_over_draws_has_the_size_given():
    curves = scale(a_bank(), k=3, size=2)
    assert {(point.size, point.k) for point in curves.by_draws} == {(2, k) for k in (2, 3, 4, 5)}
    assert "copy" not in curves.by_draws[-1].members
    assert {(gain.setting, gain.size) for gain in curves.gains} == {("2 draws", 2), ("best", 2)}


def test_the_gain_at_two_draws_matches_the_curve():
    curves = scale(a_bank(), k=3, size=2)
    mux, forest = curves.by_draws[:2]
    two, _ = curves.gains
    assert (two.mux, two.forest, two.mux_k, two.forest_k) == (mux.accuracy, forest.accuracy, 2, 2)
    assert two.mean == pytest.approx(mux.accuracy - forest.accuracy)
    assert two.low <= two.mean <= two.high


def test_the_best_k_is_chosen_out_of_sample():
    # Draws are right, wrong, right on one half, and right, wrong, wrong on the other: k=3 decides
    # well on the first and badly on the second.
    count = 40
    right = np.zeros((count, 2, 3), bool)
    right[:, :, 0] = True
    right[: count // 2, :, 2] = True
    votes = np.where(right, 0, 1)
    record = Record(("a", "b"), tuple(map(str, range(count))), votes, right.astype(float), {})
    train, test = np.arange(count // 2), np.arange(count // 2, count)
    curves = scale(record, k=3, size=2, splits=[Split(train, test)])
    best = curves.gains[1]
    assert (best.mux_k, best.mux) == (3, 0.0)
    other_way = scale(record, k=3, size=2, splits=[Split(test, train)]).gains[1]
    assert other_way.mux_k == other_way.forest_k == 2
    assert 0.5 < other_way.mux < 1


def test_one_recorded_draw_has_one_setting():
    curves = scale(a_bank(draws=1), k=1, size=2)
    assert [gain.setting for gain in curves.gains] == ["1 draw", "best"]


def test_the_default_k_is_what_the_bank_and_k_max_allow():
    assert scale(a_bank(draws=2), k_max=9).k == 2
    assert scale(a_bank(draws=4), k_max=2).k == 2
    assert scale(a_bank(draws=4)).k == 3


@pytest.mark.parametrize("name", ["k", "k_max", "max_members"])
def test_a_number_below_one_is_refused_by_its_name(name):
    with pytest.raises(ConfigurationError, match=f"^{name} must be 1 or more, not 0"):
        scale(a_bank(), **{name: 0})


def test_a_size_that_no_subset_has_is_refused():
    with pytest.raises(ConfigurationError, match="from 1 to 3 members"):
        scale(a_bank(), k=3, size=4)


def test_the_figures_are_plain_values_for_json():
    curves = scale(a_bank(), k=2, size=1).as_dict()
    assert curves.keys() == {"by_members", "by_draws", "gains", "k", "sweet_spot", "reason"}
    assert curves["gains"][0]["mean"] == 0  # of one member both methods are its self-consistency


# --- beside it -----------------------------------------------------------------------------------


@settings(max_examples=60)
@given(records(), st.data())
def test_the_most_accurate_members_match_plain_loops(record, data):
    size = data.draw(st.integers(1, len(record.members)))
    questions = range(len(record.questions))
    right = [
        sum(ballot(record, question, member)[2] for question in questions)
        for member in range(len(record.members))
    ]
    order = sorted(range(len(right)), key=lambda member: -right[member])[:size]
    assert most_accurate(record, size) == tuple(record.members[member] for member in sorted(order))


@settings(max_examples=60)
@given(records(max_draws=5), st.data())
def test_redrawn_keeps_k_draws_in_their_order(record, data):
    k = data.draw(st.integers(1, record.votes.shape[2]))
    spent = (
        record.votes + 10.0
    )  # a count beside each draw, to see that what a draw took stays with it
    whole = Record(record.members, record.questions, record.votes, record.scores, {}, calls=spent)
    part = redrawn(whole, k, np.random.default_rng(0))
    assert part.votes.shape == (*record.votes.shape[:2], k)
    assert np.array_equal(part.calls, part.votes + 10.0)
    for question, member in np.ndindex(part.votes.shape[:2]):
        left = iter(
            zip(record.votes[question, member], record.scores[question, member], strict=True)
        )
        assert all(
            each in left
            for each in zip(
                part.votes[question, member], part.scores[question, member], strict=True
            )
        )


def test_more_draws_than_recorded_are_refused():
    with pytest.raises(ConfigurationError, match="fewer than k=6"):
        redrawn(a_bank(), 6, np.random.default_rng(0))


def test_complementary_members_raise_the_union():
    curves = scale(skilled_record([0.5, 0.5, 0.5], count=200, draws=5), k=3, max_members=3)
    unions = [point.union_accuracy for point in curves.by_members if point.rule == "consistency"]
    assert unions == sorted(unions)
    assert {point.rule for point in curves.by_members} == {"consistency", "pooled"}
    assert sorted({point.k for point in curves.by_draws}) == [2, 3, 4, 5]
    assert curves.sweet_spot.size in (1, 2, 3)
    assert str(curves.sweet_spot.size) in curves.reason
    assert [figure.layout.xaxis2.title.text for figure in scaling_figures(curves)] == [
        "members",
        "draws per member (k)",
    ]


def test_scaling_scores_are_out_of_sample():
    # Members guess: chosen on the questions that score them, they would look better than they are.
    random = np.random.default_rng(0)
    right = random.random((60, 8, 1)) < 0.5
    record = Record(
        tuple("abcdefgh"),
        tuple(map(str, range(60))),
        np.where(right, 0, 1),
        right.astype(float),
        {},
    )
    curves = scale(record, k=1, max_members=1, splits=holdout(60, repeats=40))
    assert curves.by_members[0].accuracy < 0.56


def test_k_above_the_record_is_refused():
    with pytest.raises(ConfigurationError, match="fewer than k=9"):
        scale(skilled_record([0.5, 0.5]), k=9)
