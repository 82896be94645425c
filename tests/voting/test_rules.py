"""The rules, by hand-worked cases and by properties that must hold for every pool."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from dspy_mux.errors import ConfigurationError
from dspy_mux.voting.ballot import Ballot, Choice
from dspy_mux.voting.rules import RULES, Consistency, Pooled, SelfConsistencyRule, rule_of

votes = st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=6).map(tuple)
accuracy = st.one_of(st.none(), st.sampled_from([0.25, 0.5, 0.75]))


@st.composite
def pools(draw, min_size=1, max_size=5):
    size = draw(st.integers(min_size, max_size))
    return [Ballot(f"m{i}", draw(votes), draw(accuracy)) for i in range(size)]


def answer(rule, ballots):
    choice = rule.choose(ballots)
    return None if choice is None else choice.answer


# --- a member's ballot ---------------------------------------------------------------------------


def test_abstentions_stay_in_the_denominator():
    assert Ballot("a", (1, None, None, None, None)).confidence == 0.2


def test_a_members_tie_goes_to_the_first():
    assert Ballot("a", (2, 1, 1, 2)).plurality == 2


def test_a_member_that_only_abstains_has_no_plurality():
    ballot = Ballot("a", (None, None))
    assert (ballot.plurality, ballot.confidence) == (None, 0.0)


# --- the paper's rule ----------------------------------------------------------------------------


def test_the_most_consistent_member_wins():
    ballots = [Ballot("a", (0, 0, 1), 0.9), Ballot("b", (2, 2, 2), 0.1)]
    assert Consistency().choose(ballots) == Choice(2, 1, 1.0, "nothing")


def test_a_tie_goes_to_the_higher_validation_accuracy():
    ballots = [Ballot("a", (0, 0), 0.5), Ballot("b", (1, 1), 0.7), Ballot("c", (2, 3), 0.9)]
    assert Consistency().choose(ballots) == Choice(1, 1, 1.0, "accuracy")


def test_a_measured_member_beats_an_unmeasured_one():
    assert Consistency().choose([Ballot("a", (0,)), Ballot("b", (1,), 0.1)]) == Choice(
        1, 1, 1.0, "accuracy"
    )


@pytest.mark.parametrize("known", [None, 0.6])
def test_equal_or_unknown_accuracies_keep_pool_order(known):
    assert Consistency().choose([Ballot("a", (0,), known), Ballot("b", (1,), known)]) == Choice(
        0, 0, 1.0, "pool order"
    )


def test_unequal_k_compares_shares_not_counts():
    assert answer(Consistency(), [Ballot("a", (0, 0, 0, 1)), Ballot("b", (2, 2))]) == 2


# --- the other rules -----------------------------------------------------------------------------


def test_pooled_takes_the_first_seen_among_equals():
    ballots = [Ballot("a", (0, 0, 1)), Ballot("b", (1, 1, 1)), Ballot("c", (2, None, 0))]
    assert Pooled().choose(ballots) == Choice(1, 0, 4 / 9, "nothing")
    assert Pooled().choose([Ballot("a", (5, 6)), Ballot("b", (6, 5))]) == Choice(
        5, 0, 0.5, "pool order"
    )


def test_self_consistency_takes_the_named_or_best_member():
    ballots = [Ballot("a", (0, 0, 0), 0.4), Ballot("b", (1, 1, 2), 0.6)]
    assert answer(SelfConsistencyRule(), ballots) == 1
    assert answer(SelfConsistencyRule("a"), ballots) == 0
    with pytest.raises(ConfigurationError, match="'z', which is not in the pool"):
        SelfConsistencyRule("z").choose(ballots)


def test_self_consistency_of_an_abstaining_member():
    assert SelfConsistencyRule("a").choose([Ballot("a", (None,)), Ballot("b", (1,))]) is None


def test_a_rule_is_a_name_or_object():
    class Last:
        name = "last"

        def choose(self, ballots):
            return Choice(ballots[-1].plurality, len(ballots) - 1, 1.0)

    assert rule_of("consistency") == Consistency()
    assert answer(rule_of(Last()), [Ballot("a", (0,)), Ballot("b", (1,))]) == 1
    nameless = Last()
    nameless.name = None
    for wrong in ("best", Last, object(), nameless):
        with pytest.raises(ConfigurationError, match="rule"):
            rule_of(wrong)


def test_calibrated_by_name_explains_how_to_fit():
    with pytest.raises(ConfigurationError, match="compile the mux with MuxOptimizer"):
        rule_of("calibrated")


# --- properties ----------------------------------------------------------------------------------


@given(pools(), st.data())
def test_the_order_of_other_members_draws_is_irrelevant(pool, data):
    before = Consistency().choose(pool)
    for index, ballot in enumerate(pool):
        if before is None or index != before.ballot:
            shuffled = tuple(data.draw(st.permutations(ballot.votes)))
            pool = [
                *pool[:index],
                Ballot(ballot.member, shuffled, ballot.accuracy),
                *pool[index + 1 :],
            ]
    assert Consistency().choose(pool) == before


@pytest.mark.parametrize("rule", [make() for make in RULES.values()], ids=str)
@given(pool=pools(), names=st.permutations(range(10, 14)))
def test_renaming_answers_renames_the_choice_and_nothing_else(rule, pool, names):
    renamed = [
        Ballot(b.member, tuple(None if v is None else names[v] for v in b.votes), b.accuracy)
        for b in pool
    ]
    before, after = rule.choose(pool), rule.choose(renamed)
    assert (before is None) == (after is None)
    if before and after:
        assert after == Choice(
            names[before.answer], before.ballot, before.confidence, before.tie_break
        )


@given(pools(), st.integers(0, 3))
def test_consistency_never_scores_above_the_union_bound(pool, correct):
    union = any(ballot.plurality == correct for ballot in pool)
    assert (answer(Consistency(), pool) == correct) <= union


@pytest.mark.parametrize("rule", [make() for make in RULES.values()], ids=str)
@given(vote=st.integers(0, 3), known=accuracy)
def test_one_member_with_one_draw_is_that_member(rule, vote, known):
    assert rule.choose([Ballot("only", (vote,), known)]) == Choice(vote, 0, 1.0, "nothing")


@given(pools(), st.integers(0, 5), st.integers(1, 4), accuracy)
def test_a_member_that_only_abstains_changes_nothing(pool, position, k, known):
    position = min(position, len(pool))
    joined = [*pool[:position], Ballot("silent", (None,) * k, known), *pool[position:]]
    before, after = Consistency().choose(pool), Consistency().choose(joined)
    assert (before is None) == (after is None)
    if before and after:
        assert (after.answer, after.confidence, after.tie_break) == (
            before.answer,
            before.confidence,
            before.tie_break,
        )
        assert joined[after.ballot] == pool[before.ballot]


@pytest.mark.parametrize("rule", [make() for make in RULES.values()], ids=str)
@given(pool=pools())
def test_a_choice_is_deterministic_and_on_its_ballot(rule, pool):
    choice = rule.choose(pool)
    assert choice == rule.choose(list(pool))
    if choice is not None:
        assert choice.answer in pool[choice.ballot].counts
        assert 0 < choice.confidence <= 1


@given(pools())
def test_more_abstentions_never_raise_confidence(pool):
    for ballot in pool:
        assert Ballot(ballot.member, (*ballot.votes, None)).confidence <= ballot.confidence


@pytest.mark.parametrize("rule", [make() for make in RULES.values()], ids=str)
@given(pool=pools(), data=st.data())
def test_failed_draws_never_raise_a_choices_confidence(rule, pool, data):
    failing = [
        tuple(None if data.draw(st.booleans()) else vote for vote in ballot.votes)
        for ballot in pool
    ]
    before = rule.choose(pool)
    after = rule.choose(
        [Ballot(b.member, votes, b.accuracy) for b, votes in zip(pool, failing, strict=True)]
    )
    assert after is None or (before is not None and after.confidence <= before.confidence)
