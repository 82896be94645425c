"""The early-stopping rule: where it stops, live and in replay."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import dspy
import numpy as np
import pydantic
import pytest
from hypothesis import given, strategies as st
from scipy.stats import beta

from dspy_mux import ConfigurationError, MuxOptimizer, SLMMux
from dspy_mux.bank.record import Record
from dspy_mux.optimize.fitting import fitted_rule
from dspy_mux.replay.splits import Split, holdout
from dspy_mux.replay.stopping_curve import stopping_curve
from dspy_mux.voting import early_stopping
from dspy_mux.voting.ballot import Ballot
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.early_stopping import (
    EarlyStopping,
    at_bound,
    fit_early_stopping,
    fit_orders,
    share_of_change,
)
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..support.scripted import calls, scripted_lm
from ..support.skilled import a_member, metric, questions
from ..support.votes import draw_as_wanted, drawn

MEMBERS = ("a", "b", "c")
VOTES, SCORES = drawn(200, rates=(0.9, 0.6, 0.5), k=2)
TRAINING = Training(Tally(VOTES), SCORES, MEMBERS)


@pytest.fixture(scope="module")
def orders():
    return fit_orders(TRAINING)


@pytest.fixture(scope="module")
def fits(orders):
    return [order.at(0.0)[0] for order in orders]


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


def test_the_cheaper_order_wins_unless_less_accurate(orders):
    alike = [dataclasses.replace(order, scores=np.ones(order.scores.shape)) for order in orders]
    bound = 0.03
    few, more = sorted((order.at(bound) for order in alike), key=lambda each: each[2])
    assert few[2] < more[2]
    assert at_bound(alike, bound) == few[0]
    assert few[0].bound == bound
    # Draws that cost a question in twenty are not taken.
    cheap = next(order for order in alike if order.order == few[0].order)
    cheap.scores[:, ::20] = 0.0
    assert at_bound(alike, bound) == more[0]


def test_the_share_is_an_upper_limit_over_the_surer_answers():
    sure = np.repeat([0.9, 0.6, 0.3], [30, 10, 20])
    changed = np.zeros(60, bool)
    changed[[0, 30, 31, 32, 40]] = True
    levels, share = share_of_change(sure, changed)
    assert levels == (0.3, 0.6, 0.9)
    # Of the 60 fewer changed than of the surest 40: whoever lets those stop lets all stop.
    limits = [beta.ppf(0.9, 1 + c, n - c) for c, n in ((5, 60), (4, 40), (1, 30))]
    assert limits[0] < limits[1]
    assert share == pytest.approx((limits[0], limits[0], limits[2]))
    assert share_of_change(sure[:19], changed[:19]) == ((0.0, 1.0), (1.0, 1.0))


def test_of_early_answers_no_more_change_than_the_bound():
    """Held out. Estimated in-sample over all questions, 9 and 12 % changed at these bounds."""
    bounds = (0.05, 0.1)
    changed, stopped, saved = np.zeros(2), np.zeros(2), np.zeros(2)
    for seed in range(8):
        votes, scores = drawn(1120, rates=(0.6, 0.45, 0.4), k=2, seed=seed)
        orders = fit_orders(Training(Tally(votes[:120]), scores[:120], MEMBERS))
        test = Tally(votes[120:])
        for at, bound in enumerate(bounds):
            rule = at_bound(orders, bound)
            picks, made = rule.pick(test)
            final, _ = dataclasses.replace(rule, bound=0.0).pick(test)
            early = made.sum(axis=1) < 6
            changed[at] += (early & (test.answers(picks) != test.answers(final))).sum()
            stopped[at] += early.sum()
            saved[at] += 1 - made.sum() / (6 * len(made))
    print(dict(zip(bounds, (changed / stopped).round(4).tolist(), strict=True)), saved / 8)
    assert (changed / stopped <= bounds).all()
    assert (saved / 8 > 0.05).all()  # a rule that never stops would keep any bound


def test_answers_out_of_fold_know_nothing_of_their_question(monkeypatch):
    """Two members always differ, and which is right is told by a category of its own alone."""
    random = np.random.default_rng(0)
    votes = np.broadcast_to(np.array([[0], [1]]), (120, 2, 1))
    right = random.integers(0, 2, 120)
    scores = (votes == right[:, None, None]).astype(float)
    topics = [f"topic {at}" for at in range(120)]
    training = Training(Tally(votes), scores, ("a", "b"), contexts=topics, context="topic")
    in_sample = fit(training)
    assert in_sample.cross_validated["calibrated"] < 0.65
    learned = dataclasses.replace(in_sample, instead=None)
    assert learned.pick(Tally(votes), topics).scores(scores).mean() > 0.9
    # The learned rule itself, which no simple one stands in for.
    monkeypatch.setattr(
        early_stopping, "fit", lambda part: dataclasses.replace(fit(part), instead=None)
    )
    for order in fit_orders(training):
        assert order.scores[-1].mean() < 0.65


def test_questions_that_stopped_before_do_not_count(orders):
    """A stage is judged by the questions that reach it."""
    order = orders[0]
    rule, drawing = order.at(0.03)[0], np.ones(200, bool)
    for at, stage in enumerate(rule.stages):
        reached = drawing & (order.answers[at] != ABSTAINED)
        changed = order.answers[at] != order.answers[-1]
        again = share_of_change(order.confidence[at, reached], changed[reached])
        assert (stage.levels, stage.change) == again
        drawing &= ~(reached & (stage.p_change(order.confidence[at]) < 0.03))
    assert 0 < drawing.sum() < 200


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


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("which", [0, 1])
def test_with_a_threshold_drawing_stops_where_the_answer_is_trusted_and_nowhere_else(
    fits, which, how
):
    """Whatever the bound: at 0 it would pass every stage, at 1 stop at the first answer."""
    answers = {"a": ["x", "y"], "b": ["x", "x"], "c": ["x", "z"]}
    full = fits[which]
    after = [
        full.choose(ballots_after(full.order[: made + 1], answers)).confidence for made in range(6)
    ]
    assert len({round(each, 6) for each in after}) > 3
    for threshold in [0.0, *(each - 1e-9 for each in after), 1.0]:
        expected = next((at + 1 for at, known in enumerate(after) if known >= threshold), 6)
        for bound in (0.0, 0.05, 1.0):
            mux = SLMMux(
                dspy.Predict("question -> answer"),
                {name: scripted_lm(name, said) for name, said in answers.items()},
                k=2,
                rule=dataclasses.replace(full, bound=bound),
                schedule="frugal",
                threshold=threshold,
            )
            asked = mux(question="?") if how == "sync" else asyncio.run(mux.acall(question="?"))
            verdict = asked.verdict
            assert verdict.calls + verdict.cached_calls == expected
            assert verdict.trusted == (max(after[:expected]) >= threshold)


def ballots_after(order, answers):
    """The ballots after these draws; "x" is class 0, "y" 1 and "z" 2."""
    drawn = [order.count(at) for at in range(len(MEMBERS))]
    return [
        Ballot(name, tuple("xyz".index(each) for each in answers[name][:count]), asked=2)
        for name, count in zip(MEMBERS, drawn, strict=True)
    ]


def test_a_confidence_that_is_not_calibrated_trusts_no_answer_early():
    """With 8 labels nothing is calibrated: a single draw has a confidence of 1."""
    rule = fit_early_stopping(Training(Tally(VOTES[:8]), SCORES[:8], MEMBERS), bound=0.5)
    assert not rule.stages[0].rule.calibrates
    assert rule.choose([Ballot(n, (0,) if n == "a" else (), asked=2) for n in MEMBERS]).confidence
    pool = {name: scripted_lm(name, ["x"]) for name in MEMBERS}
    settings = {"k": 2, "rule": rule, "schedule": "frugal", "threshold": 0.5}
    verdict = SLMMux(dspy.Predict("question -> answer"), pool, **settings)(question="?").verdict
    assert (verdict.calls + verdict.cached_calls, verdict.calibrated) == (6, False)


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
    points = stopping_curve(record, bounds=(0.1, 0.5), splits=holdout(200, repeats=3))
    assert [point.bound for point in points] == [0.0, 0.1, 0.5]
    assert (points[0].saved, points[0].loss, points[0].calls_per_question) == (
        0.0,
        0.0,
        pytest.approx(6.0),
    )
    assert points[0].saved < points[1].saved <= points[2].saved
    assert (points[0].stopped, points[0].changed) == (0.0, None)
    for point in points[1:]:
        assert 0 < point.stopped <= 1
        assert 0 <= point.changed_low <= point.changed <= point.changed_high <= 1
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
    with pytest.raises(ConfigurationError, match="bound must be a share between 0 and 1"):
        MuxOptimizer(metric=metric, bound=2)
