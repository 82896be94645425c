"""The rules over arrays decide as they do on live ballots, question by question."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from dspy_mux.voting.ballot import Ballot, Choice, by_accuracy
from dspy_mux.voting.rules import Consistency, Pooled, SelfConsistencyRule
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.votes import batches, order_of, tally_of


def assert_same(picks, rule, batch):
    for row, ballots in enumerate(batch):
        choice = rule.choose(ballots)
        if choice is None:
            assert picks.member[row] == -1
            continue
        member, draw = int(picks.member[row]), int(picks.draw[row])
        assert (member, ballots[member].votes[draw], picks.confidence[row]) == (
            choice.ballot,
            choice.answer,
            choice.confidence,
        )
        assert draw == ballots[member].votes.index(choice.answer)


@given(batches())
def test_consistency_over_arrays_is_the_paper_s_rule(batch):
    assert_same(Consistency().pick(tally_of(batch), order_of(batch)), Consistency(), batch)


@given(batches())
def test_pooled_over_arrays_is_agent_forest(batch):
    assert_same(Pooled().pick(tally_of(batch), []), Pooled(), batch)


@given(batches())
def test_arrays_give_self_consistency_of_each_member(batch):
    for index, ballot in enumerate(batch[0]):
        assert_same(
            SelfConsistencyRule().pick(tally_of(batch), [index]),
            SelfConsistencyRule(ballot.member),
            batch,
        )


@given(batches())
def test_self_consistency_takes_the_first_in_order(batch):
    assert_same(
        SelfConsistencyRule().pick(tally_of(batch), order_of(batch)), SelfConsistencyRule(), batch
    )


@given(batches())
def test_one_questions_tally_is_its_row(batch):
    whole = tally_of(batch)
    for row, ballots in enumerate(batch):
        one = Tally.of(ballots)
        assert one.k.tolist() == whole.k.tolist()
        assert one.votes[0].tolist() == whole.votes[row].tolist()


@given(batches())
def test_plurality_and_confidence_match_the_ballot(batch):
    tally = tally_of(batch)
    for row, ballots in enumerate(batch):
        for index, ballot in enumerate(ballots):
            plurality = tally.plurality[row, index]
            assert (None if plurality == ABSTAINED else plurality) == ballot.plurality
            assert tally.confidence[row, index] == ballot.confidence


@given(batches(), st.integers(0, 2**32 - 1))
def test_consistency_never_scores_above_union(batch, seed):
    tally = tally_of(batch)
    scores = np.random.default_rng(seed).choice([0.0, 0.5, 1.0], tally.votes.shape)
    picked = Consistency().pick(tally, order_of(batch)).scores(scores)
    union = tally.plurality_scores(scores).max(axis=1)
    assert (picked <= union).all()


@given(batches())
def test_a_member_that_only_abstains_changes_nothing(batch):
    silent = [[*ballots, Ballot("silent", (None, None), 1.0)] for ballots in batch]
    with_it, without = (
        Consistency().pick(tally_of(silent), order_of(silent)),
        Consistency().pick(tally_of(batch), order_of(batch)),
    )
    assert with_it.member.tolist() == without.member.tolist()
    assert with_it.draw[with_it.member >= 0].tolist() == without.draw[without.member >= 0].tolist()


def test_padding_is_no_draw():
    tally = Tally(np.array([[[0, 0, 1, 1], [2, 2, ABSTAINED, ABSTAINED]]]), [4, 2])
    picks = Consistency().pick(tally, by_accuracy([None, None]))
    assert (int(picks.member[0]), int(picks.draw[0]), float(picks.confidence[0])) == (1, 0, 1.0)


def test_accuracy_breaks_ties_then_pool_order():
    assert by_accuracy([0.5, None, 0.75, 0.75, 0.0]) == [2, 3, 0, 4, 1]
    tally = Tally(np.array([[[0, 0], [1, 1], [2, 2]]]))
    assert Consistency().pick(tally, by_accuracy([0.1, 0.3, 0.3])).member.tolist() == [1]


def test_abstentions_alone_have_no_winner():
    tally = Tally(np.full((1, 2, 3), ABSTAINED))
    for picks in (
        Consistency().pick(tally, by_accuracy([None, None])),
        Pooled().pick(tally, []),
        SelfConsistencyRule().pick(tally, [1]),
    ):
        assert picks.member.tolist() == [-1]
        assert picks.scores(np.ones((1, 2, 3))).tolist() == [0.0]
        assert picks.confidence.tolist() == [0.0]
    assert tally.plurality_scores(np.ones((1, 2, 3))).tolist() == [[0.0, 0.0]]


def test_the_score_is_the_first_winning_draws():
    """Draws of one answer may be graded differently."""
    tally = Tally(np.array([[[1, 0, 0]]]))
    scores = np.array([[[0.0, 0.25, 1.0]]])
    assert Consistency().pick(tally, by_accuracy([None])).scores(scores) == [0.25]
    assert tally.plurality_scores(scores).tolist() == [[0.25]]


@pytest.mark.parametrize("rule", ["consistency", "pooled"])
def test_a_hand_worked_question(rule):
    ballots = [
        Ballot("a", (0, 1, 1), 0.2),
        Ballot("b", (2, 2, None), 0.4),
        Ballot("c", (1, 0, 3), 0.9),
    ]
    tally = Tally.of(ballots)
    if rule == "consistency":
        picks, chosen = (
            Consistency().pick(tally, by_accuracy([0.2, 0.4, 0.9])),
            Choice(2, 1, 2 / 3, "accuracy"),
        )
        assert Consistency().choose(ballots) == chosen
    else:
        picks, chosen = Pooled().pick(tally, []), Choice(1, 0, 3 / 9)
        assert Pooled().choose(ballots) == chosen
    member, draw = int(picks.member[0]), int(picks.draw[0])
    assert (member, tally.votes[0, member, draw], picks.confidence[0]) == (
        chosen.ballot,
        chosen.answer,
        chosen.confidence,
    )
