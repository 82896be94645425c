"""Scores outside 0 to 1, thresholds, and abstentions, wherever scores become figures."""

from __future__ import annotations

import dspy
import numpy as np
import pytest

from dspy_mux import ConfigurationError, MuxOptimizer, SLMMux, replay, scale, search, tune
from dspy_mux.optimize.search import Outcomes
from dspy_mux.replay.decisions import picks_on
from dspy_mux.replay.grading import graded
from dspy_mux.replay.held_out import held_out
from dspy_mux.replay.intervals import accuracy
from dspy_mux.replay.risk import risk
from dspy_mux.replay.splits import folds, holdout
from dspy_mux.replay.stopping_curve import stopping_curve
from dspy_mux.voting.calibration import Training

from ..support.skilled import a_member, metric, questions
from ..support.votes import random_record, record_from

PLAIN = random_record(questions=60, draws=2)
#: The same answers by a metric from 0 to 10, which gives a wrong one 2, and some right ones 9.
TEN = record_from(
    PLAIN.votes,
    np.where(PLAIN.votes < 0, 0.0, np.where(PLAIN.scores == 1, 9 + (PLAIN.votes % 2), 2.0)),
)
SPLIT = holdout(60, repeats=1)
FIGURES = {
    "replay": lambda record, **at: replay(record, "consistency", splits=folds(60), **at).accuracy,
    "calibrated": lambda record, **at: replay(record, "calibrated", splits=SPLIT, **at).accuracy,
    "union": lambda record, **at: replay(record, "pooled", **at).union_accuracy,
    "picks": lambda record, **at: picks_on(
        record, "calibrated", SPLIT[0], **at
    ).confidence.tolist(),
    "search": lambda record, **at: search(record, [1, 2], **at).results,
    "by accuracy": lambda record, **at: search(record, [2], by="accuracy", **at).results,
    "outcomes": lambda record, **at: Outcomes.from_record(record, **at).terms([0, 1]),
    "scale": lambda record, **at: scale(record, max_members=2, k_max=2, **at).by_members,
    "stopping": lambda record, **at: stopping_curve(record, bounds=(0.2,), splits=SPLIT, **at),
    "tune": lambda record, **at: tune(record, n_trials=4, max_members=2, **at).best,
    "risk": lambda record, **at: risk(record, "pooled", max_risk=0.5, repeats=2, **at).coverage,
    "held out": lambda record, **at: held_out(record, "pooled", SPLIT, **at).right.tolist(),
}


@pytest.mark.parametrize("name", FIGURES)
def test_scores_outside_0_to_1_need_a_threshold_and_are_then_right_or_wrong(name):
    with pytest.raises(ConfigurationError, match=r"has scores from 0 to 10, and accuracies are "):
        FIGURES[name](TEN)
    assert FIGURES[name](TEN, threshold=9) == FIGURES[name](PLAIN)


def test_the_refusal_says_how_to_normalise():
    losses = record_from(PLAIN.votes, np.where(PLAIN.scores == 1, -1.0, -4.0))
    with pytest.raises(
        ConfigurationError,
        match=r"^the bank has scores from -4 to -1, and accuracies are shares from 0 to 1: divide "
        r"the metric by its range, with 4 added, or state the score from which an answer counts as "
        r"correct \(threshold=…, --threshold …\)\.$",
    ):
        graded(losses, None)
    assert graded(losses, -2)[0].scores.mean() < graded(losses, -4)[0].scores.mean() < 1


def test_scores_from_0_to_1_stay_means():
    halves = record_from(PLAIN.votes, PLAIN.scores / 2)
    assert graded(halves, 0.5) == (halves, 0.5)
    assert replay(halves, "pooled", threshold=0.5).accuracy < 0.5
    unknown = record_from(PLAIN.votes, np.where(PLAIN.scores == 1, np.nan, 0.0))
    assert graded(unknown, None)[0] is unknown


def test_the_result_shows_the_stated_threshold():
    assert replay(TEN, "pooled", threshold=9).threshold == 9
    assert replay(PLAIN, "pooled").threshold == 1


@pytest.mark.parametrize("threshold", [0.0, -1.0])
def test_an_abstention_is_never_correct(threshold):
    votes = np.full((20, 2, 2), -1)
    votes[:, 1] = 0  # the first member never answers, the second does, wrongly
    record = record_from(votes, np.zeros(votes.shape))
    mute = search(record, [1], threshold=threshold).results
    assert {one.members: one.union_accuracy for one in mute} == {("a",): 0.0, ("b",): 1.0}
    assert search(record, [1], by="accuracy", threshold=threshold).results[0].members == ("b",)
    alone, _ = record.of(["a"], None)
    assert replay(alone, "consistency", threshold=threshold).union_accuracy == 0.0
    training = Training(record.tally(), record.scores, record.members, threshold=threshold)
    assert training.accuracies.tolist() == [0.0, 1.0]
    assert held_out(alone, "pooled", holdout(20, repeats=1), threshold=threshold).right.sum() == 0
    assert tune(record, n_trials=4, max_members=1, threshold=threshold).best.members == ("b",)


def test_an_accuracy_of_900_percent_is_refused():
    with pytest.raises(ConfigurationError, match="The run has scores from 0 to 9"):
        accuracy([9.0, 0.0])


def of_ten(example, prediction, trace=None):
    return 10 * metric(example, prediction)


def test_an_optimizer_refuses_a_metric_of_10_or_takes_its_threshold():
    student = SLMMux(
        dspy.Predict("question -> answer"),
        [a_member("a", 0.9), a_member("b", 0.2)],
        k=2,
        temperature=0.5,
    )
    with pytest.raises(ConfigurationError, match="scores from 0 to 10"):
        MuxOptimizer(metric=of_ten, n_trials=4).compile(student, trainset=questions(20))
    by_ten, plain = (
        MuxOptimizer(metric=judged, n_trials=4, threshold=threshold).compile(
            student, trainset=questions(20)
        )
        for judged, threshold in ((of_ten, 10), (metric, None))
    )
    assert by_ten.accuracies == plain.accuracies != {}
    assert by_ten.report.rows() == plain.report.rows()
    assert "An answer counts as correct from a score of 10 on." in by_ten.report.note
