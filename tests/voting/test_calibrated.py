"""The calibrated rule: what it learns, what it must never depend on, and how it is kept."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pydantic
import pytest
from hypothesis import given, strategies as st

from dspy_mux.errors import ConfigurationError, DataError
from dspy_mux.voting.ballot import Ballot, Rule, by_accuracy
from dspy_mux.voting.calibrated import Calibrated
from dspy_mux.voting.calibration import LEAST_QUESTIONS, Training, fit
from dspy_mux.voting.rules import Consistency
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.votes import drawn

MEMBERS = ("a", "b", "c")
ADAPTER = pydantic.TypeAdapter(Calibrated)


def fitted(votes, scores, **settings):
    return fit(Training(Tally(votes), scores, MEMBERS[: votes.shape[1]], **settings))


def ballots_of(votes):
    return [
        Ballot(name, tuple(None if vote == ABSTAINED else vote for vote in draws))
        for name, draws in zip(MEMBERS, votes.tolist(), strict=False)
    ]


@pytest.fixture(scope="module")
def rule():
    """One whose weights choose, whatever cross-validation would prefer."""
    found = dataclasses.replace(fitted(*drawn(300)), instead=None)
    assert any(found.weights)
    return found


@pytest.fixture(scope="module")
def by_topic():
    """b is never right outside topic y, where it always is; a the other way round."""
    votes = np.broadcast_to(np.array([[0, 0], [1, 1]]), (120, 2, 2))
    topics = ["xy"[at % 2] for at in range(120)]
    right = np.array([[topic == "x", topic == "y"] for topic in topics])
    return fitted(
        votes,
        np.repeat(right[:, :, None], 2, axis=2).astype(float),
        contexts=topics,
        context="topic",
    )


def same_picks(one, other):
    return all(
        np.array_equal(x, y)
        for x, y in (
            (one.member, other.member),
            (one.draw, other.draw),
            (one.confidence, other.confidence),
        )
    )


# --- fitting -------------------------------------------------------------------------------------


def test_the_same_draws_give_the_same_rule():
    assert fitted(*drawn()) == fitted(*drawn())


def test_fitting_changes_none_of_its_input():
    votes, scores = drawn()
    before = votes.copy(), scores.copy()
    fitted(votes, scores)
    assert (votes == before[0]).all()
    assert (scores == before[1]).all()


def test_a_member_always_right_beats_all_others():
    votes, scores = drawn(rates=(0.0, 1.0, 0.0))
    rule = fitted(votes, scores)
    assert rule.accuracies[1] == 1.0
    choice = rule.choose([Ballot("a", (0, 0, 0)), Ballot("b", (1, 1, 1)), Ballot("c", (0, 0, 0))])
    assert (choice.answer, choice.ballot) == (1, 1)
    assert choice.confidence > 0.8
    fresh, labels = drawn(rates=(0.0, 1.0, 0.0), seed=1)
    assert rule.pick(Tally(fresh)).scores(labels).mean() == 1.0


def test_one_right_member_outvotes_wrong_agreement():
    votes = np.broadcast_to(np.array([[0, 0], [0, 0], [1, 1]]), (40, 3, 2))
    rule = fitted(votes, (votes == 1).astype(float))
    assert rule.choose([Ballot("a", (4, 4)), Ballot("b", (4, 4)), Ballot("c", (7, 7))]).answer == 7


def test_few_questions_leave_the_papers_rule():
    votes, scores = drawn(LEAST_QUESTIONS - 1)
    rule = fitted(votes, scores)
    assert (rule.instead, rule.trained_on, any(rule.weights)) == (
        "consistency",
        LEAST_QUESTIONS - 1,
        False,
    )
    fresh, _ = drawn(seed=1)
    picked, paper = (
        rule.pick(Tally(fresh)),
        Consistency().pick(Tally(fresh), by_accuracy(rule.accuracies)),
    )
    rows = np.arange(len(fresh))
    assert (fresh[rows, picked.member, picked.draw] == fresh[rows, paper.member, paper.draw]).all()


def test_no_questions_leave_the_papers_rule():
    rule = fitted(np.zeros((0, 2, 3), int), np.zeros((0, 2, 3)))
    assert rule.choose([Ballot("a", (0, 1, 2)), Ballot("b", (3, 3, 3))]).answer == 3


def test_enough_questions_are_fitted_and_cross_validated():
    rule = fitted(*drawn(LEAST_QUESTIONS))
    assert set(rule.cross_validated) == {"calibrated", "self_consistency", "pooled", "consistency"}
    assert all(0 <= accuracy <= 1 for accuracy in rule.cross_validated.values())


@pytest.mark.parametrize("seed", range(4))
def test_a_rule_that_loses_cross_validation_never_chooses(seed):
    rule = fitted(*drawn(30, rates=(0.9, 0.2, 0.2), seed=seed))
    told = dict(rule.cross_validated)
    learned = told.pop("calibrated")
    best = max(told.values())
    assert learned >= best or rule.instead is not None
    assert rule.instead is None or told[rule.instead] == best


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_one_sided_training_keeps_to_pluralities(right):
    votes = np.zeros((40, 2, 3), int)
    rule = fitted(votes, np.full(votes.shape, right))
    assert rule.choose([Ballot("a", (0, 1, 1)), Ballot("b", (1, 1, 1))]).answer == 1


def test_the_threshold_says_what_is_right():
    votes, scores = drawn()
    halves = np.where(scores > 0, 0.5, 0.25)
    assert fitted(votes, halves, threshold=0.5) == fitted(votes, scores)
    assert fitted(votes, halves).accuracies == (0.0, 0.0, 0.0)


def test_members_keep_their_own_k():
    votes, scores = drawn()
    votes[:, 1, 1:] = ABSTAINED
    scores[:, 1, 1:] = 0
    rule = fit(Training(Tally(votes, [3, 1, 3]), scores, MEMBERS))
    assert [len(table) for table in rule.log_likelihoods] == [4, 2, 4]
    assert (
        rule.choose([Ballot("a", (0, 0, 0)), Ballot("b", (1,)), Ballot("c", (0, 0, None))]).answer
        == 0
    )


# --- choosing ------------------------------------------------------------------------------------


def test_one_question_is_chosen_as_in_a_batch(rule):
    votes, _ = drawn(seed=7)
    votes[3] = ABSTAINED
    picks = rule.pick(Tally(votes))
    for at, one in enumerate(votes):
        choice = rule.choose(ballots_of(one))
        if choice is None:
            assert picks.member[at] == -1
            continue
        assert (choice.ballot, choice.answer) == (
            picks.member[at],
            one[picks.member[at], picks.draw[at]],
        )
        assert choice.confidence == pytest.approx(picks.confidence[at], abs=1e-12)


def test_it_is_a_rule_a_mux_can_take(rule):
    assert isinstance(rule, Rule)
    assert rule.name == "calibrated"


def test_the_winning_draw_is_the_first_such(rule):
    votes, _ = drawn(seed=8)
    picks = rule.pick(Tally(votes))
    for one, member, draw in zip(votes, picks.member, picks.draw, strict=True):
        if member >= 0:
            assert one[member].tolist().index(one[member, draw]) == draw


def test_where_all_abstain_nothing_is_chosen(rule):
    votes, _ = drawn(20)
    votes[5] = ABSTAINED
    picks = rule.pick(Tally(votes))
    assert (picks.member[5], picks.confidence[5]) == (-1, 0.0)
    assert rule.choose([Ballot(name, (None, None, None)) for name in MEMBERS]) is None
    nobody = rule.pick(Tally(np.full((2, 3, 3), ABSTAINED)))
    assert nobody.member.tolist() == [-1, -1]


@given(st.integers(0, 10**6))
def test_confidence_is_a_probability(rule, seed):
    votes, _ = drawn(30, seed=seed)
    confidence = rule.pick(Tally(votes)).confidence
    assert ((confidence >= 0) & (confidence <= 1)).all()


@given(st.integers(0, 10**6))
def test_renaming_answers_changes_nothing(rule, seed):
    votes, _ = drawn(20, seed=seed)
    names = np.array(
        [np.random.default_rng([seed, at]).permutation(9)[:4] for at in range(len(votes))]
    )
    renamed = np.where(votes < 0, ABSTAINED, names[np.arange(len(votes))[:, None, None], votes])
    one, other = rule.pick(Tally(votes)), rule.pick(Tally(renamed))
    assert one.member.tolist() == other.member.tolist()
    assert one.draw.tolist() == other.draw.tolist()
    assert one.confidence == pytest.approx(other.confidence)


def test_renaming_answers_of_the_training_split_changes_nothing():
    votes, scores = drawn()
    renamed = np.where(votes < 0, ABSTAINED, 3 - votes)
    one, other = fitted(votes, scores), fitted(renamed, scores)
    assert one.instead == other.instead
    assert one.weights == pytest.approx(other.weights, abs=1e-3)


def test_a_bolder_agreement_is_believed_more(rule):
    sure = rule.choose([Ballot(name, (0, 0, 0)) for name in MEMBERS])
    split = rule.choose([Ballot("a", (0, 0, 1)), Ballot("b", (1, 2, 0)), Ballot("c", (3, 2, 1))])
    assert sure.confidence > split.confidence


@pytest.mark.parametrize(
    "ballots",
    [
        [("a", (0, 0, 0)), ("b", (0, 0, 0))],
        [("a", (0, 0, 0)), ("c", (0, 0, 0)), ("b", (0, 0, 0))],
        [("a", (0, 0, 0)), ("b", (0, 0, 0)), ("z", (0, 0, 0))],
        [("a", (0, 0)), ("b", (0, 0)), ("c", (0, 0))],
        [("a", (0, 0, 0)), ("b", (0, 0, 0, 0)), ("c", (0, 0, 0))],
        [],
    ],
)
def test_other_members_or_draws_are_refused(rule, ballots):
    with pytest.raises(
        ConfigurationError, match=r"was fitted for a \(k=3\), b \(k=3\), c \(k=3\): fit it again"
    ):
        rule.choose([Ballot(name, votes) for name, votes in ballots])


# --- categories ----------------------------------------------------------------------------------


def test_a_category_tells_whom_to_believe(by_topic):
    ballots = [Ballot("a", (0, 0)), Ballot("b", (1, 1))]
    assert by_topic.given({"topic": "x"}).choose(ballots).ballot == 0
    assert by_topic.given({"topic": "y", "question": "…"}).choose(ballots).ballot == 1
    votes = Tally(np.array([[[0, 0], [1, 1]]] * 2))
    assert by_topic.pick(votes, ["x", "y"]).member.tolist() == [0, 1]


@pytest.mark.parametrize("inputs", [{"topic": "z"}, {"topic": None}, {}, {"question": "x"}])
def test_an_unseen_category_uses_the_shared_weights(by_topic, inputs):
    ballots = [Ballot("a", (0, 1)), Ballot("b", (1, 1))]
    plain = dataclasses.replace(by_topic, context=None, context_weights={})
    assert by_topic.given(inputs).choose(ballots) == plain.choose(ballots)
    votes = Tally(np.array([[[0, 1], [1, 1]]]))
    assert same_picks(by_topic.pick(votes, ["z"]), plain.pick(votes))


def test_an_empty_category_lends_no_weights():
    """A record gives "" for a question that lacks the field."""
    votes = np.broadcast_to(np.array([[0, 0], [1, 1]]), (120, 2, 2))
    topics = ["" if at % 3 else "x" for at in range(120)]
    right = np.array([[topic == "x", topic == ""] for topic in topics])
    rule = fitted(
        votes,
        np.repeat(right[:, :, None], 2, axis=2).astype(float),
        contexts=topics,
        context="topic",
    )
    ballots, batch = [Ballot("a", (0, 0)), Ballot("b", (1, 1))], Tally(np.array([[[0, 0], [1, 1]]]))
    assert rule.given({"topic": "z"}).choose(ballots).confidence == pytest.approx(
        float(rule.pick(batch, ["z"]).confidence[0])
    )
    for inputs in ({}, {"topic": None}, {"topic": ""}):
        assert rule.given(inputs).choose(ballots).confidence == pytest.approx(
            float(rule.pick(batch, [""]).confidence[0])
        )


def test_without_a_category_the_inputs_do_not_matter(rule):
    assert rule.given({"topic": "x"}) is rule


# --- keeping it ----------------------------------------------------------------------------------


def saved(rule):
    """As a saved mux keeps it."""
    return json.loads(json.dumps(dataclasses.asdict(rule)))


@pytest.mark.parametrize("which", ["rule", "by_topic"])
def test_a_saved_rule_is_read_back(which, request):
    rule = request.getfixturevalue(which)
    kept = saved(rule)
    assert kept.pop("name") == "calibrated"
    assert ADAPTER.validate_python(kept) == rule


def test_a_saved_rule_picks_the_same(rule):
    kept = saved(rule)
    del kept["name"]
    votes, _ = drawn(seed=9)
    assert same_picks(ADAPTER.validate_python(kept).pick(Tally(votes)), rule.pick(Tally(votes)))


@pytest.mark.parametrize(
    "change",
    [
        {"weights": (0.0,) * 20},
        {"weights": ()},
        {"k": (3, 3)},
        {"accuracies": (0.5,)},
        {"log_likelihoods": ((0.0,) * 4,) * 2},
        {"log_likelihoods": ((0.0,) * 3,) * 3},
        {"context_weights": {"x": (0.0,)}},
        {"members": ("a", "b")},
    ],
)
def test_weights_that_do_not_fit_are_refused(rule, change):
    with pytest.raises(DataError, match="do not fit its members: it is damaged, fit it again"):
        dataclasses.replace(rule, **change)


@pytest.mark.parametrize(
    "change", [{"weights": "many"}, {"instead": "majority"}, {"slope": None}, {"k": ["three"] * 3}]
)
def test_a_saved_rule_of_wrong_types_is_refused(rule, change):
    kept = saved(rule)
    del kept["name"]
    with pytest.raises(pydantic.ValidationError):
        ADAPTER.validate_python({**kept, **change})


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(rule, broken):
    with pytest.raises(DataError):
        dataclasses.replace(rule, weights=(broken, *rule.weights[1:]))
