"""`tune(record).mux(student)`: the chosen setting as a mux that decides as its replay."""

from __future__ import annotations

from dataclasses import replace

import dspy
import numpy as np
import pytest

from dspy_mux import ConfigurationError, SLMMux
from dspy_mux.bank.record import MISSING
from dspy_mux.optimize.fitting import fit_best
from dspy_mux.optimize.options import ChoiceOptions
from dspy_mux.optimize.plan import Recorded
from dspy_mux.optimize.scaling import scale
from dspy_mux.optimize.tune import tune
from dspy_mux.replay.live import Policy
from dspy_mux.replay.replay import replay
from dspy_mux.replay.risk import risk
from dspy_mux.replay.splits import Split, holdout

from ..support.skilled import QA, a_member
from ..support.tuning import skilled_record


@pytest.fixture(scope="module")
def record():
    return skilled_record([0.75, 0.7, 0.5])


@pytest.fixture
def student():
    return SLMMux(dspy.Predict(QA), [a_member(name) for name in "cba"], k=3, temperature=0.5)


@pytest.mark.parametrize("rule", ["consistency", "pooled", "calibrated"])
def test_it_decides_recorded_questions_as_the_replay(record, student, rule, tmp_path):
    tuned = tune(record, n_trials=6, rules=[rule], max_members=3, min_members=3)
    if tuned.best.rule != rule:  # another won: have this one instead
        best = replace(tuned.best, rule=rule)
        policy = fit_best(best, Recorded(record), None, ChoiceOptions())
        tuned = replace(tuned, best=best, policy=policy)
    mux = tuned.mux(student)
    assert mux.pool.names == list(tuned.best.members)  # in the order of the record
    assert {member.k for member in mux.members} == {tuned.best.k}
    assert student.pool.names == ["c", "b", "a"]
    mux.save(tmp_path / "mux.json")
    saved = Policy.of(tmp_path / "mux.json")
    part = record.first(tuned.best.k)
    polls, _ = saved.decide(part)
    every = np.arange(len(record.questions))
    live = [
        float(part.scores[q][part.votes[q] == poll.group].max()) for q, poll in enumerate(polls)
    ]
    told = replay(part, saved.rule.name, splits=[Split(every, every)])
    assert told.per_question.tolist() == live


def test_it_needs_the_pool_that_was_recorded(record, student):
    tuned = tune(record, n_trials=4)
    assert {"a", "b"} & set(tuned.best.members)
    with pytest.raises(ConfigurationError, match="A subset names each of its members once"):
        tuned.mux(student.subset(["c"]))
    with pytest.raises(ConfigurationError, match="already set up"):
        replace(tuned, policy=None).mux(student)


def test_its_threshold_is_the_one_that_was_chosen(record, student):
    tuned = tune(record, n_trials=4, max_risk=0.4, confidence=0.8)
    mux = tuned.mux(student)
    assert mux.pool.settings.threshold == tuned.points[tuned.points.compiled].threshold
    assert mux.points == tuned.points
    hedged = SLMMux(dspy.Predict(QA), student.members, schedule="hedged")
    with pytest.raises(ConfigurationError, match="schedule='hedged'"):
        tuned.mux(hedged)
    large = tune(
        record.of(["a", "b"], None)[0],
        escalate=record.of(["c"], 1)[0],
        n_trials=4,
        max_escalated=0.9,
    )
    with pytest.raises(ConfigurationError, match="escalates to 'c', and this one escalates to n"):
        large.mux(student)


def test_questions_without_all_draws_are_left_out(record):
    votes, scores = record.votes.copy(), record.scores.copy()
    votes[3, 1, -1], scores[3, 1, -1] = MISSING, np.nan
    lacking = replace(record, votes=votes, scores=scores)
    tuned = tune(lacking, n_trials=2, left_out=5)
    assert (tuned.questions, tuned.left_out) == (len(record.questions) - 1, 6)
    whole = lacking.of(None, None)[0]
    assert tuned.best == tune(whole, n_trials=2).best
    assert scale(lacking, repeats=2) == scale(whole, repeats=2)
    for run in (tune, scale):
        with pytest.raises(ConfigurationError, match="split what is left"):
            run(lacking, splits=holdout(len(record.questions), repeats=1))


def test_a_wrong_type_is_one_error_that_names_it(record):
    for name, value in {
        "max_risk": "5%",
        "max_escalated": "5%",
        "max_cost_per_question": "$1",
        "n_trials": "20",
        "k_max": 2.5,
        "threshold": "0.5",
        "seed": None,
    }.items():
        with pytest.raises(ConfigurationError, match=f"{name} must be a .*number such as"):
            tune(record, **{name: value})
    with pytest.raises(ConfigurationError, match=r"rules must be a list of names, .*\['pooled'\]"):
        tune(record, rules="pooled")
    with pytest.raises(ConfigurationError, match=r"max_risk must be .* 0\.05, not '5%'"):
        risk(record, "consistency", max_risk="5%")
    with pytest.raises(ConfigurationError, match="number of repeats must be a whole number"):
        scale(record, repeats="3")
