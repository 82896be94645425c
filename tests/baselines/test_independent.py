"""The baselines whose draws are independent: one draw, self-consistency, Agent Forest."""

from __future__ import annotations

import asyncio

import dspy
import pytest

from dspy_mux import ConfigurationError, MuxOptimizer, PoolMismatch, SLMMux
from dspy_mux.baselines import AgentForest, SelfConsistency, SingleModel

from ..support.discussion_pools import QA
from ..support.scripted import calls, scripted_lm


def pool():
    drawn = {
        "ann": ["Rome", "Rome", "Rome"],
        "bob": ["Oslo", "Oslo", "Bern"],
        "cid": ["Bern", "Oslo", "Oslo"],
    }
    return {
        name: scripted_lm(name, lambda _, draw, said=said: {"answer": said[min(draw, 2)]})
        for name, said in drawn.items()
    }


def test_a_single_model_draws_once_from_one_member():
    lms = pool()
    verdict = SingleModel(dspy.Predict(QA), lms, accuracies={"ann": 0.4, "bob": 0.6})(
        question="?"
    ).verdict
    assert (verdict.answer, verdict.member, verdict.calls, verdict.confidence) == (
        "Oslo",
        "bob",
        1,
        1.0,
    )
    assert calls(lms["ann"]) == 0
    assert SingleModel(dspy.Predict(QA), lms, member="cid")(question="?").verdict.answer == "Bern"


def test_self_consistency_takes_one_members_most_frequent_answer():
    lms = pool()
    verdict = SelfConsistency(dspy.Predict(QA), lms, member="cid", k=3)(question="?").verdict
    assert (verdict.answer, verdict.calls, verdict.confidence) == ("Oslo", 3, pytest.approx(2 / 3))
    assert SelfConsistency(dspy.Predict(QA), [lms["ann"]], k=2)(question="?").verdict.calls == 2


def test_the_best_member_must_be_known():
    with pytest.raises(
        ConfigurationError,
        match=r"SelfConsistency draws from one member: name it with member= \(one of ann, bob",
    ):
        SelfConsistency(dspy.Predict(QA), pool())
    with pytest.raises(ConfigurationError, match="member='zoe' is not a member of the pool"):
        SingleModel(dspy.Predict(QA), pool(), member="zoe")


def test_agent_forest_pools_all_draws():
    # Rome 3, Oslo 4, Bern 2.
    verdict = AgentForest(dspy.Predict(QA), pool())(question="?").verdict
    assert (verdict.answer, verdict.member, verdict.confidence, verdict.calls) == (
        "Oslo",
        "bob",
        pytest.approx(4 / 9),
        9,
    )


def test_baselines_save_and_load_as_their_own_class(tmp_path):
    SelfConsistency(dspy.Predict(QA), pool(), member="bob", k=2).save(tmp_path / "sc.json")
    again = SelfConsistency(dspy.Predict(QA), pool(), member="bob")
    again.load(tmp_path / "sc.json")
    assert again(question="?").verdict.calls == 2
    with pytest.raises(PoolMismatch, match="of the method 'self_consistency', this is 'slm_mux'"):
        SLMMux(dspy.Predict(QA), {"bob": pool()["bob"]}).load(tmp_path / "sc.json")
    forest = AgentForest(dspy.Predict(QA), pool(), k=2)
    forest.save(tmp_path / "forest.json")
    loaded = AgentForest(dspy.Predict(QA), pool())
    loaded.load(tmp_path / "forest.json")
    assert asyncio.run(loaded.acall(question="?")).verdict.calls == 6


def test_set_lm_names_the_class():
    with pytest.raises(
        ConfigurationError, match="An AgentForest keeps one LM per member.*build a new AgentForest"
    ):
        AgentForest(dspy.Predict(QA), pool()).set_lm(pool()["ann"])


def test_accuracies_of_nobody_are_refused():
    with pytest.raises(
        ConfigurationError, match="accuracies names 'tpyo', which is not a member of the pool"
    ):
        SelfConsistency(dspy.Predict(QA), pool(), accuracies={"tpyo": 0.9})


def test_an_optimizer_of_muxes_refuses_a_baseline():
    with pytest.raises(
        ConfigurationError, match="MuxOptimizer compiles an SLMMux, not AgentForest"
    ):
        MuxOptimizer(metric=lambda *_: True).compile(
            AgentForest(dspy.Predict(QA), pool()), trainset=[dspy.Example()]
        )
