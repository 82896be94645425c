"""LMs and programs that ask for log-probabilities by themselves."""

from __future__ import annotations

import math

import dspy
import pytest

from dspy_mux import AllMembersFailed, SLMMux

from .pools import ENGINES, an_lm, ask


@pytest.mark.parametrize("engine", ENGINES)
def test_an_lm_that_asks_by_itself_keeps_them_on_its_predictions(server, engine):
    mux = SLMMux(
        dspy.Predict("question -> answer"), [an_lm(server, "gives", engine, logprobs=True)], k=1
    )
    prediction = mux(question="?")
    assert [one["logprob"] for one in prediction.logprobs["content"]].count(-0.25) == 1
    assert prediction.verdict.ballots[0].probabilities == pytest.approx([math.exp(-0.25)])


class OwnSettings(dspy.Module):
    """Asks with settings of its own: of a call, of a predictor, or of a copy of the LM."""

    def __init__(self, whose, **settings):
        super().__init__()
        self.whose, self.settings = whose, settings

    def forward(self, question):
        with dspy.context(lm=dspy.settings.lm.copy(**self.of("copy"))):
            predict = dspy.Predict("question -> answer", **self.of("predictor"))
            return predict(question=question, config=self.of("call"))

    async def aforward(self, question):
        with dspy.context(lm=dspy.settings.lm.copy(**self.of("copy"))):
            predict = dspy.Predict("question -> answer", **self.of("predictor"))
            return await predict.acall(question=question, config=self.of("call"))

    def of(self, whose):
        return self.settings if whose == self.whose else {}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("whose", ["call", "predictor", "copy"])
@pytest.mark.parametrize("logprobs", [True, False])
def test_a_program_that_asks_by_itself_keeps_them(server, engine, how, whose, logprobs):
    program = OwnSettings(whose, logprobs=True)
    mux = SLMMux(program, [an_lm(server, "gives", engine)], k=1, logprobs=logprobs)
    prediction = ask(mux, how)
    assert [one["logprob"] for one in prediction.logprobs["content"]].count(-0.25) == 1
    # What is there is read, whoever asked.
    assert prediction.verdict.ballots[0].probabilities == pytest.approx([math.exp(-0.25)])


def test_a_program_that_wants_none_has_none(server):
    program = OwnSettings("call", logprobs=False)
    mux = SLMMux(program, [an_lm(server, "gives")], k=1, logprobs=True)
    prediction = mux(question="?")
    assert prediction.keys() == ["answer"]
    assert prediction.verdict.ballots[0].probabilities == []


def test_a_call_that_asks_by_itself_is_not_made_again_without(server):
    program = OwnSettings("call", logprobs=True)
    mux = SLMMux(program, [an_lm(server, "refuses")], k=1, logprobs=True)
    with pytest.raises(AllMembersFailed, match="not supported"):
        mux(question="?")
    assert server.asked() == [True]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("cache", [True, False])
def test_alternatives_stay_on_the_outputs_and_cost_no_evidence(server, engine, cache):
    settings = {"logprobs": True, "top_logprobs": 3, "cache": cache}
    lm = an_lm(server, "gives", engine, **settings)
    mux = SLMMux(dspy.Predict("question -> answer"), [lm], k=1)
    for _ in range(2):
        prediction = mux(question="?")
        tokens = prediction.logprobs["content"]
        assert {len(one["top_logprobs"]) for one in tokens} == {3}
        assert prediction.verdict.ballots[0].probabilities == pytest.approx([math.exp(-0.25)])
    assert len(server.bodies) == (1 if cache else 2)


@pytest.mark.parametrize("engine", ENGINES)
def test_alternatives_alone_go_with_the_question_and_leave_with_it(server, engine):
    lms = {name: an_lm(server, name, engine, top_logprobs=2) for name in ("gives", "refuses")}
    mux = SLMMux(dspy.Predict("question -> answer"), lms, k=1, logprobs=True)
    for _ in range(2):
        prediction = mux(question="?")
        gives, refuses = prediction.verdict.ballots
        assert gives.probabilities == pytest.approx([math.exp(-0.25)])
        assert (refuses.probabilities, refuses.votes) == ([], [0])
        assert prediction.keys() == ["answer"]
    asked = [body.get("top_logprobs") for body in server.bodies if body["model"] == "refuses"]
    assert asked == [2, None, None]
