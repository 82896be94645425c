"""Studies in a storage: continued where their data are the same, refused where they are not."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import optuna
import pytest

from dspy_mux import ConfigurationError, MissingExtra, StorageError
from dspy_mux.optimize.tune import tune
from dspy_mux.replay.splits import Split

from ..support.tuning import skilled_record


def test_a_stored_study_continues_and_others_can_read_it(tmp_path):
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    record = skilled_record([0.6, 0.5])
    tune(record, n_trials=6, storage=storage, study_name="mine")
    again = tune(record, n_trials=10, storage=storage, study_name="mine")
    assert len(again.trials) == 10
    assert len(optuna.load_study(study_name="mine", storage=storage).trials) == 10
    with pytest.raises(ConfigurationError, match="other data"):
        tune(skilled_record([0.6, 0.5, 0.4]), n_trials=2, storage=storage, study_name="mine")


@pytest.mark.parametrize(
    ("change", "differing"),
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
def test_a_study_of_other_data_is_refused(tmp_path, change, differing):
    record, storage = skilled_record([0.6, 0.5]), f"sqlite:///{tmp_path / 'study.db'}"
    tune(record, n_trials=2, storage=storage)
    other, settings = change(record)
    with pytest.raises(
        ConfigurationError, match=f"other data \\({differing}\\): name another study"
    ):
        tune(other, n_trials=1, storage=storage, **settings)


def test_a_continued_study_keeps_to_new_bounds(tmp_path):
    record, storage = skilled_record([0.7, 0.6, 0.5], draws=3), f"sqlite:///{tmp_path / 'study.db'}"
    tune(record, n_trials=20, storage=storage)
    tuned = tune(record, n_trials=4, storage=storage, max_members=1, k_max=2)
    assert {trial["size"] for trial in tuned.trials} == {1}
    assert max(trial["k"] for trial in tuned.trials) <= 2
    assert (len(tuned.best.members), tuned.best.k <= 2) == (1, True)
    assert len(tune(record, n_trials=1, storage=storage).trials) > 20


def test_members_of_the_best_are_searched_not_read(tmp_path):
    record, study = skilled_record([0.7, 0.05, 0.7]), optuna.create_study(direction="maximize")
    first = tune(record, n_trials=12, study=study, max_members=2).best
    best = max(study.trials, key=lambda trial: trial.value)
    wrong = {"members": ["b"], "calls_per_question": 1.0}
    study.add_trial(
        optuna.trial.create_trial(
            params=best.params, distributions=best.distributions, value=best.value, user_attrs=wrong
        )
    )
    again = tune(record, n_trials=1, study=study, max_members=2).best
    assert (again.members, again.value) == (first.members, first.value)
    assert set(again.members) == {"a", "c"}


@pytest.mark.filterwarnings("ignore:Fixed parameter .* is out of range")
def test_queued_trials_outside_the_bounds_are_pruned():
    record, study = (
        skilled_record([0.7, 0.6, 0.5], draws=3),
        optuna.create_study(direction="maximize"),
    )
    tune(record, n_trials=1, study=study)
    study.enqueue_trial({"k": 1, "rule": "consistency", "size": 3, "penalty": 1.0})
    with pytest.raises(ConfigurationError, match="No trial of the sizes and draws asked for"):
        tune(record, n_trials=5, study=study, max_members=1, timeout=0)
    assert len(tune(record, n_trials=5, study=study, max_members=1).best.members) == 1
    assert [trial.state.name for trial in study.trials].count("PRUNED") == 1


def test_a_study_with_foreign_trials_is_refused():
    study = optuna.create_study(direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(ConfigurationError, match="trials of other rules"):
        tune(skilled_record([0.6, 0.5]), n_trials=1, study=study)


def test_a_study_of_searched_subsets_cannot_pick_members(monkeypatch):
    record, study = skilled_record([0.7, 0.6, 0.5]), optuna.create_study(direction="maximize")
    tune(record, n_trials=2, study=study)
    monkeypatch.setattr("dspy_mux.optimize.objective.ENUMERABLE", 0)
    with pytest.raises(ConfigurationError, match="trials of other rules"):
        tune(record, n_trials=2, study=study)


def test_a_storage_that_is_down_is_a_storage_error(tmp_path):
    gone = f"sqlite:///{tmp_path / 'nowhere' / 'study.db'}"
    with pytest.raises(StorageError, match=r"storage cannot be used \(OperationalError\)"):
        tune(skilled_record([0.6, 0.5]), n_trials=1, storage=gone)


def test_a_storage_that_fails_under_way_is_a_storage_error(tmp_path):
    path = tmp_path / "study.db"

    def lose_tables(study, trial):
        for table in ("trial_params", "trial_values", "trials"):
            with study._storage._backend.engine.begin() as connection:
                connection.exec_driver_sql(f"DROP TABLE {table}")

    with pytest.raises(StorageError, match="storage failed .*finished trials are kept"):
        tune(
            skilled_record([0.6, 0.5]),
            n_trials=3,
            storage=f"sqlite:///{path}",
            callbacks=[lose_tables],
        )


def test_a_password_in_the_storage_is_not_shown():
    url = "postgresql://someone:sesame@127.0.0.1:1/study?connect_timeout=1"
    with pytest.raises((StorageError, MissingExtra)) as caught:
        tune(skilled_record([0.6, 0.5]), n_trials=1, storage=url)
    assert "sesame" not in str(caught.value)


def test_optuna_that_is_not_installed_is_a_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'dspy-mux\[optimize\]'"):
        tune(skilled_record([0.6, 0.5]), n_trials=1)
