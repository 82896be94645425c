"""DSPy's TwoStepAdapter in a mux: one model answers, another one extracts the fields."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import Member, SLMMux

from ..support.pools import QA
from ..support.scripted import asked, scripted_lm

KEY = "sk-a-made-up-key-0123456789"
REPLIES = [
    "The capital is Paris.",
    "<think>Rome? No, the capital is Lyon.",  # thinking alone
    f"You sent {KEY}; the capital is Paris.",
    "I cannot tell.",
    "",
]


def extract(prompt, _):
    text = asked(prompt, "text")
    if "cannot tell" in text:
        return "I found no fields."
    return {"answer": text.rpartition(" ")[2].rstrip(".")}


@pytest.fixture
def seen():
    return []


@pytest.fixture
def mux(seen, monkeypatch):
    monkeypatch.setenv("SCRIPTED_API_KEY", KEY)

    def reader(prompt, draw):
        seen.append(prompt)
        return extract(prompt, draw)

    adapter = dspy.TwoStepAdapter(scripted_lm("reader", reader))
    main = scripted_lm("main", lambda _, draw: REPLIES[draw])
    return SLMMux(dspy.Predict(QA), [Member(main, adapter=adapter)], k=len(REPLIES))


def ballot_of(pred):
    (ballot,) = pred.verdict.ballots
    return ballot.votes, dict(ballot.abstentions)


async def test_async_calls_answer_and_abstain_as_sync_ones(mux):
    votes, causes = ballot_of(mux(question="?"))
    assert votes == [0, None, 0, None, None]
    assert ballot_of(await mux.acall(question="?")) == (votes, causes)


async def test_the_extraction_model_sees_no_thinking_and_no_key(mux, seen):
    await mux.acall(question="?")
    assert seen
    assert not [text for text in seen if "Rome" in text or KEY in text]
