"""The early-stopping rule: where it stops, live and in replay."""

from __future__ import annotations

import dataclasses
import json

import dspy
import numpy as np
import pydantic
import pytest
from hypothesis import given, strategies as st

from dspy_mux import ConfigurationError, MuxOptimizer, SLMMux
from dspy_mux.bank.record import Record
from dspy_mux.optimize.optimizer import fitted_rule
from dspy_mux.replay.splits import Split
from dspy_mux.replay.stopping_curve import stopping_curve
from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.early_stopping import EarlyStopping, at_bound, fit_early_stopping, fit_orders
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.scripted import calls, scripted_lm
from ..support.skilled import a_member, metric, questions
from ..support.votes import draw_as_wanted, drawn

MEMBERS = ("a", "b", "c")
VOTES, SCORES = drawn(200, rates=(0.9, 0.6, 0.5), k=2)
TRAINING = Training(Tally(VOTES), SCORES, MEMBERS)


@pytest.fixture(scope="module")
def fits():
    return fit_orders(TRAINING)


def ballots_of(votes):
    return [
        Ballot(n, tuple(None if v == ABSTAINED else int(v) for v in row))
        for n, row in zip(MEMBERS, votes, strict=True)
    ]


def test_both_orders_start_with_the_most_accurate(fits):
    assert [fit.order for fit in fits] == [(0, 0, 1, 1, 2, 2), (0, 1, 2, 0, 1, 2)]
    assert [stage.rule.members for stage in fits[0].stages][:3] == [("a",), ("a",), ("a", "b")]
    assert [stage.rule.k for stage in fits[1].stages][3] == (2, 1, 1)


def test_a_bound_of_0_is_the_calibrated_rule(fits):
    whole = fit(TRAINING)
    for each in fits:
        picks, spent = each.pick(Tally(VOTES))
        assert (spent == 2).all()
        assert picks.member.tolist() == whole.pick(Tally(VOTES)).member.tolist()


def test_a_higher_bound_never_makes_more_draws(fits):
    for each in fits:
        spent = [
            dataclasses.replace(each, bound=bound).pick(Tally(VOTES))[1].sum()
            for bound in (0.0, 0.05, 0.1, 0.3, 1.0)
        ]
        assert spent == sorted(spent, reverse=True)
        assert spent[-1] < spent[0]


@given(st.sampled_from([0.02, 0.1, 0.3]), st.integers(0, 1), st.integers(0, 199))
def test_live_draws_and_decisions_match_replay(fits, bound, which, question):
    rule = dataclasses.replace(fits[which], bound=bound)
    picks, spent = rule.pick(Tally(VOTES[question : question + 1]))
    choice, made = draw_as_wanted(rule, ballots_of(VOTES[question]))
    assert made == spent[0].tolist()
    if choice is None:
        assert picks.member[0] == -1
    else:
        assert (choice.ballot, choice.answer) == (
            picks.member[0],
            VOTES[question, picks.member[0], picks.draw[0]],
        )
        assert choice.confidence == pytest.approx(picks.confidence[0])


def test_the_cheaper_order_wins_unless_less_accurate(fits):
    for bound in (0.05, 0.3):
        rule = at_bound(fits, bound, TRAINING)
        tried = [dataclasses.replace(each, bound=bound).pick(Tally(VOTES)) for each in fits]
        accuracy = [picks.scores(SCORES).mean() for picks, _ in tried]
        ours = rule.pick(Tally(VOTES))
        assert ours[0].scores(SCORES).mean() >= max(accuracy) - 0.005
        assert rule.bound == bound


def test_a_mux_spares_what_the_bound_allows(fits):
    rule = dataclasses.replace(fits[0], bound=1.0)
    pool = {name: scripted_lm(name, ["x"]) for name in MEMBERS}
    verdict = SLMMux(dspy.Predict("question -> answer"), pool, k=2, rule=rule, schedule="frugal")(
        question="?"
    ).verdict
    assert (verdict.answer, verdict.rule, verdict.calls) == ("x", "budgeted", 1)
    assert [calls(lm) for lm in pool.values()] == [1, 0, 0]
    with pytest.raises(ConfigurationError, match=r"was fitted for a \(k=2\), b \(k=2\), c \(k=2\)"):
        SLMMux(dspy.Predict("question -> answer"), pool, k=3, rule=rule, schedule="frugal")(
            question="?"
        )


def test_it_is_saved_whole_and_read_back(fits, tmp_path):
    rule = dataclasses.replace(fits[1], bound=0.1)
    pool = {name: scripted_lm(name, ["x"]) for name in MEMBERS}
    SLMMux(dspy.Predict("question -> answer"), pool, k=2, rule=rule, schedule="frugal").save(
        tmp_path / "mux.json"
    )
    again = SLMMux(dspy.Predict("question -> answer"), pool, k=2)
    again.load(tmp_path / "mux.json")
    assert again.rule == rule
    told = json.loads((tmp_path / "mux.json").read_text())["pool"]["rule"]
    told.pop("name")
    with pytest.raises(pydantic.ValidationError, match="stages do not fit"):
        pydantic.TypeAdapter(EarlyStopping).validate_python({**told, "order": [0, 1]})


def test_categories_weigh_at_every_stage():
    topics = ["xy"[at % 2] for at in range(len(VOTES))]
    rule = fit_early_stopping(
        dataclasses.replace(TRAINING, contexts=topics, context="topic"), bound=0.1
    )
    picks, _ = rule.pick(Tally(VOTES[:20]), topics[:20])
    for question in range(20):
        choice, _ = draw_as_wanted(
            rule.given({"topic": topics[question]}), ballots_of(VOTES[question])
        )
        assert (choice is None and picks.member[question] == -1) or choice.ballot == picks.member[
            question
        ]


def test_too_few_questions_to_learn_from_stop_nothing():
    rule = fit_early_stopping(Training(Tally(VOTES[:10]), SCORES[:10], MEMBERS), bound=0.5)
    assert (rule.pick(Tally(VOTES))[1] == 2).all()


def test_the_curve_shows_savings_and_losses():
    record = Record(MEMBERS, tuple(map(str, range(200))), VOTES, SCORES.astype(np.float32), {})
    points = stopping_curve(record, bounds=(0.1, 0.5))
    assert [point.bound for point in points] == [0.0, 0.1, 0.5]
    assert (points[0].saved, points[0].loss, points[0].calls_per_question) == (
        0.0,
        0.0,
        pytest.approx(6.0),
    )
    assert points[0].saved < points[1].saved <= points[2].saved
    for point in points:
        assert point.low <= point.accuracy <= point.high
        assert point.accuracy == pytest.approx(points[0].accuracy - point.loss)
    with pytest.raises(ConfigurationError, match="must lie between 0 and 1, not 2"):
        stopping_curve(record, bounds=(2,))


def test_savings_are_counted_in_calls():
    plain = Record(MEMBERS, tuple(map(str, range(200))), VOTES, SCORES.astype(np.float32), {})
    twice = np.full(VOTES.shape, 2.0)
    twice[-1] = np.nan  # of the last question nothing is known, which counts as one call a draw
    draws, told = (
        stopping_curve(
            dataclasses.replace(plain, calls=each),
            bounds=(0.1,),
            splits=[Split(np.arange(200), np.arange(200))],
        )
        for each in (None, twice)
    )
    assert told[0].calls_per_question == pytest.approx((199 * 12 + 6) / 200)
    assert (
        1.9 * draws[1].calls_per_question
        < told[1].calls_per_question
        <= 2 * draws[1].calls_per_question
    )
    assert told[1].saved == pytest.approx(
        1 - told[1].calls_per_question / told[0].calls_per_question
    )


def test_an_optimizer_with_a_bound_saves_draws():
    members = [a_member("a", 0.6), a_member("b", 0.5), a_member("c", 0.5)]
    student = SLMMux(dspy.Predict("question -> answer"), members, k=3, temperature=0.5)
    examples = questions(60)
    plain = MuxOptimizer(metric=metric, n_trials=4, min_members=3, rules=["consistency"]).compile(
        student, trainset=examples
    )
    study = MuxOptimizer(metric=metric, n_trials=4, min_members=3, rules=["consistency"], bound=0.1)
    best = study.compile(student, trainset=examples)
    assert (plain.schedule, best.schedule, best.rule.name) == ("full", "frugal", "consistency")
    spared = [
        sum(ballot.spared for ballot in best(**example.inputs()).verdict.ballots)
        for example in examples
    ]
    assert sum(spared) > 0
    assert all(best(**e.inputs()).answer == plain(**e.inputs()).answer for e in examples)
    setting = dataclasses.replace(best.report.tuned.best, rule="calibrated")
    part = Record(MEMBERS, tuple(map(str, range(200))), VOTES, SCORES.astype(np.float32), {})
    assert isinstance(fitted_rule(setting, part, Tally(VOTES), study.options, 0.1), EarlyStopping)
    with pytest.raises(ConfigurationError, match="bound must be a chance between 0 and 1"):
        MuxOptimizer(metric=metric, bound=2)
