"""Real small models take part in every method, also those that follow no format."""

from __future__ import annotations

import asyncio

import dspy
import pytest

from dspy_mux import SLMMux
from dspy_mux.baselines import (
    AgentForest,
    LLMDebate,
    MixtureOfAgents,
    MultiAgentVerification,
    SelfConsistency,
)
from dspy_mux.baselines.verification import Verify
from dspy_mux.local import local_member
from programs import everyday

pytestmark = pytest.mark.live

QUESTIONS = everyday.examples("test", limit=3)


@pytest.fixture(scope="module")
def members():
    return [
        local_member(name, max_tokens=16, accept_license=True)
        for name in ("smollm2-135m", "gemma3-270m")
    ]


@pytest.mark.parametrize(
    ("method", "arguments", "calls", "turns"),
    [
        (MixtureOfAgents, {"layers": 3}, 5, 5),
        (LLMDebate, {}, 6, 6),
        (
            MultiAgentVerification,
            {"n": 2, "aspects": ["facts", "mistakes"], "verifier": dspy.Predict(Verify)},
            None,
            2,
        ),
        (AgentForest, {}, 6, 0),
    ],
)
def test_chat_and_base_models_answer_by_every_method(members, method, arguments, calls, turns):
    module = method(everyday.program(), members, temperature=0.5, **arguments)
    predictions = [module(**question.inputs()) for question in QUESTIONS]
    for prediction in predictions:
        verdict = prediction.verdict
        assert calls is None or verdict.calls + verdict.cached_calls == calls
        assert len(verdict.turns) == turns
        assert all(turn.text or turn.cause for turn in verdict.turns)
    assert any(
        everyday.metric(question, prediction)
        for question, prediction in zip(QUESTIONS, predictions, strict=True)
    )


def test_a_debater_hears_the_others(members):
    debate = LLMDebate(everyday.program(), members, temperature=0.5)
    first = debate(**QUESTIONS[0].inputs()).verdict
    again = asyncio.run(debate.acall(**QUESTIONS[0].inputs())).verdict
    assert [turn.text for turn in first.turns] == [turn.text for turn in again.turns]
    assert first.turns[0].text in members[1].lm.history[-1]["messages"][-1]["content"]


@pytest.mark.parametrize("schedule", ["frugal", "hedged"])
def test_a_schedule_keeps_the_answers_of_all_draws(members, schedule):
    full = SLMMux(everyday.program(), members, temperature=0.5, accuracies={"gemma3-270m": 0.7})
    spare = SLMMux(
        everyday.program(),
        members,
        temperature=0.5,
        accuracies={"gemma3-270m": 0.7},
        schedule=schedule,
    )
    for question in QUESTIONS:
        short, whole = spare(**question.inputs()).verdict, full(**question.inputs()).verdict
        assert (short.answer, short.member, short.confidence) == (
            whole.answer,
            whole.member,
            whole.confidence,
        )


def test_one_member_is_asked_alone(members):
    verdict = SelfConsistency(everyday.program(), members, member="gemma3-270m", temperature=0.5)(
        **QUESTIONS[0].inputs()
    ).verdict
    assert (verdict.member, verdict.calls + verdict.cached_calls) == ("gemma3-270m", 3)
