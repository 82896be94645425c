"""Files of the version before the rooms open, and give the figures that they gave then."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import dspy
import pytest

from dspy_mux import SampleBank, SLMMux, collect
from dspy_mux.bank.fingerprint import fingerprint_member
from dspy_mux.bank.import_export import export_file, import_file
from dspy_mux.cli.main import main
from dspy_mux.mux import open_mux
from eval.compare.command import write_table
from eval.compare.methods import Options
from eval.compare.run import compare
from eval.runs.folder import Run

from ..support.scripted import calls, everything, scripted_lm
from . import figures, world

DATA = Path(__file__).parent / "data"
FIGURES = json.loads((DATA / "figures.json").read_text())

# Scripted models answer by the seeds of a live mux, so these must be the same too.
pytestmark = pytest.mark.real_seeds


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(DATA / "files.tar.gz") as packed:
        packed.extractall(folder, filter="data")
    return folder


@pytest.fixture
def files(unpacked, tmp_path, monkeypatch):
    """The old files, in the working folder."""
    folder = tmp_path / "files"
    shutil.copytree(unpacked, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def members():
    return world.pool(lambda *given, **more: scripted_lm(*given, shown=everything, **more))


@pytest.fixture
def command(capsys, monkeypatch):
    """Run `dspy-mux` in this process; the object that it prints."""

    def run(*words: object):
        monkeypatch.setattr("sys.argv", ["dspy-mux", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert not end.value.code, printed.err
        return json.loads(printed.out)

    return run


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        (verb, name)
        for verb in figures.VERBS
        for name in ("bank.sqlite", "bank.jsonl")
        # It takes as long as all others together, which read the file too.
        if (verb, name) != ("budget", "bank.jsonl")
    ],
)
def test_a_verb_computes_the_same(files, command, verb, name):
    told = figures.verb(command, verb, name)
    assert_same(told, figures.figures_of(FIGURES["verbs"][name][verb]))


def test_a_study_keeps_its_trials_and_goes_on(files, command):
    before = FIGURES["continued"]["trials"]
    continued = figures.tune(command, "study.db", trials=len(before))
    assert_same(continued["trials"][:8], before[:8])
    # Further ones are drawn otherwise since: a study that goes on does not repeat itself.
    assert [trial["number"] for trial in continued["trials"]] == list(range(len(before)))
    for name in ("questions", "single", "cross_fitted"):
        assert_same(continued[name], FIGURES["continued"][name])
    assert_same(continued["best"]["value"], FIGURES["continued"]["best"]["value"])


def test_saved_muxes_of_each_rule_decide_the_same(files, members):
    now, before = figures.choices(files, members), FIGURES["choices"]
    # A rule with too few labels called 1 / (number of answers) a probability.
    unlearned = [(*verdict[:2], *verdict[3:]) for verdict in now["mux-instead"]]
    assert unlearned == [(*verdict[:2], *verdict[3:]) for verdict in before["mux-instead"]]
    assert_same(now | {"mux-instead": []}, before | {"mux-instead": []})


def test_a_saved_baseline_decides_the_same(files, members):
    assert_same(figures.baselines(files, members), FIGURES["baselines"])


def test_a_pool_file_makes_the_same_mux(files):
    # What compares answers is saved since; here nothing of the user's own does.
    before = {**FIGURES["pool"], "compares": []}
    assert figures.pool(open_mux(files / "pool.toml", None)) == before


def test_programs_keep_their_fingerprints():
    assert figures.fingerprints(fingerprint_member) == FIGURES["fingerprints"]


def test_an_old_bank_is_collected_without_a_call(files, members):
    mux = SLMMux(dspy.Predict(world.SIGNATURE), members, k=3, temperature=0.6)
    bank = SampleBank(files / "bank.sqlite")
    done = collect(mux, world.examples(), world.metric, bank)
    assert (done.drawn, done.rescored, done.already) == (0, 0, 3 * 3 * world.QUESTIONS)
    assert not any(calls(member.lm) for member in members.values())
    # And goes on with the draws that it lacks.
    more = collect(mux, world.examples(), world.metric, bank, k=4)
    assert (more.drawn, more.missing) == (3 * world.QUESTIONS, 0)


def test_an_old_export_is_the_bank_again(files):
    bank = SampleBank(files / "again.sqlite")
    import_file(bank, files / "bank.jsonl")
    export_file(bank, files / "again.jsonl")
    before, again = (
        [json.loads(line) for line in (files / name).read_text().splitlines()]
        for name in ("bank.jsonl", "again.jsonl")
    )
    assert [row["answer"] for row in again] == [row["answer"] for row in before]
    assert len(again) == 3 * 3 * world.QUESTIONS


def test_an_old_run_makes_the_same_table(files):
    table = write_table(Run.open(files / "run")).as_dict()
    assert_same(figures.table(table), FIGURES["table"])


def test_an_old_run_goes_on_without_a_call(files, members):
    options = Options(**figures.RUN_OPTIONS)
    again = compare([world.task()], lambda name: list(members.values()), options, out=files / "run")
    assert not any(calls(member.lm) for member in members.values())
    assert_same(figures.table(write_table(again).as_dict()), FIGURES["table"])


def assert_same(now, before):
    """To the last digits, which processors round in their own ways."""
    assert json.loads(json.dumps(now)) == _approximately(before)


def _approximately(value):
    """A value to compare with, in which every number may differ by rounding."""
    if isinstance(value, dict):
        return {name: _approximately(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_approximately(inner) for inner in value]
    return pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
