"""Several processes at one study: begun together, killed, interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections import Counter

import optuna
import pytest
import sqlalchemy as sa

from dspy_mux import ConfigurationError
from dspy_mux.optimize import turns
from dspy_mux.optimize.objective import Objective
from dspy_mux.optimize.storage import database_url, open_storage
from dspy_mux.optimize.tune import tune

from ..cli.rows import some_rows
from ..support.databases import SERVER, a_place
from ..support.rows import jsonl
from ..support.tuning import skilled_record
from ..support.wait import PATIENCE_S

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__, "psycopg", "sqlalchemy.dialects.postgresql.psycopg"])
KINDS = ["sqlite", "journal", *(["postgresql"] if SERVER else [])]
PROCESSES, TRIALS = 4, 12


@pytest.fixture(params=KINDS)
def storage(request, tmp_path):
    if request.param == "postgresql":
        with a_place("postgresql", tmp_path) as url:
            yield url
    else:
        yield (
            f"sqlite:///{tmp_path / 'study.db'}"
            if request.param == "sqlite"
            else str(tmp_path / "study.log")
        )


def record():
    return skilled_record([0.7, 0.6, 0.5], count=40)


def run(storage, start, results):
    turns.ABANDONED_S = 10 * PATIENCE_S  # however slow the machine is
    start.wait(4 * PATIENCE_S)
    try:
        tuned = tune(record(), n_trials=TRIALS, storage=storage)
        results.put((len(tuned.trials), tuned.best))
    except BaseException as error:
        results.put(repr(error))
        raise


def states(storage):
    study = optuna.load_study(study_name="dspy-mux", storage=open_storage(storage))
    return Counter(trial.state.name for trial in study.trials)


def test_processes_that_begin_at_once_share_the_trials(storage):
    start, results = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=run, args=(storage, start, results)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=4 * PATIENCE_S) for _ in processes]
    for process in processes:
        process.join(PATIENCE_S)
    assert states(storage) == {"COMPLETE": TRIALS}
    assert found == [found[0]] * PROCESSES
    assert found[0][0] == TRIALS


def die_in_a_trial(storage):
    begun = 0
    score = Objective.__call__

    def dies(self, trial):
        nonlocal begun
        begun += 1
        if begun == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return score(self, trial)

    Objective.__call__ = dies
    tune(record(), n_trials=TRIALS, storage=storage)


def test_a_killed_process_costs_its_trial_alone(storage, monkeypatch):
    monkeypatch.setattr("dspy_mux.optimize.turns.ABANDONED_S", 0.1)
    process = context.Process(target=die_in_a_trial, args=(storage,))
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == -signal.SIGKILL
    assert states(storage)["RUNNING"] == 1
    tuned = tune(record(), n_trials=TRIALS, storage=storage)
    assert len(tuned.trials) == TRIALS
    assert states(storage) == {"COMPLETE": TRIALS, "FAIL": 1}


def test_threads_share_the_trials(storage):
    tuned = tune(record(), n_trials=TRIALS, storage=storage, n_jobs=3)
    assert states(storage) == {"COMPLETE": TRIALS}
    assert len(tuned.trials) == TRIALS


def test_a_continued_study_tries_other_settings(tmp_path):
    storage = str(tmp_path / "study.log")
    tune(record(), n_trials=10, storage=storage)
    trials = tune(record(), n_trials=14, storage=storage).trials
    settings = [{**trial, "number": None} for trial in trials]
    assert all(again not in settings[:10] for again in settings[10:])


def test_a_file_of_no_kind_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"write sqlite:///study\.db for a database"):
        tune(record(), n_trials=1, storage="study.db")


def test_a_file_of_another_kind_is_left_alone(tmp_path):
    other = jsonl(tmp_path / "bank.jsonl", some_rows())
    before = other.read_bytes()
    with pytest.raises(ConfigurationError, match="cannot be used .* a journal file"):
        tune(record(), n_trials=1, storage=str(other))
    assert other.read_bytes() == before


@pytest.mark.skipif(not SERVER, reason="needs a PostgreSQL server")
def test_a_url_of_postgresql_needs_no_driver(tmp_path):
    with a_place("postgresql", tmp_path) as url:
        plain = sa.make_url(url).set(drivername="postgresql")
        assert database_url(plain.render_as_string(hide_password=False)) == sa.make_url(url)


ENDLESS = """
import sys
from dspy_mux.cli.main import main
from dspy_mux.optimize.objective import Objective
from dspy_mux.sampling.interrupt import Interrupt
import time

def lasts(self, trial, score=Objective.__call__):
    value = score(self, trial)
    if trial.number == 3:
        print("under way", flush=True)
        time.sleep({seconds})
    return value

def notices(self, number, frame, handle=Interrupt._handle):
    print("noticed", flush=True)
    handle(self, number, frame)

Objective.__call__ = lasts
Interrupt._handle = notices
main()
"""


@pytest.mark.parametrize(("seconds", "presses"), [(1, 1), (600, 2)])
def test_ctrl_c_ends_a_study_with_one_line(tmp_path, seconds, presses):
    bank = jsonl(tmp_path / "bank.jsonl", some_rows())
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    words = ["tune", str(bank), "--trials", "1000", "--storage", storage]
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS.format(seconds=seconds), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout.readline() == "under way\n"
        for _ in range(presses):
            os.killpg(process.pid, signal.SIGINT)
            assert process.stdout.readline() == "noticed\n"
        said = process.stderr.read()
    assert process.returncode == 130
    assert said == (
        "dspy-mux: interrupted; finished trials are kept, and the same command goes on.\n"
    )
    assert states(storage)["COMPLETE"] == (4 if presses == 1 else 3)
