"""What a text names as a study's storage, and that studies are found there again."""

from __future__ import annotations

import optuna
import pytest

from dspy_mux.errors import ConfigurationError
from dspy_mux.optimize.storage import database_url, open_storage


@pytest.mark.parametrize("name", ["study.log", "study", "sqlite:///{}/study.db"])
def test_a_study_is_found_again_in_its_storage(name, tmp_path):
    text = name.format(tmp_path) if "://" in name else str(tmp_path / name)
    study = optuna.create_study(study_name="s", storage=open_storage(text))
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    again = optuna.load_study(study_name="s", storage=open_storage(text))
    assert [trial.value for trial in again.trials] == [trial.value for trial in study.trials]
    kind = optuna.storages.RDBStorage if "://" in name else optuna.storages.JournalStorage
    assert isinstance(open_storage(text), kind)


def test_a_storage_that_is_open_is_taken_as_it_is():
    storage = optuna.storages.InMemoryStorage()
    assert open_storage(storage) is storage
    assert open_storage(None) is None


@pytest.mark.parametrize("name", ["study.db", "study.sqlite", "study.sqlite3"])
def test_a_database_is_no_journal_file(name):
    with pytest.raises(ConfigurationError, match=f"write sqlite:///{name} for a database"):
        open_storage(name)


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://host/base", "postgresql+psycopg"),
        ("postgres://host/base", "postgresql+psycopg"),
        ("postgresql+pg8000://host/base", "postgresql+pg8000"),
        ("sqlite:///study.db", "sqlite"),
    ],
)
def test_postgresql_has_the_driver_of_banks_unless_it_names_one(url, driver):
    assert database_url(url).drivername == driver


def test_an_sqlite_study_waits_for_another_writer_unless_its_url_says_how_long(tmp_path):
    waits = open_storage(f"sqlite:///{tmp_path}/a.db")
    assert waits.engine_kwargs["connect_args"]["timeout"] == 60
    told = open_storage(f"sqlite:///{tmp_path}/b.db?timeout=7")
    assert "timeout" not in told.engine_kwargs.get("connect_args", {})
