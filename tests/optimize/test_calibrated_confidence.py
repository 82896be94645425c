"""A compiled mux says how likely its answers are right, whatever rule won."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dspy_mux import DataError, MuxOptimizer, SLMMux

from ..support.skilled import a_member, a_mux, metric, questions

SKILLS = {"a": 0.6, "b": 0.5, "c": 0.4}


def a_student(**settings):
    return a_mux(*(a_member(name, skill) for name, skill in SKILLS.items()), **settings)


@pytest.fixture(scope="module")
def best():
    study = MuxOptimizer(metric=metric, n_trials=4, rules=["consistency"], min_members=3)
    found = study.compile(a_student(), trainset=questions(100))
    assert found.rule.name == "consistency"
    return found


def verdicts(mux, count=100):
    return [mux(question=f"new {n}?").verdict for n in range(count)]


def test_its_confidence_is_the_share_of_right_answers(best):
    found = verdicts(best)
    assert all(verdict.calibrated for verdict in found)
    sure = np.array([verdict.confidence for verdict in found])
    right = np.array([verdict.answer == "right" for verdict in found])
    for level in np.unique(sure.round(6)):
        alike = np.abs(sure - level) < 1e-6
        if alike.sum() >= 15:
            assert abs(right[alike].mean() - level) < 3 * np.sqrt(0.25 / alike.sum())
    assert "calibrated confidence" in str(found[0])
    assert found[0].model_dump(mode="json")["calibrated"] is True


def test_it_chooses_as_it_would_without(best):
    plain = a_student(accuracies=best.accuracies)
    for ours, theirs in zip(verdicts(best, 40), verdicts(plain, 40), strict=True):
        assert (ours.answer, ours.member) == (theirs.answer, theirs.member)
        assert ours.ballots == theirs.ballots
        assert not theirs.calibrated


def test_it_is_saved_with_the_mux(best, tmp_path):
    best.save(tmp_path / "mux.json")
    loaded = SLMMux.from_file(tmp_path / "mux.json", lms=list(best.members))
    question = {"question": "new 3?"}
    ours, theirs = best(**question).verdict, loaded(**question).verdict
    assert (ours.confidence, ours.calibrated) == (theirs.confidence, theirs.calibrated)
    assert loaded.pool.scale == best.pool.scale
    saved = json.loads((tmp_path / "mux.json").read_text())
    saved["pool"]["scale"]["every"]["slope"] = -1.0
    (tmp_path / "mux.json").write_text(json.dumps(saved))
    with pytest.raises(DataError, match="scale of the confidence is damaged"):
        SLMMux.from_file(tmp_path / "mux.json", lms=list(best.members))
    del saved["pool"]["scale"]
    (tmp_path / "mux.json").write_text(json.dumps(saved))
    assert not SLMMux.from_file(tmp_path / "mux.json", lms=list(best.members))(
        **question
    ).verdict.calibrated


def test_another_pool_or_other_draws_are_not_called_calibrated(best):
    fewer = best.subset(["a", "b"])
    assert not fewer(question="new 1?").verdict.calibrated
    shorter = best.deepcopy()
    shorter.pool.set_k(2)
    assert not shorter(question="new 1?").verdict.calibrated


def test_other_accuracies_drop_the_scale(best, tmp_path):
    best.save(tmp_path / "mux.json")
    other = SLMMux.from_file(
        tmp_path / "mux.json", lms=list(best.members), accuracies={"a": 0.1, "c": 0.9}
    )
    assert not other(question="new 1?").verdict.calibrated


def test_a_few_labels_calibrate_nothing():
    study = MuxOptimizer(metric=metric, n_trials=2, rules=["consistency"], min_members=3)
    mux = study.compile(a_student(), trainset=questions(9))
    assert mux.pool.scale is None
    assert not mux(question="new 1?").verdict.calibrated
