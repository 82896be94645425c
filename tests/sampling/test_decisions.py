"""DSPy's decisions bring a probability of their own: measured by some LMs, stated by the others."""

from __future__ import annotations

import json
import math

import dspy
import pytest
from dspy.adapters.types.decision import Choice, Noul

from dspy_mux import SLMMux
from dspy_mux.sampling.replies import evidence_of

from ..support.logprob_server import logprob_server
from ..support.scripted import marked


class Safe(dspy.Signature):
    question: str = dspy.InputField()
    answer: Noul = dspy.OutputField(desc="Whether it is safe.")


def test_a_probability_that_a_model_writes_is_stated():
    with logprob_server(lambda prompt: marked(answer=json.dumps({"noul": 0.2}))) as server:
        lm = dspy.LM("openai/m", api_base=server.address, api_key="none", cache=False)
        mux = SLMMux(dspy.Predict(Safe), [lm], k=1, logprobs=True)
        (draw,) = mux.draws(0, [0], {"question": "?"})
        draw.run()
        assert draw.prediction.answer.value is False
        assert draw.evidence.stated == pytest.approx(0.8)
        assert draw.evidence.answer_logprob is None
        assert draw.evidence.text_logprob < 0
        assert mux(question="?").verdict.ballots[0].probabilities == []


def test_a_probability_of_a_decision_backend_is_measured():
    class Backend(dspy.utils.DummyLM):
        supports_decision_requests = True

    kind = Choice[("a", "x"), ("b", "y")]
    decision = kind(value="b", confidence=0.5, probabilities={"a": 0.25, "b": 0.75})
    lm = Backend([{"answer": "b"}])
    mux = SLMMux(dspy.Predict("question -> answer"), [lm], k=1)
    found = evidence_of([], [], mux.adapter_of(0), dspy.Prediction(answer=decision), lm)
    assert found.probability == pytest.approx(0.75)
    assert found.stated is None
    assert math.isclose(found.answer_logprob, math.log(0.75))
