"""What a confidence means: scales fitted on labels, and where there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pydantic
import pytest
from hypothesis import given, strategies as st

from dspy_mux.errors import DataError
from dspy_mux.voting.ballot import Ballot, Choice
from dspy_mux.voting.calibrated import Calibrated
from dspy_mux.voting.calibration import LEAST_QUESTIONS, Training, fit
from dspy_mux.voting.confidence import (
    LEAST_ANSWERS,
    MANY_ANSWERS,
    RuleScale,
    Scale,
    fit_scale,
    of_draws_made,
)
from dspy_mux.voting.frugal import frugal_draws
from dspy_mux.voting.probability_sums import first_draws
from dspy_mux.voting.rules import RULES
from dspy_mux.voting.tally import Tally

from ..support.votes import drawn

MEMBERS = ("a", "b", "c")
#: Members that are seldom right, as in the pool whose lone votes had a confidence of 0.9998.
WEAK = (0.5, 0.4, 0.3)


def answers(count, chance=lambda raw: raw, seed=0, levels=(1 / 3, 2 / 3, 1.0)):
    random = np.random.default_rng(seed)
    raw = random.choice(levels, count)
    return raw, (random.random(count) < chance(raw)).astype(float)


def hard_questions(questions=300, rates=WEAK, seed=0):
    """Votes and scores: what a member does not know, it mostly gets wrong as the others do."""
    random = np.random.default_rng(seed)
    shape = (questions, len(rates), 3)
    easy = random.random((questions, 1, 1))
    sure = random.random((questions, len(rates), 1)) < 2 * easy * np.asarray(rates)[:, None]
    knows = np.where(random.random(shape) < 0.85, sure, ~sure)
    mistaken = np.where(random.random(shape) < 0.5, 1, random.integers(2, 6, shape))
    votes = np.where(knows, 0, mistaken)
    votes[random.random(shape) < 0.2] = -1
    return votes, (votes == 0).astype(float)


def fitted(votes, scores, **changes):
    rule = fit(Training(Tally(votes), scores, MEMBERS))
    return dataclasses.replace(rule, **changes)


def calibration_error(confidence, right):
    bins = np.minimum((confidence * 10).astype(int), 9)
    return float(np.abs(np.bincount(bins, right - confidence, 10)).sum() / len(right))


# --- scales --------------------------------------------------------------------------------------


def test_too_few_answers_are_no_scale():
    raw, right = answers(LEAST_ANSWERS)
    assert fit_scale(raw, right) is not None
    assert fit_scale(raw[1:], right[1:]) is None


@pytest.mark.parametrize("count", [30, 100, MANY_ANSWERS, 3000])
def test_a_scale_says_how_often_answers_are_right(count):
    raw, right = answers(count, lambda raw: 0.2 + 0.5 * raw, seed=count)
    scale = fit_scale(raw, right)
    found = scale.of(np.array([1 / 3, 2 / 3, 1.0]))
    assert np.abs(found - [0.37, 0.53, 0.7]).max() < 1.5 / np.sqrt(count)
    # The confidence itself was far off.
    assert calibration_error(scale.of(raw), right) < 0.6 * calibration_error(raw, right)


def test_many_answers_may_bend_the_scale():
    """A logistic cannot say that two thirds of the votes are as good as all, and one third bad."""
    raw, right = answers(3000, lambda raw: np.where(raw > 0.5, 0.6, 0.1))
    scale = fit_scale(raw, right)
    assert scale.levels
    assert np.abs(scale.of(np.array([1 / 3, 2 / 3, 1.0])) - [0.1, 0.6, 0.6]).max() < 0.04
    assert not fit_scale(raw[: MANY_ANSWERS - 1], right[: MANY_ANSWERS - 1]).levels


def test_levels_of_few_answers_stay_on_the_logistic():
    random = np.random.default_rng(0)
    raw = random.random(MANY_ANSWERS)
    assert not fit_scale(raw, (random.random(MANY_ANSWERS) < raw).astype(float)).levels


def test_a_confidence_that_tells_nothing_gives_the_base_rate():
    random = np.random.default_rng(0)
    raw, right = random.choice([0.5, 1.0], 2000), (random.random(2000) < 0.3).astype(float)
    assert np.abs(fit_scale(raw, right).of(np.array([0.5, 1.0])) - 0.3).max() < 0.05


def test_a_misleading_confidence_is_never_turned_round():
    raw, right = answers(200, lambda raw: 1.2 - raw)
    scale = fit_scale(raw, right)
    assert scale.slope == 0
    assert len(set(scale.of(np.array([1 / 3, 1.0])).tolist())) == 1


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=LEAST_ANSWERS, max_size=60),
    st.lists(st.floats(0, 1), min_size=2, max_size=9),
)
def test_chances_rise_with_confidences_within_0_and_1(known, asked):
    raw, right = (np.array(column, float) for column in zip(*known, strict=True))
    scale = fit_scale(np.tile(raw, 30), np.tile(right, 30))
    found = scale.of(np.sort(np.array(asked)))
    assert ((found >= 0) & (found <= 1)).all()
    assert (np.diff(found) >= -1e-12).all()


@pytest.mark.parametrize(
    "damage",
    [
        {"slope": -1.0},
        {"intercept": float("nan")},
        {"softening": 0.0},
        {"levels": (0.5,)},
        {"levels": (0.5, 0.2), "chances": (0.1, 0.2)},
        {"levels": (0.2, 0.5), "chances": (0.1, 1.2)},
    ],
)
def test_a_damaged_scale_is_refused(damage):
    with pytest.raises(DataError, match="damaged"):
        Scale(**damage)


# --- scales of rules that have none of their own -------------------------------------------------

POOLED = RuleScale("pooled", ("a", "b"), (2, 2), Scale(1.0, -1.0), Scale(1.0, -2.0))
FULL = [Ballot("a", (0, 0)), Ballot("b", (0, 1))]
STOPPED = [Ballot("a", (0, 0)), Ballot("b", (0,), asked=2)]


def test_a_choice_is_brought_to_the_scale():
    choice = POOLED.of(Choice(0, 0, 0.75), "pooled", FULL)
    assert choice.calibrated
    assert choice.confidence == float(POOLED.every.of(np.array([0.75]))[0])


def test_spared_draws_are_no_abstentions():
    """Three votes of the three draws made, where a fourth could change nothing."""
    choice = POOLED.of(Choice(0, 0, 0.75), "pooled", STOPPED)
    assert choice.confidence == float(POOLED.stopped.of(np.array([1.0]))[0])
    stays = dataclasses.replace(POOLED, stays=True)
    assert stays.of(Choice(0, 0, 0.75), "pooled", STOPPED) == POOLED.of(
        Choice(0, 0, 0.75), "pooled", FULL
    )


def test_without_a_scale_for_spared_draws_the_confidence_is_raw():
    choice = Choice(0, 0, 0.75)
    assert dataclasses.replace(POOLED, stopped=None).of(choice, "pooled", STOPPED) == choice
    assert not choice.calibrated


@pytest.mark.parametrize(
    ("rule", "ballots"),
    [
        ("consistency", FULL),
        ("pooled", FULL[:1]),
        ("pooled", [Ballot("a", (0, 0)), Ballot("c", (0, 1))]),
        ("pooled", [Ballot("a", (0, 0)), Ballot("b", (0, 1, 1))]),
    ],
)
def test_another_pool_keeps_the_raw_confidence(rule, ballots):
    choice = Choice(0, 0, 0.75)
    assert POOLED.of(choice, rule, ballots) == choice


def test_shares_of_the_draws_made_are_at_most_one():
    assert of_draws_made(np.array([0.5, 0.9]), np.array([0.75, 0.75])).tolist() == [0.5 / 0.75, 1.0]


# --- the calibrated rule -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rule():
    return fitted(*hard_questions(), instead=None)


def lone_vote(member):
    none = (None, None, None)
    return [Ballot(name, (0, None, None) if name == member else none) for name in MEMBERS]


@pytest.mark.parametrize("member", MEMBERS)
def test_a_lone_vote_is_no_certainty(rule, member):
    """It was, for a question with one distinct answer: 0.9998, whoever gave it."""
    lone = rule.choose(lone_vote(member))
    every = rule.choose([Ballot(name, (0, 0, 0)) for name in MEMBERS])
    assert lone.calibrated
    assert lone.confidence < 0.7
    assert every.confidence > 0.9
    assert every.confidence - lone.confidence > 0.3


def test_more_votes_make_it_surer(rule):
    found = [
        rule.choose(
            [Ballot(name, (0,) * count + (None,) * (3 - count)) for name in MEMBERS]
        ).confidence
        for count in (1, 2, 3)
    ]
    assert found == sorted(found)
    assert len(set(found)) == 3


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [60, 300])
def test_the_confidence_is_the_chance_of_being_right(count, seed):
    rule = fitted(*hard_questions(count, seed=seed))
    votes, scores = hard_questions(4000, seed=99)
    picks = rule.pick(Tally(votes))
    assert calibration_error(picks.confidence, picks.scores(scores)) < 1.2 / np.sqrt(count)


@pytest.mark.parametrize("instead", ["consistency", "pooled"])
def test_it_is_where_draws_are_spared_too(instead, monkeypatch):
    """Read as abstentions, they left 58 % of a pool's answers above 0.999, 88 % of them right."""
    monkeypatch.setattr("dspy_mux.voting.calibration.simple_instead", lambda *_: instead)
    rule = fitted(*hard_questions(800, seed=5))
    assert rule.instead == instead
    assert 0 < rule.stopped.answers < rule.scale.answers  # of those that stop early alone
    votes, scores = hard_questions(4000, seed=99)
    tally, simple = Tally(votes), RULES[instead]()
    order = simple.order_of(MEMBERS, list(rule.accuracies))
    made = frugal_draws(simple, tally, order)
    early = made.sum(axis=1) < 9
    assert early.mean() > 0.3
    picks = rule.pick(first_draws(tally, made), spared=True)
    right = picks.scores(scores)
    assert calibration_error(picks.confidence[early], right[early]) < 0.05
    shares = rule.winners(first_draws(tally, made)).share
    assert np.array_equal(picks.confidence[early], rule.stopped.of(shares)[early])
    # A live question is told the same.
    at = int(np.flatnonzero(early)[0])
    ballots = [
        Ballot(name, tuple(None if v < 0 else int(v) for v in votes[at, m, : made[at, m]]), asked=3)
        for m, name in enumerate(MEMBERS)
    ]
    choice = rule.choose(ballots)
    assert choice.calibrated
    assert choice.confidence == pytest.approx(picks.confidence[at], abs=1e-12)


def test_spared_draws_without_a_scale_of_their_own_are_not_called_calibrated(rule):
    assert rule.stopped is None
    assert not rule.choose([Ballot(name, (0, 0), asked=3) for name in MEMBERS]).calibrated


def test_too_few_labels_leave_the_simple_rules_confidence():
    """It was 1 / (number of distinct answers), and called a probability."""
    rule = fitted(*drawn(LEAST_QUESTIONS - 1))
    choice = rule.choose([Ballot("a", (0, 0, 1)), Ballot("b", (2, 3, 4)), Ballot("c", (5, 6, 7))])
    assert (choice.confidence, choice.calibrated) == (2 / 3, False)
    assert not rule.calibrates


def test_an_old_rule_keeps_its_confidence_and_is_not_called_calibrated(rule):
    old = dataclasses.replace(rule, scale=None, stopped=None, slope=1.5, intercept=0.25)
    choice = old.choose([Ballot(name, (0, 0, 0)) for name in MEMBERS])
    assert choice.confidence > 0.999
    assert not choice.calibrated
    votes, _ = drawn(200, WEAK, seed=7)
    one, other = rule.pick(Tally(votes)), old.pick(Tally(votes))
    assert (one.member == other.member).all()
    assert (one.draw == other.draw).all()


def test_the_scales_are_saved_with_the_rule(rule):
    adapter = pydantic.TypeAdapter(Calibrated)
    assert adapter.validate_json(adapter.dump_json(rule)) == rule
