"""DSPy's decisions bring a probability of their own: measured by some LMs, stated by the others."""

from __future__ import annotations

import itertools
import json
import math
from typing import Annotated, Literal

import dspy
import pytest
from dspy.adapters.types.decision import Choice, Noul, Score

from dspy_mux import Member, SampleBank, SLMMux, collect
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


LEVELS, OPTIONS = Score["poor", "fair", "good"], Choice[("a", "x"), ("b", "y")]
#: Field type → what models write for it, and the answer's probability by it.
STATED = {
    "Noul": (Noul, [{"noul": 0.2}, {"noul": 0.3}], [0.8, 0.7]),
    "plain Noul": (Annotated[bool, Noul], [{"noul": 0.9}, {"noul": 0.6}], [0.9, 0.6]),
    "Choice": (
        OPTIONS,
        [{"probabilities": {"a": 0.25, "b": p}, "confidence": p} for p in (0.75, 0.5)],
        [0.75, 2 / 3],
    ),
    "plain Choice": (
        Annotated[Literal["a", "b"], OPTIONS],
        [{"probabilities": {"a": 0.25, "b": p}, "confidence": p} for p in (0.75, 0.5)],
        [0.75, 2 / 3],
    ),
    "Score": (
        LEVELS,
        [{"probabilities": {"0": 0, "1": 1 - p, "2": p}, "confidence": 0.5} for p in (0.7, 0.6)],
        [0.7, 0.6],
    ),
}


def a_signature(annotation):
    fields = {"question": (str, dspy.InputField())}
    return dspy.Signature({**fields, "answer": (annotation, dspy.OutputField(desc="What it is."))})


def a_mux(server, annotation, k=1, adapter=None, **settings):
    lm = dspy.LM("openai/m", api_base=server.address, api_key="none", cache=False)
    pool = [Member(lm, adapter=adapter)]
    return SLMMux(dspy.Predict(a_signature(annotation)), pool, k=k, logprobs=True, **settings)


@pytest.mark.parametrize("adapter", [None, dspy.JSONAdapter()])
@pytest.mark.parametrize("name", STATED)
def test_decisions_are_read_and_state_the_probability_of_what_they_decide(name, adapter):
    annotation, written, stated = STATED[name]
    replies = itertools.cycle(
        marked(answer=json.dumps(one)) if adapter is None else json.dumps({"answer": one})
        for one in written
    )
    with logprob_server(lambda prompt: next(replies)) as server:
        mux = a_mux(server, annotation, k=2, adapter=adapter)
        draws = mux.draws(0, [0, 1], {"question": "?"})
        for draw in draws:
            draw.run()
        assert [draw.evidence.stated for draw in draws] == pytest.approx(stated)
        assert [draw.evidence.answer_logprob for draw in draws] == [None, None]
        assert [draw.evidence.text_logprob < 0 for draw in draws] == [True, True]
        # How sure they are is no part of the answer.
        (ballot,) = mux(question="?").verdict.ballots
        assert ballot.votes == [0, 0]


@pytest.mark.parametrize("name", STATED)
def test_recorded_decisions_are_those_that_were_drawn(name, tmp_path):
    annotation, written, stated = STATED[name]
    replies = itertools.cycle(marked(answer=json.dumps(one)) for one in written)
    with logprob_server(lambda prompt: next(replies)) as server:
        examples = [dspy.Example(question="?", answer="-").with_inputs("question")]
        bank = SampleBank(tmp_path / "bank.sqlite")
        collect(a_mux(server, annotation, k=2), examples, lambda *given: 1.0, bank)
        # The draws are made side by side.
        rows = sorted(bank.rows(), key=lambda row: -row["stated_probability"])
        assert [row["stated_probability"] for row in rows] == pytest.approx(stated)
        assert bank.record().votes.ravel().tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("plain Noul", "Yes."),
        ("Noul", json.dumps({"value": True, "confidence": 0.9})),
        ("plain Choice", "b"),
        ("Score", json.dumps({"probabilities": {"0": 0, "1": 0, "2": 0}, "confidence": 0.5})),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_reply_without_probabilities_abstains(name, reply, whole):
    annotation, *_ = STATED[name]
    text = marked(answer=reply) if whole else reply
    with logprob_server(lambda prompt: text) as server:
        (draw,) = a_mux(server, annotation).draws(0, [0], {"question": "?"})
        draw.run()
        assert draw.cause is not None


def test_decisions_among_several_fields_are_read():
    reply = marked(title="A", safe=json.dumps({"noul": 0.9}), score="4")
    fields = {
        "question": (str, dspy.InputField()),
        "title": (str, dspy.OutputField()),
        "safe": (Annotated[bool, Noul], dspy.OutputField(desc="Whether it is safe.")),
        "score": (int, dspy.OutputField()),
    }
    with logprob_server(lambda prompt: reply) as server:
        lm = dspy.LM("openai/m", api_base=server.address, api_key="none", cache=False)
        program = dspy.Predict(dspy.Signature(fields))
        mux = SLMMux(program, [lm], k=1, answer_field=["safe", "score"], logprobs=True)
        prediction = mux(question="?")
        assert (prediction.safe, prediction.score) == (True, 4)
