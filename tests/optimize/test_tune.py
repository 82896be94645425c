"""Tuning, the optimizer over it, and scaling: on draws of scripted members whose skill the test knows."""

from __future__ import annotations

import json
from dataclasses import replace

import dspy
import numpy as np
import optuna
import pytest

from dspy_mux import ConfigurationError, DataError, MuxOptimizer, SampleBank, SLMMux
from dspy_mux.bank.record import Record
from dspy_mux.optimize.figures import scaling_figures
from dspy_mux.optimize.scaling import scale
from dspy_mux.optimize.search import search
from dspy_mux.optimize.tune import tune
from dspy_mux.replay.replay import replay
from dspy_mux.replay.splits import Split, folds, holdout
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.tally import ABSTAINED, Tally

from ..bank.test_collect import a_member, a_mux, calls, metric, questions


def a_record(skills, count=120, draws=4, seed=0, cost=None):
    """Members that know a fixed part of the questions each, and answer those well."""
    random = np.random.default_rng(seed)
    members = len(skills)
    knows = random.random((count, members, 1)) < np.array(skills)[None, :, None]
    right = random.random((count, members, draws)) < np.where(knows, 0.95, 0.15)
    votes = np.where(right, 0, random.integers(1, 6, right.shape))
    costs = (
        None
        if cost is None
        else np.broadcast_to(np.array(cost)[None, :, None], right.shape).astype(float)
    )
    return Record(
        members=tuple("abcdefgh"[:members]),
        questions=tuple(map(str, range(count))),
        votes=votes,
        scores=right.astype(np.float32),
        fields={"task": tuple("xy"[n % 2] for n in range(count))},
        cost=costs,
    )


def test_a_study_finds_the_members_that_know_something():
    tuned = tune(a_record([0.7, 0.05, 0.7, 0.05]), n_trials=25, max_members=2)
    assert set(tuned.best.members) == {"a", "c"}
    assert tuned.best.value >= tuned.single.value
    assert tuned.cross_fitted
    assert len(tuned.trials) == 25


def test_the_papers_defaults_are_tried_first():
    tuned = tune(a_record([0.6, 0.5, 0.4]), n_trials=3, max_members=3)
    assert {(trial["k"], trial["rule"], trial["penalty"]) for trial in tuned.trials} == {
        (3, "consistency", 1.0)
    }
    assert [trial["size"] for trial in tuned.trials] == [3, 2, 1]


def test_the_same_seed_gives_the_same_study():
    first, second = (tune(a_record([0.6, 0.5, 0.4]), n_trials=12, seed=3).trials for _ in range(2))
    assert first == second


def test_what_a_study_remembers_changes_no_trial_of_it():
    """Every value is what a search and a replay give that know nothing of other trials."""
    record = a_record([0.7, 0.6, 0.5, 0.4], draws=4)
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


def test_another_rule_is_taken_only_where_it_wins_under_cross_validation():
    # One member alone: every rule picks the same, so none can win.
    assert tune(a_record([0.6]), n_trials=10, max_members=1).best.rule == "consistency"


def test_a_recorded_split_scores_trials_on_its_test_part_alone():
    record = a_record([0.7, 0.5])
    split = Split(np.arange(60), np.arange(60, 120))
    tuned = tune(record, splits=[split], n_trials=8)
    assert (tuned.questions, tuned.cross_fitted) == (60, False)
    worse = np.array(record.scores)
    worse[60:] = 0
    unlucky = Record(record.members, record.questions, record.votes, worse, record.fields)
    other = tune(unlucky, splits=[split], n_trials=8)
    assert other.best.value == 0
    assert other.baseline.members == tuned.baseline.members


def test_a_budget_bounds_the_second_objective_and_gives_a_front():
    record = a_record([0.6, 0.6, 0.6], draws=3)
    tuned = tune(record, n_trials=30, minimize="calls_per_question", budget=3)
    assert tuned.best.cost <= 3
    costs = [setting.cost for setting in sorted(tuned.front, key=lambda setting: setting.value)]
    assert costs == sorted(costs)
    with pytest.raises(ConfigurationError, match="within the budget"):
        tune(record, n_trials=3, minimize="calls_per_question", budget=0.5)


def test_costs_can_be_minimised_where_they_were_recorded():
    tuned = tune(
        a_record([0.8, 0.5], cost=[0.01, 1.0]),
        n_trials=20,
        minimize="cost_per_question",
        budget=0.5,
    )
    assert tuned.best.members == ("a",)
    with pytest.raises(ConfigurationError, match="has no costs"):
        tune(a_record([0.6, 0.6]), n_trials=2, minimize="cost_per_question")
    record = a_record([0.6, 0.6], cost=[0.01, 1.0])
    unpriced = replace(record, cost=record.cost.copy())
    unpriced.cost[7, 1, 2] = np.nan
    with pytest.raises(
        ConfigurationError, match="lacks the cost of 1 of the draws of 'b' .*leave that member out"
    ):
        tune(unpriced, n_trials=2, minimize="cost_per_question")
    unpriced.votes[7, 1, 2] = ABSTAINED  # it failed before it was billed
    assert tune(unpriced, n_trials=2, minimize="cost_per_question").best.cost > 0


def test_the_papers_defaults_differ_from_themselves_by_nothing():
    record = a_record([0.7], draws=3)
    assert tune(record, n_trials=1, max_members=1).difference == (0.0, 0.0, 0.0)
    fewer = tune(record, n_trials=1, max_members=1, k_max=2)
    assert fewer.difference == (0.0, 0.0, 0.0)


def test_every_setting_tells_its_cost_by_the_second_objective():
    record = a_record([0.8, 0.5], cost=[0.01, 1.0], draws=3)
    dear = tune(record, n_trials=6, minimize="cost_per_question", max_members=2, min_members=2)
    assert dear.single.cost == pytest.approx(0.01 * dear.single.k)
    assert dear.baseline.cost == pytest.approx(1.01 * 3)
    twice = replace(record, calls=np.full(record.votes.shape, 2.0))
    calls_of = tune(twice, n_trials=3, max_members=2, min_members=2)
    assert (calls_of.single.cost, calls_of.baseline.cost) == (2 * calls_of.single.k, 12)


def test_a_study_in_a_storage_goes_on_and_is_readable_by_others(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    record = a_record([0.6, 0.5])
    tune(record, n_trials=6, storage=storage, study_name="mine")
    again = tune(record, n_trials=4, storage=storage, study_name="mine")
    assert len(again.trials) == 10
    assert len(optuna.load_study(study_name="mine", storage=storage).trials) == 10
    with pytest.raises(ConfigurationError, match="other data"):
        tune(a_record([0.6, 0.5, 0.4]), n_trials=2, storage=storage, study_name="mine")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda record: (
                replace(record, votes=record.votes[:, ::-1], scores=record.scores[:, ::-1]),
                {},
            ),
            "draws, scores differ",
        ),
        (lambda record: (replace(record, scores=np.ones_like(record.scores)), {}), "scores differ"),
        (
            lambda record: (replace(record, calls=np.full(record.votes.shape, 2.0)), {}),
            "calls differ",
        ),
        (lambda record: (record, {"seed": 1}), "splits differ"),
        (
            lambda record: (record, {"splits": [Split(np.arange(60), np.arange(60, 120))]}),
            "splits differ",
        ),
        (lambda record: (record, {"threshold": 0.5}), "threshold differ"),
        (lambda record: (record, {"context": "task"}), "context differ"),
        (lambda record: (replace(record, members=("a", "z")), {}), "members differ"),
    ],
)
def test_a_study_of_other_draws_scores_splits_threshold_or_context_does_not_go_on(
    tmp_path, change, told
):
    record, storage = a_record([0.6, 0.5]), f"sqlite:///{tmp_path / 'study.db'}"
    tune(record, n_trials=2, storage=storage)
    other, settings = change(record)
    with pytest.raises(ConfigurationError, match=f"other data \\({told}\\): name another study"):
        tune(other, n_trials=1, storage=storage, **settings)


def test_a_study_that_goes_on_with_other_bounds_keeps_to_them(tmp_path):
    record, storage = a_record([0.7, 0.6, 0.5], draws=3), f"sqlite:///{tmp_path / 'study.db'}"
    tune(record, n_trials=20, storage=storage)
    tuned = tune(record, n_trials=4, storage=storage, max_members=1, k_max=2)
    assert {trial["size"] for trial in tuned.trials} == {1}
    assert max(trial["k"] for trial in tuned.trials) <= 2
    assert (len(tuned.best.members), tuned.best.k <= 2) == (1, True)
    assert len(tune(record, n_trials=1, storage=storage).trials) > 20


def test_members_and_value_of_the_best_belong_together_whatever_a_study_tells(tmp_path):
    record, study = a_record([0.7, 0.05, 0.7]), optuna.create_study(direction="maximize")
    told = tune(record, n_trials=12, study=study, max_members=2).best
    best = max(study.trials, key=lambda trial: trial.value)
    wrong = {"members": ["b"], "calls_per_question": 1.0}
    study.add_trial(
        optuna.trial.create_trial(
            params=best.params, distributions=best.distributions, value=best.value, user_attrs=wrong
        )
    )
    again = tune(record, n_trials=1, study=study, max_members=2).best
    assert (again.members, again.value) == (told.members, told.value)
    assert set(again.members) == {"a", "c"}


@pytest.mark.filterwarnings("ignore:Fixed parameter .* is out of range")
def test_what_an_earlier_run_queued_outside_the_bounds_is_passed_over():
    record, study = a_record([0.7, 0.6, 0.5], draws=3), optuna.create_study(direction="maximize")
    tune(
        record, n_trials=1, study=study
    )  # leaves the settings of two members and of one in the queue
    with pytest.raises(ConfigurationError, match="No trial of the sizes and draws asked for"):
        tune(record, n_trials=1, study=study, max_members=1)
    assert len(tune(record, n_trials=5, study=study, max_members=1).best.members) == 1


def test_a_study_with_trials_that_no_tuning_made_does_not_go_on():
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ConfigurationError, match="trials of other rules"):
        tune(a_record([0.6, 0.5]), n_trials=1, study=study)


def test_a_study_of_members_one_by_one_does_not_go_on_where_subsets_are_searched(monkeypatch):
    record, study = a_record([0.7, 0.6, 0.5]), optuna.create_study(direction="maximize")
    tune(record, n_trials=2, study=study)
    monkeypatch.setattr("dspy_mux.optimize.objective.ENUMERABLE", 0)
    with pytest.raises(ConfigurationError, match="trials of other rules"):
        tune(record, n_trials=2, study=study)


def test_the_front_holds_what_no_other_trial_beats_within_the_bounds():
    record, study = (
        a_record([0.7, 0.6, 0.5], draws=3),
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


def test_pools_too_large_to_enumerate_are_chosen_member_by_member(monkeypatch):
    monkeypatch.setattr("dspy_mux.optimize.objective.ENUMERABLE", 3)
    tuned = tune(a_record([0.8, 0.05, 0.05, 0.05]), n_trials=40, max_members=2, seed=1)
    assert "a" in tuned.best.members
    assert all(1 <= len(trial["members"]) <= 2 for trial in tuned.trials)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"rules": ["best"]}, "no rule 'best'"),
        ({"min_members": 5}, "nothing to choose"),
        ({"minimize": "time"}, "minimize must be"),
        ({"budget": 3.0}, "needs the objective"),
        ({"n_trials": 0}, "n_trials"),
        ({"storage": "nonsense://x"}, "storage"),
        ({"context": "nowhere", "rules": ["calibrated"]}, "no field 'nowhere'"),
    ],
)
def test_bad_settings_are_refused(settings, told):
    with pytest.raises(ConfigurationError, match=told):
        tune(a_record([0.6, 0.5]), **{"n_trials": 8, **settings})


def test_a_threshold_that_no_draw_reaches_is_refused_and_the_highest_score_told():
    record = a_record([0.1, 0.1, 0.8])
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


# --- the optimizer


def test_a_mux_is_compiled_and_the_student_stays_as_it_was(tmp_path):
    student = a_mux(a_member("a", 0.8), a_member("b", 0.1), a_member("c", 0.7), k=2)
    bank = SampleBank(tmp_path / "bank.sqlite")
    examples = questions(60)
    best = MuxOptimizer(metric=metric, bank=bank, max_members=2, k_max=3, n_trials=12).compile(
        student, trainset=examples[:40], valset=examples[40:]
    )
    assert {member.name for member in best.members} <= {"a", "c"}
    assert best.accuracies.keys() == {member.name for member in best.members}
    assert [member.name for member in student.members] == ["a", "b", "c"]
    assert student.accuracies == {}
    assert not hasattr(student, "report")
    assert "compiled" in best.report.to_markdown()
    assert (
        "best of the trials (12) was taken: that flatters it, and a test split would not"
        in best.report.note
    )
    assert best.report.to_dataframe().shape == (3, 6)
    assert "<table>" in best.report.to_html()
    before = calls(student)
    assert best(question="q1?").verdict.rule == best.rule.name
    assert calls(student) == before  # recorded draws are in the cache


def test_errors_in_the_draws_are_told_and_made_again_on_request(tmp_path, caplog):
    flaky = a_member("b", 0.9)
    reply = flaky.lm.engine.reply
    flaky.lm.engine.reply = lambda prompt, draw: (
        ConnectionError("refused") if "q7?" in prompt else reply(prompt, draw)
    )
    student = a_mux(a_member("a", 0.6), flaky, k=2)
    settings = {"metric": metric, "bank": tmp_path / "bank.sqlite", "n_trials": 6}
    best = MuxOptimizer(**settings).compile(student, trainset=questions(30))
    told = "Errors cost 2 of 120 draws, most often 'LMUnexpectedError: [scripted/b] refused'"
    assert told in best.report.note
    assert told in caplog.text
    flaky.lm.engine.reply = reply
    assert (
        "Errors cost"
        in MuxOptimizer(**settings).compile(student, trainset=questions(30)).report.note
    )
    mended = MuxOptimizer(**settings, retry_failed=True).compile(student, trainset=questions(30))
    assert "Errors cost" not in mended.report.note


def test_a_compiled_mux_with_a_calibrated_rule_saves_loads_and_answers_alike(tmp_path):
    members = [a_member("a", 0.6), a_member("b", 0.5), a_member("c", 0.5)]
    student = SLMMux(dspy.Predict("question, category -> answer"), members, k=3, temperature=0.5)
    examples = [example.with_inputs("question", "category") for example in questions(60)]
    study = MuxOptimizer(
        metric=metric, n_trials=6, min_members=3, rules=["calibrated"], context="category", seed=1
    )
    best = study.compile(student, trainset=examples)
    record_rule = (
        study._rule
    )  # fitted whatever the cross-validation says, so that the rule is there to be saved
    assert best.report.tuned.cross_fitted
    from dspy_mux.bank.collect import collect, recorded

    bank = SampleBank(tmp_path / "bank.sqlite")
    collect(student, examples, metric, bank)
    record = recorded(student, examples, bank, dataset="default", k=3)
    setting = replace(best.report.tuned.best, rule="calibrated")
    mux = student.subset(["a", "b", "c"])
    mux.pool.rule = record_rule(setting, record, Tally(record.votes))
    mux.save(tmp_path / "mux.json")
    loaded = student.subset(["a", "b", "c"])
    loaded.load(tmp_path / "mux.json")
    told = [
        (p.answer, p.verdict.confidence, p.verdict.member)
        for p in (mux(**e.inputs()) for e in examples[:20])
    ]
    assert told == [
        (p.answer, p.verdict.confidence, p.verdict.member)
        for p in (loaded(**e.inputs()) for e in examples[:20])
    ]
    replayed = mux.rule.pick(Tally(record.votes), record.field("category"))
    assert [("a", "b", "c")[at] for at in replayed.member[:20]] == [member for _, _, member in told]
    assert replayed.confidence[:20].tolist() == pytest.approx(
        [confidence for _, confidence, _ in told]
    )
    damaged = json.loads((tmp_path / "mux.json").read_text())
    damaged["pool"]["rule"]["weights"].pop()
    (tmp_path / "mux.json").write_text(json.dumps(damaged))
    with pytest.raises(DataError, match="damaged"):
        loaded.load(tmp_path / "mux.json")


def test_a_graded_metric_chooses_members_by_the_threshold_given():
    def graded(example, pred, trace=None):
        return 0.9 if pred.answer == example.answer else 0.1

    student = a_mux(a_member("bad", 0.05), a_member("worse", 0.05), a_member("good", 0.9), k=2)
    with pytest.raises(
        ConfigurationError,
        match="No draw of the questions that choose the members reaches the threshold 1",
    ):
        MuxOptimizer(metric=graded, n_trials=4).compile(student, trainset=questions(30))
    best = MuxOptimizer(metric=graded, n_trials=8, threshold=0.5, max_members=1).compile(
        student, trainset=questions(30)
    )
    assert [member.name for member in best.members] == ["good"]


def test_a_context_that_the_mux_is_not_told_is_refused_before_anything_is_drawn():
    student = a_mux(a_member("a"), a_member("b"))
    study = MuxOptimizer(metric=metric, n_trials=2, context="category")
    with pytest.raises(
        ConfigurationError,
        match=r"context='category' is not an input of every example \(one has question\)",
    ):
        study.compile(student, trainset=questions(30))
    mixed = [example.with_inputs("question", "category") for example in questions(30)]
    with pytest.raises(ConfigurationError, match="context='category' is not an input"):
        study.compile(student, trainset=mixed[:20], valset=questions(30)[20:])
    assert calls(student) == [0, 0]


def test_a_mux_with_a_fitted_rule_is_compiled_again_whatever_it_was_fitted_for():
    student = a_mux(a_member("a", 0.8), a_member("b", 0.1), k=2)
    votes = np.tile([[[0, 0], [1, 1]]], (30, 1, 1))
    student.pool.rule = fit(Training(Tally(votes), (votes == 0).astype(float), ("a", "b")))
    study = MuxOptimizer(metric=metric, n_trials=4, max_members=1, rules=["consistency"])
    best = study.compile(student, trainset=questions(30))
    assert ([member.name for member in best.members], best.rule.name, student.rule.name) == (
        ["a"],
        "consistency",
        "calibrated",
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"trainset": []}, "empty"),
        ({"trainset": questions(4), "valset": questions(2)}, "both trainset and valset"),
        ({"trainset": questions(4), "teacher": dspy.Predict("a -> b")}, "teacher"),
    ],
)
def test_what_cannot_be_compiled_is_refused(arguments, told):
    with pytest.raises(ConfigurationError, match=told):
        MuxOptimizer(metric=metric).compile(a_mux(a_member("a"), a_member("b")), **arguments)


def test_only_a_mux_is_compiled():
    with pytest.raises(ConfigurationError, match="compiles an SLMMux"):
        MuxOptimizer(metric=metric).compile(
            dspy.Predict("question -> answer"), trainset=questions(3)
        )


# --- scaling


def test_more_complementary_members_raise_the_union_and_the_sweet_spot_is_told():
    told = scale(a_record([0.5, 0.5, 0.5], count=200, draws=5), k=3, max_members=3)
    unions = [point.union_accuracy for point in told.by_members if point.rule == "consistency"]
    assert unions == sorted(unions)
    assert {point.rule for point in told.by_members} == {"consistency", "pooled"}
    assert sorted({point.k for point in told.by_draws}) == [2, 3, 4, 5]
    assert told.sweet_spot.size in (1, 2, 3)
    assert str(told.sweet_spot.size) in told.reason
    assert [figure.layout.xaxis.title.text for figure in scaling_figures(told)] == [
        "members",
        "draws per member (k)",
    ]


def test_scaling_scores_no_question_by_a_subset_it_chose():
    # Members of pure luck: choosing them on the questions they are scored on would look better than one of them is.
    random = np.random.default_rng(0)
    right = random.random((60, 8, 1)) < 0.5
    record = Record(
        tuple("abcdefgh"),
        tuple(map(str, range(60))),
        np.where(right, 0, 1),
        right.astype(float),
        {},
    )
    told = scale(record, k=1, max_members=1, splits=holdout(60, repeats=40))
    assert told.by_members[0].accuracy < 0.56


def test_k_above_the_record_is_refused():
    with pytest.raises(ConfigurationError, match="fewer than k=9"):
        scale(a_record([0.5, 0.5]), k=9)
