"""Inputs beyond the program's own: the rule sees them, the program does not."""

from __future__ import annotations

import logging

import dspy
import pytest

from dspy_mux import SLMMux
from dspy_mux.sampling.inputs import inputs_taken
from tests.support.scripted import prompt_of, scripted_lm

GIVEN = {"question": "?", "category": "sums", "config": {}}


class Named(dspy.Module):
    def forward(self, question, config=None):
        return dspy.Prediction(answer=question)


class Anything(dspy.Module):
    def forward(self, **inputs):
        return dspy.Prediction(answer=len(inputs))


class OnlyAsync(dspy.Module):
    async def aforward(self, question):
        return dspy.Prediction(answer=question)


class Own(dspy.Module):
    """Has a signature, but takes what it wants."""

    signature = dspy.Signature("question -> answer")

    def forward(self, **inputs):
        return dspy.Prediction(answer=len(inputs))


class Styled(dspy.ChainOfThought):
    """Takes an input that its signature does not have."""

    def forward(self, question, style="plain"):
        pred = super().forward(question=question)
        return dspy.Prediction(answer=pred.answer, style=style)


class StyledPredict(dspy.Predict):
    def forward(self, **inputs):
        style = inputs.pop("style", "plain")
        return dspy.Prediction(answer=super().forward(**inputs).answer, style=style)


class StyledAwaited(dspy.ChainOfThought):
    async def aforward(self, question, style="plain"):
        pred = await super().aforward(question=question)
        return dspy.Prediction(answer=pred.answer, style=style)


class OfATopic(dspy.ChainOfThought):
    def forward(self, topic):
        return super().forward(question=f"What is {topic}?")


def lookup(word: str) -> str:
    """Look a word up."""
    return word


@pytest.mark.parametrize(
    ("program", "taken"),
    [
        (dspy.Predict("question -> answer"), {"question", "config"}),
        (dspy.ChainOfThought("question -> answer"), {"question", "config"}),
        (dspy.ChainOfThought("question, category -> answer"), set(GIVEN)),
        (dspy.BestOfN(dspy.Predict("question -> answer"), 2, len, 1.0), {"question", "config"}),
        (dspy.ReAct("question -> answer", tools=[lookup]), {"question"}),
        (dspy.MultiChainComparison("question -> answer"), {"question"}),
        (Named(), {"question", "config"}),
        (OnlyAsync(), {"question"}),
        (Anything(), set(GIVEN)),
        (Own(), set(GIVEN)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_inputs_that_a_program_takes(program, taken):
    assert set(inputs_taken(program, GIVEN)) == taken


def test_reacts_own_limit_is_taken():
    program = dspy.ReAct("question -> answer", tools=[lookup])
    assert set(inputs_taken(program, {**GIVEN, "max_iters": 2})) == {"question", "max_iters"}


class ByCategory:
    """A rule that reads a category, and takes the member of that name."""

    name = "by category"

    def __init__(self, category=None):
        self.category = category

    def given(self, inputs):
        return ByCategory(inputs["category"])

    def choose(self, ballots):
        from dspy_mux import Choice

        at = [ballot.member for ballot in ballots].index(self.category)
        return Choice(at, ballots[at].votes[0], 1.0, "nothing")


class Steps(dspy.Module):
    def __init__(self):
        super().__init__()
        self.predict = dspy.Predict("question -> answer")

    def forward(self, question):
        return self.predict(question=question)


@pytest.mark.parametrize(
    "program", ["question -> answer", dspy.Predict("question -> answer"), Steps()]
)
async def test_the_rule_reads_them_and_dspy_does_not_warn(program, caplog, monkeypatch):
    prompts = []

    def reply(answer):
        def of(prompt, draw):
            prompts.append(prompt)
            return {"reasoning": "", "answer": answer}

        return of

    lms = {name: scripted_lm(name, reply(name), shown=prompt_of) for name in "ab"}
    mux = SLMMux(program, lms, rule=ByCategory())
    with caplog.at_level(logging.WARNING):
        monkeypatch.setattr(logging.getLogger("dspy"), "propagate", True)
        assert mux(question="?", category="b").answer == "b"
        assert (await mux.acall(question="?!", category="a")).answer == "a"
    assert [record.getMessage() for record in caplog.records] == []
    assert prompts
    assert not any("category" in prompt for prompt in prompts)


@pytest.fixture
def lms():
    return {name: scripted_lm(name, lambda *_: {"reasoning": "", "answer": "b"}) for name in "ab"}


@pytest.mark.parametrize("kind", [Styled, StyledPredict, StyledAwaited])
async def test_a_subclass_gets_the_inputs_of_its_own(kind, lms):
    mux = SLMMux(kind("question -> answer"), lms)
    if kind is not StyledAwaited:
        assert mux(question="?", style="plain verse").style == "plain verse"
    assert (await mux.acall(question="?", style="blank verse")).style == "blank verse"


async def test_a_subclass_names_its_inputs(lms):
    mux = SLMMux(OfATopic("question -> answer"), lms)
    assert mux(topic="a mux").answer == "b"
    assert (await mux.acall(topic="a mux", category="sums")).answer == "b"
