"""Coverage at a stated risk on recorded draws: who fits, who chooses, and who is reported."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from dspy.utils import DummyLM

from dspy_mux import ConfigurationError, DataError, SLMMux, risk
from dspy_mux.bank.record import MISSING, Record
from dspy_mux.optimize.operating import judged_live
from dspy_mux.replay.decisions import picks_on
from dspy_mux.replay.live import Policy
from dspy_mux.replay.risk_repeats import Cut
from dspy_mux.replay.splits import Split, holdout
from dspy_mux.replay.threshold import Certified, Goal, Judged, Step, rounded_up

from ..support.votes import drawn, record_from

RATES = (0.85, 0.7, 0.6)


def a_record(questions=600, rates=RATES, seed=0):
    return record_from(*drawn(questions, rates, seed=seed))


def parts_of(record, seed=0):
    """The parts of the only repeat of `risk(record, …, repeats=1, seed=seed)`."""
    [split] = holdout(len(record.questions), repeats=1, seed=seed)
    cut = Cut(record, np.arange(len(record.questions)), None)
    return cut.parts(split, np.random.default_rng(seed))


def with_scores(record, questions, score):
    scores = record.scores.copy()
    scores[questions] = score
    return dataclasses.replace(record, scores=scores)


def test_the_three_parts_share_no_question():
    parts = parts_of(a_record())
    everyone = np.concatenate([parts.fit, parts.calibration, parts.test])
    assert sorted(everyone.tolist()) == list(range(600))
    assert [len(parts.fit), len(parts.calibration), len(parts.test)] == [300, 150, 150]


@pytest.mark.parametrize("rule", ["consistency", "pooled", "calibrated", "self_consistency"])
def test_reported_questions_choose_nothing(rule):
    record = a_record()
    parts = parts_of(record)
    found = risk(record, rule, max_risk=0.15, repeats=1)
    assert found.promised
    changed = risk(with_scores(record, parts.test, 0.0), rule, max_risk=0.15, repeats=1)
    assert changed.certified == found.certified
    assert changed.coverage == found.coverage
    assert (changed.risk, changed.kept_share) == (1.0, 0.0)
    unkept = risk(with_scores(record, parts.calibration, 0.0), rule, max_risk=0.15, repeats=1)
    assert not unkept.promised
    # Which threshold is tested first is for the part that fits to say.
    assert unkept.certified.steps[0].threshold == found.certified.steps[0].threshold


def test_figures_are_counted_on_the_reported_questions():
    record = a_record()
    parts = parts_of(record)
    found = risk(record, "pooled", max_risk=0.1, repeats=1)
    split = Split(parts.fit, parts.test)
    judged = Judged.of(picks_on(record, "pooled", split), record.scores[parts.test])
    sure = judged.confidence >= found.threshold
    assert found.coverage == pytest.approx(sure.mean())
    assert found.risk == pytest.approx(judged.wrong[sure].mean())
    assert found.marked == found.coverage
    assert found.kept_share == (found.risk <= 0.1)
    at_full = found.curve[-1]
    assert (at_full.coverage, at_full.risk) == (1.0, pytest.approx(judged.wrong.mean()))
    assert all(point.low - 1e-9 <= point.risk <= point.high for point in found.curve)


def test_the_promise_of_a_bank_is_kept_on_questions_to_come():
    weak = (0.4, 0.3, 0.25)
    others = a_record(4000, weak, seed=1)
    goal, broken, count = 0.09, 0, 100
    picks = picks_on(others, "pooled", Split(np.arange(10), np.arange(4000)))
    truth = Judged.of(picks, others.scores)
    made = 0
    for seed in range(2, 2 + count):
        found = risk(a_record(400, weak, seed=seed), "pooled", max_risk=goal, repeats=1)
        if found.promised:
            made += 1
            answered, wrong = truth.at_least(np.array([found.threshold]))
            broken += wrong[0] / answered[0] > goal
    print(f"promised in {made} of {count} banks, broken in {broken} (at most 10 expected)")
    assert made > count / 5
    assert broken <= 10 + 2.6 * math.sqrt(9)


def test_nothing_is_promised_of_too_few_labels():
    found = risk(a_record(100), "pooled")
    assert (found.threshold, found.risk_upper, found.promised) == (None, None, False)
    assert (found.coverage, found.kept_share, found.promised_share) == (0.0, 1.0, 0.0)
    assert math.isnan(found.risk)
    assert "needs at least 45" in found.promise
    assert found.n_calibration == 25


def test_a_promise_says_what_it_rests_on():
    found = risk(a_record(), "pooled", max_risk=0.1, confidence=0.8, repeats=2)
    assert found.promise == (
        f"At confidence {found.threshold:.6g} or more: at most 10 % wrong among the answered, with "
        f"80 % confidence (even at most {rounded_up(found.risk_upper)} %, as answers of every "
        "confidence keep the limit), if the questions to come are like these: exchangeable with "
        "the bank's."
    )
    assert (found.rule, found.members, found.k, found.repeats) == ("pooled", ("a", "b", "c"), 3, 2)
    assert (found.questions, found.left_out, found.n_fit) == (600, 0, 300)
    assert (found.n_calibration, found.n_test) == (150, 150)
    assert [step.threshold for step in found.certified.passed][-1] == found.threshold
    assert found.certified.labels == 150


def certified(threshold, upper=0.05):
    step = Step(threshold or 0.5, 60, 0, upper)
    none = threshold is None
    return Certified(Goal(), threshold, None if none else upper, 60, [step], of=240)


@pytest.mark.parametrize(
    ("threshold", "upper", "share", "told"),
    [
        (0.8, 0.05, 0.2, "At confidence 0.8 or more, found in 4 of 20 repeats only: at most 5 %"),
        (0.8, 0.05, 0.95, "At confidence 0.8 or more, found in 19 of 20 repeats: at most 5 %"),
        (0.8, 0.05, 1.0, "At confidence 0.8 or more: at most 5 % wrong among"),
        (
            0.8,
            0.0321,
            1.0,
            "(even at most 3.3 %, as answers of every confidence keep the limit), if",
        ),
        (
            None,
            0.2,
            0.1,
            "more than 5 % at 90 % confidence allows (2 of 20 repeats found a threshold).",
        ),
        (None, 0.2, 0.0, "more than 5 % at 90 % confidence allows."),
    ],
)
def test_a_promise_says_itself_how_often_it_was_found(threshold, upper, share, told):
    found = risk(a_record(100), "pooled", repeats=1)
    made = dataclasses.replace(
        found, certified=certified(threshold, upper), repeats=20, promised_share=share
    ).promise
    assert told in made
    assert made.count("found") == (0 < share < 1)


def test_a_large_model_is_not_in_the_pool():
    record = a_record(rates=(*RATES, 0.97))
    found = risk(record, "calibrated", escalate="d", max_risk=0.1, repeats=2)
    assert found.members == ("a", "b", "c")
    alone = risk(record, "calibrated", members=["a", "b", "c"], max_risk=0.1, repeats=2)
    assert found.certified == alone.certified
    assert found.coverage == alone.coverage
    assert alone.escalation is None
    escalation = found.escalation
    assert escalation.share == pytest.approx(1 - found.coverage)
    assert escalation.accuracy > 1 - found.curve[-1].risk
    assert escalation.curve[-1].accuracy == pytest.approx(escalation.accuracy_large)
    told = json.loads(json.dumps(found.as_dict()))
    assert told.keys() >= {"escalated_share", "accuracy", "accuracy_large_alone", "curve"}


def test_one_call_of_the_large_model_is_as_good_as_its_draws():
    votes = np.zeros((40, 2, 2), int)
    votes[:, 1] = [0, -1]  # an abstention is never correct, whatever the threshold
    record = record_from(votes, np.zeros((40, 2, 2)))
    found = risk(record, "consistency", escalate="b", threshold=0.0, repeats=1)
    assert found.escalation.accuracy_large == pytest.approx(0.5)


def test_questions_that_the_large_model_lacks_are_left_out():
    record = a_record(100, rates=(*RATES, 0.9))
    votes = record.votes.copy()
    votes[::4, 3] = MISSING
    votes[:, 3, 1:] = MISSING  # it has one draw, the pool three
    partial = dataclasses.replace(record, votes=votes)
    split = [Split(np.arange(50), np.arange(50, 100))]
    found = risk(partial, "pooled", escalate="d", splits=split, repeats=3)
    assert (found.questions, found.left_out, found.repeats, found.k) == (75, 25, 3, 3)
    assert (found.n_fit, found.n_calibration + found.n_test) == (37, 38)
    kept = np.setdiff1d(np.arange(100), np.arange(0, 100, 4))
    same = risk(
        record.rows(kept),
        "pooled",
        escalate="d",
        splits=[Split(np.flatnonzero(kept < 50), np.flatnonzero(kept >= 50))],
        repeats=3,
    )
    assert (found.ece, found.aurc) == (same.ece, same.aurc)


def test_a_random_k_of_more_draws_counts():
    record = a_record()
    one, two = (risk(record, "pooled", k=1, max_risk=0.3, seed=seed, repeats=2) for seed in (0, 1))
    assert one.k == 1
    assert one.aurc != two.aurc
    assert risk(record, "pooled", k=1, max_risk=0.3, repeats=2) == one


def test_mistakes_are_said():
    record = a_record(40)
    for wrong, sentence in (
        ({"escalate": "z"}, "no member 'z'"),
        ({"escalate": "a", "members": ["a", "b"]}, "cannot be in the pool too"),
        ({"members": ["z"]}, "no member 'z'"),
        (
            {"max_risk": 1.0},
            r"max_risk \(--max-risk\) must lie between 0 and 1, not 1: 0.01 is 1 %",
        ),
        ({"splits": []}, "At least one split"),
        ({"repeats": 0, "splits": [Split(np.arange(20), np.arange(20, 40))]}, "one repeat"),
        ({"k": 9}, "fewer than k=9"),
        ({"splits": [Split(np.arange(39), np.arange(39, 40))]}, "39 questions are there to fit"),
    ):
        with pytest.raises(ConfigurationError, match=sentence):
            risk(record, "pooled", **wrong)
    with pytest.raises(ConfigurationError, match="no rule"):
        risk(record, "best")
    with pytest.raises(ConfigurationError, match="A Record is needed"):
        risk("bank.sqlite", "pooled")
    alone = Record(("a",), *dataclasses.astuple(record.of(["a"], None)[0])[1:4], fields={})
    with pytest.raises(ConfigurationError, match="of 'a' alone"):
        risk(alone, "pooled", escalate="a")
    votes = record.votes.copy()
    votes[:20, 0], votes[20:, 1:] = MISSING, MISSING
    with pytest.raises(DataError, match="both the pool and 'a' answered"):
        risk(dataclasses.replace(record, votes=votes), "pooled", escalate="a")


@pytest.mark.parametrize("rule", ["consistency", "self_consistency"])
def test_a_promise_is_of_a_mux_with_the_accuracies_that_chose_among_equals(rule):
    # Both members are always sure. The first in the pool is wrong most of the time.
    right = np.random.default_rng(0).random((900, 2, 1)) < [[0.3], [0.95]]
    votes = np.repeat(np.where(right, 0, [[1], [2]]), 3, axis=2)
    record = Record(("a", "b"), tuple(f"q{at}" for at in range(900)), votes, (votes == 0) * 1.0, {})
    bank, later = record.rows(np.arange(600)), record.rows(np.arange(600, 900))
    found = risk(bank, rule, max_risk=0.15, repeats=1)
    assert found.promised
    assert found.accuracies == pytest.approx({"a": 0.3, "b": 0.95}, abs=0.06)
    mux = SLMMux(
        "question -> answer",
        {name: DummyLM([{"answer": "1"}]) for name in found.members},
        k=found.k,
        rule=rule,
        threshold=found.threshold,
        accuracies=found.accuracies,
    )
    answered, wrong = judged_live(Policy.of(mux), later, 1.0).at_least(np.array([found.threshold]))
    assert answered[0] == 300
    assert wrong[0] <= 45
    assert found.as_dict()["accuracies"] == found.accuracies
