"""A saved mux: what it restores, what it refuses, and what it never holds."""

from __future__ import annotations

from dataclasses import replace

import dspy
import numpy as np
import pytest

from dspy_mux import Choice, ConfigurationError, PoolMismatch, SLMMux
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.rules import SelfConsistencyRule
from dspy_mux.voting.tally import Tally

from ..support.pools import QA, mux_of
from ..support.scripted import calls, scripted_lm


def test_save_and_load_restore_pool_and_demos(tmp_path):
    path = tmp_path / "mux.json"
    mux = mux_of(["x"], ["y"], k=5, temperature=0.7, accuracies={"a": 0.4, "b": 0.8}, rule="pooled")
    mux.programs[1].demos = [dspy.Example(question="1+1", answer="2").with_inputs("question")]
    mux.save(path)
    loaded = mux_of(["x"], ["y"])
    loaded.load(path)
    assert [(m.name, m.k, m.temperature) for m in loaded.members] == [("a", 5, 0.7), ("b", 5, 0.7)]
    assert (loaded.accuracies, loaded.rule.name) == ({"a": 0.4, "b": 0.8}, "pooled")
    assert (loaded.programs[0].demos, loaded.programs[1].demos[0]["answer"]) == ([], "2")


def test_a_mux_inside_a_program_saves_and_loads_its_pool(tmp_path):
    class Outer(dspy.Module):
        def __init__(self, mux):
            super().__init__()
            self.step = mux

    path = tmp_path / "outer.json"
    Outer(mux_of(["x"], accuracies={"a": 0.9})).save(path)
    loaded = Outer(mux_of(["x"]))
    loaded.load(path)
    assert loaded.step.accuracies == {"a": 0.9}


@pytest.mark.parametrize("others", [(["x"], ["y"], ["z"]), (["x"],)], ids=["more", "fewer"])
def test_another_pool_is_refused_and_nothing_is_changed(tmp_path, others):
    path = tmp_path / "mux.json"
    mux_of(["x"], ["y"], accuracies={"a": 0.5}).save(path)
    other = mux_of(*others)
    with pytest.raises(
        (PoolMismatch, KeyError), match="is not (here|in the saved mux): load it into"
    ):
        other.load(path)
    assert other.accuracies == {}


def test_another_order_or_answer_type_is_refused(tmp_path):
    path = tmp_path / "mux.json"
    mux_of(["x"], ["y"]).save(path)
    a, b = scripted_lm("a", ["x"]), scripted_lm("b", ["y"])
    with pytest.raises(PoolMismatch, match="in the same order"):
        SLMMux(dspy.Predict(QA), {"b": b, "a": a}).load(path)
    with pytest.raises(PoolMismatch, match="compares answers by"):
        SLMMux(dspy.Predict("question -> answer: int"), {"a": a, "b": b}).load(path)


def test_a_saved_mux_never_holds_a_key(tmp_path):
    key = "sk-secret-123456"
    mux = SLMMux(QA, [dspy.LM("openai/x", api_key=key, api_base="http://127.0.0.1:9/v1")])
    mux.save(tmp_path / "mux.json")
    assert key not in (tmp_path / "mux.json").read_text()


def test_a_saved_rule_of_the_users_own_needs_that_rule(tmp_path):
    class Mine:
        name = "mine"

        def choose(self, ballots):
            return Choice(ballots[0].plurality, 0, 1.0)

    path = tmp_path / "mux.json"
    mux_of(["x"], rule=Mine()).save(path)
    with pytest.raises(PoolMismatch, match="the rule 'mine'"):
        mux_of(["x"]).load(path)
    loaded = mux_of(["x"], rule=Mine())
    loaded.load(path)
    assert loaded(question="?").answer == "x"


def a_fitted_rule(members=("a", "b"), k=3):
    votes = np.tile([[[0] * k, [1] * k]], (30, 1, 1))
    return fit(Training(Tally(votes), (votes == 0).astype(float), members))


def test_a_rule_fitted_for_other_members_is_refused(tmp_path):
    mux = mux_of(["x"], ["y"], k=3, rule=a_fitted_rule())
    told = r"The calibrated rule was fitted for a \(k=3\), b \(k=3\): fit it again for this mux"
    with pytest.raises(ConfigurationError, match=told):
        mux_of(["x"], ["y"], k=2, rule=a_fitted_rule())
    with pytest.raises(ConfigurationError, match=told):
        mux.subset(["a"])
    with pytest.raises(ConfigurationError, match=told):
        mux.pool.set_k(5)
    assert [member.k for member in mux.members] == [3, 3]
    mux.pool.set_k(3)
    assert mux(question="?").answer == "x"
    mux.pool.members = [replace(member, k=2) for member in mux.members]
    asked = [calls(member.lm) for member in mux.members]
    for schedule in ("full", "frugal", "hedged"):
        mux.pool.settings.schedule = schedule
        with pytest.raises(ConfigurationError, match=told):
            mux(question="another?")
    assert [calls(member.lm) for member in mux.members] == asked
    mux.save(tmp_path / "mux.json")
    with pytest.raises(ConfigurationError, match=told):
        mux_of(["x"], ["y"]).load(tmp_path / "mux.json")


def test_a_rule_for_a_missing_member_is_refused():
    with pytest.raises(ConfigurationError, match="names the member 'z', which is not in the pool"):
        mux_of(["x"], ["y"], rule=SelfConsistencyRule("z"))
    with pytest.raises(ConfigurationError, match="names the member 'b', which is not in the pool"):
        mux_of(["x"], ["y"], rule=SelfConsistencyRule("b")).subset(["a"])


def test_a_saved_answer_field_is_not_silently_another(tmp_path):
    program = dspy.Predict("question -> title, summary")
    lm = scripted_lm("a", lambda *_: {"title": "t", "summary": "s"})
    SLMMux(program, [lm], answer_field="title").save(tmp_path / "mux.json")
    with pytest.raises(PoolMismatch, match="answer_field='title'"):
        SLMMux(program, [lm]).load(tmp_path / "mux.json")


def test_a_saved_k_is_checked_like_a_given_one(tmp_path):
    SLMMux(QA, [scripted_lm("a", ["x"])], k=3).save(tmp_path / "mux.json")
    seeded = SLMMux(QA, [scripted_lm("a", ["x"], seed=7)], k=1)
    with pytest.raises(ConfigurationError, match="fixed seed 7"):
        seeded.load(tmp_path / "mux.json")
