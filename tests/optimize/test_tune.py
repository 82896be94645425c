"""`tune` on draws of scripted members whose skill the test knows."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import optuna
import pytest

from dspy_mux import ConfigurationError, SampleBank
from dspy_mux.bank.record import Record
from dspy_mux.optimize.report import MuxReport
from dspy_mux.optimize.scaling import scale
from dspy_mux.optimize.search import search
from dspy_mux.optimize.tune import tune
from dspy_mux.replay.replay import replay
from dspy_mux.replay.splits import Split, folds
from dspy_mux.voting.tally import ABSTAINED

from ..support.tuning import plain_record, skilled_record


def test_a_study_finds_the_members_that_know_something():
    tuned = tune(skilled_record([0.7, 0.05, 0.7, 0.05]), n_trials=25, max_members=2)
    assert set(tuned.best.members) == {"a", "c"}
    assert tuned.best.value >= tuned.single.value
    assert tuned.cross_fitted
    assert len(tuned.trials) == 25


def test_the_papers_defaults_are_tried_first():
    tuned = tune(skilled_record([0.6, 0.5, 0.4]), n_trials=3, max_members=3)
    assert {(trial["k"], trial["rule"], trial["penalty"]) for trial in tuned.trials} == {
        (3, "consistency", 1.0)
    }
    assert [trial["size"] for trial in tuned.trials] == [3, 2, 1]


def test_the_same_seed_gives_the_same_study():
    first, second = (
        tune(skilled_record([0.6, 0.5, 0.4]), n_trials=12, seed=3).trials for _ in range(2)
    )
    assert first == second


def test_remembered_scores_change_no_trial():
    """Every value is what a search and a replay give that know nothing of other trials."""
    record = skilled_record([0.7, 0.6, 0.5, 0.4], draws=4)
    study = tune(record, n_trials=25, seed=2).study
    for trial in study.trials:
        k, size, penalty = (trial.params[name] for name in ("k", "size", "penalty"))
        right = 0.0
        for split in folds(len(record.questions), seed=2):
            chosen = (
                search(record.rows(split.train).first(k), [size], penalty=round(penalty, 6), top=1)
                .results[0]
                .members
            )
            right += replay(
                record.of(chosen, None)[0].first(k), trial.params["rule"], splits=[split]
            ).per_question.sum()
        assert trial.value == pytest.approx(right / len(record.questions))


def test_another_rule_must_win_by_cross_validation():
    # One member alone: every rule picks the same, so none can win.
    assert tune(skilled_record([0.6]), n_trials=10, max_members=1).best.rule == "consistency"
    # Not with fewer calls, either.
    record = skilled_record([0.9], draws=3)
    record = replace(record, votes=np.zeros_like(record.votes), scores=np.ones_like(record.scores))
    tuned = tune(record, greedy=record.first(1), rules=["pooled"], n_trials=5)
    assert min(t["calls_per_question"] for t in tuned.trials if t["rule"] == "pooled") == 1
    assert tuned.best.rule == "consistency"


def test_a_rule_must_win_on_the_questions_that_do_not_score_it():
    # Two members of two equal draws against one of three: of three draws, pooling goes by the two.
    pair, lone = np.where(np.arange(30) < 10, 1, 0), np.where(np.arange(30) < 10, 0, 1)
    votes = [[np.full(30, own), pair, pair] for own in (2, 3)] + [[lone, lone, lone]]
    record = plain_record(np.moveaxis(votes, 2, 0), np.moveaxis(votes, 2, 0) == 0)
    settings = {"rules": ["pooled"], "min_members": 3, "n_trials": 5}
    for train, rule in ((np.arange(10), "consistency"), (np.arange(10, 20), "pooled")):
        tuned = tune(record, splits=[Split(train, np.arange(20, 30))], **settings)
        assert {(t["rule"], t["value"]) for t in tuned.trials if t["k"] == 3} == {
            ("consistency", 0.0),
            ("pooled", 1.0),
        }
        assert tuned.best.rule == rule


def test_a_recorded_split_scores_trials_on_its_test_part_alone():
    record = skilled_record([0.7, 0.5])
    split = Split(np.arange(60), np.arange(60, 120))
    tuned = tune(record, splits=[split], n_trials=8)
    assert (tuned.questions, tuned.cross_fitted) == (60, False)
    worse = np.array(record.scores)
    worse[60:] = 0
    unlucky = Record(record.members, record.questions, record.votes, worse, record.fields)
    other = tune(unlucky, splits=[split], n_trials=8)
    assert other.best.value == 0
    assert other.baseline.members == tuned.baseline.members


def test_a_budget_bounds_the_second_objective():
    record = skilled_record([0.6, 0.6, 0.6], draws=3)
    tuned = tune(record, n_trials=30, minimize="calls_per_question", budget=3)
    assert tuned.best.cost <= 3
    costs = [setting.cost for setting in sorted(tuned.front, key=lambda setting: setting.value)]
    assert costs == sorted(costs)
    with pytest.raises(ConfigurationError, match="within the budget"):
        tune(record, n_trials=3, minimize="calls_per_question", budget=0.5)


def test_costs_can_be_minimised_where_they_were_recorded():
    tuned = tune(
        skilled_record([0.8, 0.5], cost=[0.01, 1.0]),
        n_trials=20,
        minimize="cost_per_question",
        budget=0.5,
    )
    assert tuned.best.members == ("a",)
    with pytest.raises(ConfigurationError, match="has no costs"):
        tune(skilled_record([0.6, 0.6]), n_trials=2, minimize="cost_per_question")
    record = skilled_record([0.6, 0.6], cost=[0.01, 1.0])
    unpriced = replace(record, cost=record.cost.copy())
    unpriced.cost[7, 1, 2] = np.nan
    with pytest.raises(
        ConfigurationError, match="lacks the cost of 1 of the draws of 'b' .*leave that member out"
    ):
        tune(unpriced, n_trials=2, minimize="cost_per_question")
    unpriced.votes[7, 1, 2] = ABSTAINED  # it failed before it was billed
    assert tune(unpriced, n_trials=2, minimize="cost_per_question").best.cost > 0


def test_the_papers_defaults_equal_themselves():
    record = skilled_record([0.7], draws=3)
    assert tune(record, n_trials=1, max_members=1).difference == (0.0, 0.0, 0.0)
    fewer = tune(record, n_trials=1, max_members=1, k_max=2)
    assert fewer.difference == (0.0, 0.0, 0.0)


def test_every_setting_has_its_cost():
    record = skilled_record([0.8, 0.5], cost=[0.01, 1.0], draws=3)
    dear = tune(record, n_trials=6, minimize="cost_per_question", max_members=2, min_members=2)
    assert dear.single.cost == pytest.approx(0.01 * dear.single.k)
    assert dear.baseline.cost == pytest.approx(1.01 * 3)
    twice = replace(record, calls=np.full(record.votes.shape, 2.0))
    calls_of = tune(twice, n_trials=3, max_members=2, min_members=2)
    assert (calls_of.single.cost, calls_of.baseline.cost) == (2 * calls_of.single.k, 12)


def test_no_trial_within_bounds_beats_the_front():
    record, study = (
        skilled_record([0.7, 0.6, 0.5], draws=3),
        optuna.create_study(directions=["maximize", "minimize"]),
    )
    tune(record, n_trials=25, study=study, minimize="calls_per_question")
    tuned = tune(
        record, n_trials=5, study=study, minimize="calls_per_question", max_members=2, k_max=2
    )
    assert all(len(setting.members) <= 2 and setting.k <= 2 for setting in tuned.front)
    for one in tuned.front:
        beaten = [
            t
            for t in tuned.trials
            if t["value"] > one.value + 1e-9 and t["calls_per_question"] < one.cost - 1e-9
        ]
        assert not beaten


def test_large_pools_are_chosen_member_by_member(monkeypatch):
    monkeypatch.setattr("dspy_mux.optimize.objective.ENUMERABLE", 3)
    tuned = tune(skilled_record([0.8, 0.05, 0.05, 0.05]), n_trials=40, max_members=2, seed=1)
    assert "a" in tuned.best.members
    assert all(1 <= len(trial["members"]) <= 2 for trial in tuned.trials)


def test_members_chosen_by_the_figures_are_said_to_be(monkeypatch):
    """Coin-tossing members: chosen on the questions that score them, they are over half right."""
    record = skilled_record([0.45] * 8)
    searched = tune(record, n_trials=4, max_members=2)
    assert searched.cross_fitted
    assert "(no question is scored by a subset it chose)" in searched.note
    monkeypatch.setattr("dspy_mux.optimize.objective.ENUMERABLE", 3)
    split = [Split(np.arange(60), np.arange(60, 120))]
    for splits, where in (
        (None, "of the questions that chose"),
        (split, "of the validation split"),
    ):
        chosen = tune(record, n_trials=4, max_members=2, splits=splits)
        assert not chosen.cross_fitted
        assert chosen.note.startswith(
            f"Accuracies are {where}, on the very questions by which the study chose the members, "
        )
        assert "it chose)" not in chosen.note
        report = MuxReport(chosen, {}, [])
        assert {row["note"] for row in report.rows()} == {chosen.note}
        assert set(report.to_dataframe()["note"]) == {chosen.note}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rules": ["best"]}, "no rule 'best'"),
        ({"min_members": 5}, "max_members must be min_members=5 or more, not 3"),
        ({"min_members": 5, "max_members": 6}, "nothing to choose"),
        ({"minimize": "time"}, "minimize must be"),
        ({"budget": 3.0}, "needs the objective"),
        ({"n_trials": 0}, "n_trials"),
        ({"storage": "nonsense://x"}, "storage"),
        ({"context": "nowhere", "rules": ["calibrated"]}, "no field 'nowhere'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        tune(skilled_record([0.6, 0.5]), **{"n_trials": 8, **settings})


def test_a_threshold_that_no_draw_reaches_is_refused():
    record = skilled_record([0.1, 0.1, 0.8])
    graded = replace(record, scores=np.where(record.scores > 0, 0.9, 0.1))
    with pytest.raises(
        ConfigurationError,
        match=r"threshold 1,.* highest score is 0.9: give a threshold that good answers reach",
    ):
        tune(graded, n_trials=4)
    assert "c" in tune(graded, n_trials=8, threshold=0.5, max_members=2).best.members
    # What is held out chooses nothing, whatever it scores.
    held_out = np.concatenate([graded.scores[:60], np.ones_like(graded.scores[60:])])
    with pytest.raises(ConfigurationError, match="highest score is 0.9"):
        tune(
            replace(graded, scores=held_out),
            n_trials=4,
            splits=[Split(np.arange(60), np.arange(60, 120))],
        )


@pytest.mark.parametrize(
    "step", [partial(replay, rule="consistency"), partial(search, sizes=[2]), tune, scale]
)
@pytest.mark.parametrize("given", ["draws.jsonl", SampleBank("bank.sqlite")])
def test_the_steps_need_a_record(step, given):
    with pytest.raises(ConfigurationError, match=r"A Record is needed, not .* with bank\.record"):
        step(given)
