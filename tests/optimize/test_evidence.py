"""Studies over draws that have evidence, with greedy draws beside the sampled ones."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from dspy_mux import ConfigurationError
from dspy_mux.cli.main import app
from dspy_mux.optimize.curve import curve_of
from dspy_mux.optimize.objective import Objective
from dspy_mux.optimize.options import ChoiceOptions
from dspy_mux.optimize.plan import Plan, Recorded, paired
from dspy_mux.optimize.report import MuxReport
from dspy_mux.optimize.scaling import scale
from dspy_mux.optimize.tune import tune
from dspy_mux.replay.intervals import difference_interval, mean_interval, standard_error
from dspy_mux.replay.replay import replay
from dspy_mux.replay.splits import folds, holdout
from dspy_mux.voting.tally import ABSTAINED

from ..support.evidence_records import knowing_record
from ..support.rows import jsonl
from ..support.tuning import skilled_record


def greedy_record(**settings):
    return knowing_record(draws=1, temperature=0.0, **settings)


def test_one_greedy_draw_with_evidence_beats_more_without():
    tuned = tune(knowing_record(), greedy=greedy_record(unsure=0.0), n_trials=20)
    best = tuned.best
    assert (best.rule, best.k, best.greedy, best.temperature) == ("probability", 1, True, 0.0)
    assert (best.evidence, best.value, best.cost) == (True, 1.0, 2.0)
    assert tuned.baseline.value < 0.6
    assert (tuned.baseline.temperature, tuned.baseline.evidence) == (0.5, False)
    few, without = tuned.curve.few, tuned.curve.without
    assert few.plan == Plan(1, "probability", greedy=True, evidence=True)
    assert not without.plan.evidence
    assert tuned.curve.difference[0] == pytest.approx(few.accuracy - without.accuracy)
    greedy = [trial for trial in tuned.trials if trial["greedy"]]
    assert {trial["calls_per_question"] / len(trial["members"]) for trial in greedy} == {1}


def test_sampled_draws_are_chosen_where_they_are_better():
    tuned = tune(knowing_record(unsure=0.0), greedy=greedy_record(unsure=0.5), n_trials=20)
    assert (tuned.best.greedy, tuned.best.rule, tuned.best.value) == (False, "probability", 1.0)
    assert tuned.best.k == 1  # equal values: the fewest calls


def test_the_calibrated_rule_is_tried_with_evidence_and_without():
    tuned = tune(knowing_record(count=60, unsure=0.1), n_trials=16, rules=["calibrated"])
    tried = {trial["evidence"] for trial in tuned.trials if trial["rule"] == "calibrated"}
    assert tried == {True, False}
    assert (tuned.best.rule, tuned.best.evidence) == ("calibrated", True)
    without = [trial["value"] for trial in tuned.trials if not trial["evidence"]]
    assert max(without) < tuned.best.value


def test_points_of_the_curve_are_plain_replays():
    record, greedy = knowing_record(), greedy_record()
    tuned = tune(record, greedy=greedy, n_trials=4, seed=4)
    scores = {}
    for point in tuned.curve.points:
        part = greedy if point.plan.greedy else record.first(point.plan.k)
        if not point.plan.evidence:
            part = replace(part, evidence={})
        scores[point.plan] = right = np.concatenate(
            [replay(part, point.plan.rule, splits=[at]).per_question for at in folds(22, seed=4)]
        )
        assert point.accuracy == pytest.approx(right.mean()), point.plan
        assert (point.low, point.high) == mean_interval(right)
    few, without = tuned.curve.few.plan, tuned.curve.without.plan
    assert tuned.curve.difference[1:] == difference_interval(scores[few] - scores[without])
    assert {scores[Plan(k, "pooled")].mean() for k in (1, 2, 3)} == {scores[without].mean()}
    assert (without.rule, without.k) == ("pooled", 1)  # equal accuracies: the fewest calls
    assert {point.plan.draws for point in tuned.curve.points} == {"1 greedy", "1", "2", "3"}
    page = MuxReport(tuned, {}, []).to_html()
    assert "calibrated with evidence" in page
    assert "One greedy draw each, by probability" in page


def test_the_fewest_calls_within_a_standard_error():
    record = skilled_record([0.7, 0.6, 0.5], draws=4)
    tuned = tune(record, n_trials=25, rules=["pooled"], seed=1)
    assert tuned.fewer.cost < tuned.best.cost
    values = {}
    for setting in (tuned.best, tuned.fewer):
        results = [
            replay(record.of(setting.members, None)[0].first(setting.k), setting.rule, splits=[at])
            for at in folds(120, seed=1)
        ]
        values[setting.k, setting.rule] = np.concatenate([each.per_question for each in results])
    assert len(set(tuned.best.members)) == len(set(tuned.fewer.members)) == 3
    gaps = values[tuned.best.k, tuned.best.rule] - values[tuned.fewer.k, tuned.fewer.rule]
    assert gaps.mean() <= standard_error(gaps)
    assert tune(record.first(1), n_trials=2, max_members=1).fewer is None


def test_members_without_evidence_are_scored_by_votes():
    record = knowing_record()
    blank = {
        name: np.where([[[True], [False]]], values, np.nan)
        for name, values in record.evidence.items()
    }
    draws = Recorded(replace(record, evidence=blank))
    plan = Plan(2, "probability", evidence=True)
    assert draws.readable(("even", "odd"), plan) == plan
    assert draws.readable(("odd",), plan) == Plan(2, "pooled")
    learned = Plan(2, "calibrated", evidence=True)
    assert draws.readable(("even", "odd"), learned) == learned
    assert draws.readable(("odd",), learned) == Plan(2, "calibrated")
    assert tune(draws.sampled, n_trials=20, max_members=1).best.evidence is False


def test_a_curve_leaves_out_what_the_members_of_some_split_cannot_follow():
    record = knowing_record()
    known = np.where([[[True], [False]]], record.evidence["answer_logprob"], np.nan)
    draws = Recorded(replace(record, evidence={"answer_logprob": known}))
    objective = Objective(draws, None, ChoiceOptions(rules=["probability"]))
    alike = curve_of(objective, [("even",)] * 5)
    assert alike.few.plan == Plan(1, "probability", evidence=True)
    mixed = curve_of(objective, [("even",)] * 4 + [("odd",)])
    assert (mixed.few, {point.plan.rule for point in mixed.points}) == (None, {"consistency"})


def test_probability_is_tried_where_texts_alone_have_log_probabilities():
    record = knowing_record(count=60, unsure=0.1)
    text = {"text_logprob": record.evidence["answer_logprob"] * 20}  # as behind a chain of thought
    draws = Recorded(replace(record, evidence=text))
    plan = Plan(2, "probability", evidence=True)
    assert draws.has_probabilities
    assert draws.readable(("even", "odd"), plan) == plan
    tuned = tune(draws.sampled, n_trials=12, rules=["probability"])
    assert "probability" in {trial["rule"] for trial in tuned.trials}
    assert (tuned.best.rule, tuned.best.evidence) == ("probability", True)
    assert tuned.best.value > tuned.baseline.value


def test_the_temperature_of_a_setting_is_that_of_all_its_members():
    record = knowing_record()
    heats = record.evidence["temperature"].copy()
    heats[3, 0, 1] = np.nan  # a draw of unknown temperature goes with the others of its member
    draws = Recorded(replace(record, evidence={"temperature": heats}))
    assert draws.temperature(("even", "odd"), Plan(3, "pooled")) == 0.5
    heats[:, 1] = np.nan
    assert draws.temperature(("even", "odd"), Plan(3, "pooled")) is None
    assert draws.temperature(("even",), Plan(3, "pooled")) == 0.5
    assert draws.temperature(("odd",), Plan(3, "pooled")) is None
    heats[:, 1] = 0.9
    assert draws.temperature(("even", "odd"), Plan(3, "pooled")) is None


def test_equal_values_are_decided_by_the_second_objective_before_the_calls():
    record = skilled_record([0.6], draws=2, cost=[0.001])
    record = replace(record, scores=np.ones_like(record.scores), calls=np.full((120, 1, 2), 2.0))
    one = (120, 1, 1)
    greedy = replace(record.first(1), calls=np.ones(one), cost=np.full(one, 0.01))
    tuned = tune(
        record,
        greedy=greedy,
        n_trials=10,
        rules=["consistency"],
        minimize="cost_per_question",
        budget=1.0,
    )
    assert {trial["greedy"] for trial in tuned.trials} == {True, False}
    assert tuned.best.cost == min(trial.values[1] for trial in tuned.study.trials) == 0.001


def test_probability_is_refused_where_nothing_has_evidence():
    record = skilled_record([0.6, 0.5])
    assert "probability" not in {trial["rule"] for trial in tune(record, n_trials=12).trials}
    assert tune(record, n_trials=2).curve is None
    with pytest.raises(ConfigurationError, match="'probability' needs the log-probabilities"):
        tune(record, n_trials=2, rules=["probability"])


def test_greedy_draws_of_other_members_or_questions_are_refused():
    record, greedy = knowing_record(), greedy_record()
    for other in (
        replace(greedy, members=("odd", "even")),
        greedy.rows(np.arange(21, -1, -1)),
        greedy.rows(np.arange(12)),
    ):
        with pytest.raises(ConfigurationError, match="cut both with `paired`"):
            tune(record, greedy=other, n_trials=1)
    swapped = replace(greedy.rows(np.arange(21, 10, -1)), members=("odd", "even"))
    swapped = replace(
        swapped, votes=swapped.votes[:, ::-1].copy(), scores=swapped.scores[:, ::-1].copy()
    )
    sampled, cut, left_out = paired(record, swapped)
    assert (cut.members, cut.questions, left_out) == (record.members, sampled.questions, 11)
    assert (cut.votes[:, :, 0] == sampled.votes[:, :, 0]).all()
    with pytest.raises(ConfigurationError, match="no question with both"):
        paired(record, replace(greedy, questions=tuple(f"other {n}" for n in range(22))))


def test_a_greedy_plan_makes_one_draw():
    draws = Recorded(knowing_record(), knowing_record(draws=2, temperature=0.0))
    assert draws.of(Plan(1, "pooled", greedy=True)).votes.shape == (22, 2, 1)


def test_a_stored_study_of_other_evidence_or_greedy_draws_is_refused(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    record, greedy = knowing_record(), greedy_record()
    tune(record, greedy=greedy, n_trials=8, storage=storage, rules=["pooled"])
    assert (
        len(tune(record, greedy=greedy, n_trials=9, storage=storage, rules=["pooled"]).trials) == 9
    )
    unlucky = replace(greedy, votes=np.full_like(greedy.votes, ABSTAINED))
    doubted = {**record.evidence, "answer_logprob": record.evidence["answer_logprob"] * 2}
    for differing, draws, beside in (
        ("greedy", record, None),
        ("greedy", record, unlucky),
        ("evidence", replace(record, evidence=doubted), greedy),
    ):
        with pytest.raises(ConfigurationError, match=f"other data \\({differing}"):
            tune(draws, greedy=beside, n_trials=1, storage=storage, rules=["pooled"])


def test_scaling_curves_show_probability_where_all_members_have_it():
    record = knowing_record()
    curves = scale(record)
    assert [(p.k, p.rule) for p in curves.by_draws][:3] == [
        (1, "consistency"),
        (1, "pooled"),
        (1, "probability"),
    ]
    both = next(p for p in curves.by_members if (p.size, p.rule) == (2, "probability"))
    assert both.accuracy == pytest.approx(
        replay(record, "probability", k=3, splits=holdout(22, repeats=10)).accuracy
    )
    lone = np.where([[[True], [False]]], record.evidence["answer_logprob"], np.nan)
    curves = scale(replace(record, evidence={"answer_logprob": lone}))
    assert {(p.k, p.rule) for p in curves.by_draws if p.k < 3} == {
        (2, "consistency"),
        (2, "pooled"),
    }


def rows_of(record, temperature):
    for q, question in enumerate(record.questions):
        for m, member in enumerate(record.members):
            for draw in range(record.votes.shape[2]):
                yield {
                    "question_id": question,
                    "model": member,
                    "draw": draw,
                    "answer": f"{record.votes[q, m, draw]}",
                    "correct": bool(record.scores[q, m, draw]),
                    "temperature": temperature,
                    "answer_logprob": float(record.evidence["answer_logprob"][q, m, draw]),
                }


def test_the_command_line_tries_greedy_draws_beside_the_others(tmp_path):
    rows = [*rows_of(knowing_record(), 0.5), *rows_of(greedy_record(unsure=0.0), 0.0)]
    bank = jsonl(tmp_path / "draws.jsonl", rows)
    command = ["tune", str(bank), "--trials", "12"]
    shown = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    best = shown["best"]
    assert (best["rule"], best["greedy"], best["temperature"]) == ("probability", True, 0.0)
    assert shown["curve"]["few"]["greedy"]
    assert shown["curve"]["difference"]["mean"] > 0.3
    table = CliRunner().invoke(app, command).stdout
    assert "1 greedy" in table
    assert "One greedy draw each, by probability: 100.0 % with 2.0 calls" in " ".join(table.split())
    sampled = CliRunner().invoke(app, [*command, "--json", "--temperature", "0.5"]).stdout
    assert not json.loads(sampled)["best"]["greedy"]
