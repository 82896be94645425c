"""A mux's prediction has the program's fields, in their order, and the verdict beside them."""

from __future__ import annotations

import copy
import json
import pickle

import cloudpickle
import dspy
import orjson
import pytest

from dspy_mux import SLMMux, Verdict
from dspy_mux.baselines import AgentForest

from ..support.pools import QA, mux_of
from ..support.scripted import scripted_lm


def test_the_verdict_is_no_field():
    pred = mux_of(["x"], ["y"], program=dspy.ChainOfThought(QA))(question="?")
    assert pred.keys() == ["reasoning", "answer"]
    assert pred.items() == [("reasoning", "Because."), ("answer", "x")]
    assert pred.toDict() == dict(pred) == {"reasoning": "Because.", "answer": "x"}
    assert list(pred.completions[0].keys()) == ["reasoning", "answer"]
    assert ("verdict" in pred, "verdict" in pred.completions, len(pred)) == (False, False, 2)
    assert "verdict" not in repr(pred)
    assert isinstance(pred.verdict, Verdict)
    assert pred == dspy.Prediction(reasoning="Because.", answer="x")


def test_baselines_have_such_predictions_too():
    pred = AgentForest(dspy.Predict(QA), [scripted_lm("a", ["x"])])(question="?")
    assert (pred.keys(), pred.verdict.member) == (["answer"], "scripted/a")


async def test_acall_returns_such_a_prediction():
    pred = await mux_of(["x"]).acall(question="?")
    assert (pred.keys(), pred.verdict.member) == (["answer"], "a")


def muxes_that_answer(*answers):
    """Muxes of one member each; model strings differ, or all would answer from one cache."""
    return [
        SLMMux(dspy.ChainOfThought(QA), [scripted_lm(f"number-{at}", [answer])])
        for at, answer in enumerate(answers)
    ]


def test_majority_over_predictions_of_muxes_compares_answers():
    preds = [mux(question="?") for mux in muxes_that_answer("y", "x", "X")]
    assert dspy.majority(preds).answer == "x"


def test_an_ensemble_of_muxes_takes_the_majority():
    ensemble = dspy.Ensemble(reduce_fn=dspy.majority).compile(muxes_that_answer("y", "x", "x"))
    assert ensemble(question="?").answer == "x"


def test_evaluate_writes_predictions_of_a_mux_as_json(tmp_path):
    example = dspy.Example(question="?", answer="x").with_inputs("question")
    dspy.Evaluate(
        devset=[example],
        metric=dspy.evaluate.answer_exact_match,
        display_progress=False,
        save_as_json=str(tmp_path / "out.json"),
    )(mux_of(["x"]))
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert row == {
        "question": "?",
        "example_answer": "x",
        "pred_answer": "x",
        "answer_exact_match": True,
    }


def test_saved_demos_hold_no_verdict(tmp_path):
    class Pipeline(dspy.Module):
        def __init__(self):
            super().__init__()
            self.mux, self.after = mux_of(["x"]), dspy.Predict("answer -> report")

        def forward(self, question):
            pred = self.mux(question=question)
            self.after(answer=pred.answer)
            return pred

    trainset = [dspy.Example(question="?", answer="x").with_inputs("question")]
    with dspy.context(lm=scripted_lm("writer", lambda prompt, _: {"report": "It is x"})):
        compiled = dspy.BootstrapFewShot(metric=dspy.evaluate.answer_exact_match).compile(
            Pipeline(), trainset=trainset
        )
    compiled.save(tmp_path / "program.json")
    state = json.loads((tmp_path / "program.json").read_text())
    assert [list(demo) for demo in state["mux.programs[0]"]["demos"]] == [
        ["augmented", "question", "answer"]
    ]
    assert "verdict" not in (tmp_path / "program.json").read_text()


@pytest.mark.parametrize(
    "twin",
    [
        lambda pred: pred.copy(),
        lambda pred: pred.copy(note="read twice"),
        lambda pred: pred.without("reasoning"),
        copy.copy,
        copy.deepcopy,
        lambda pred: pickle.loads(cloudpickle.dumps(pred)),
    ],
)
def test_copies_keep_the_verdict(twin):
    pred = mux_of(["x"], program=dspy.ChainOfThought(QA))(question="?")
    assert twin(pred).verdict == pred.verdict
    assert twin(pred).answer == "x"


def test_the_fields_serialise_as_dspy_serialises_them():
    assert orjson.loads(orjson.dumps(dict(mux_of(["x"])(question="?").items()))) == {"answer": "x"}


class Cited(dspy.Prediction):
    """A program's own kind of prediction."""

    def cite(self) -> str:
        return f"{self.answer} [1]"


def test_a_programs_own_kind_of_prediction_stays():
    class Cites(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict(QA)

        def forward(self, question):
            return Cited(**self.step(question=question))

    pred = mux_of(["x"], program=Cites())(question="?")
    assert (pred.cite(), pred.keys(), pred.verdict.member) == ("x [1]", ["answer"], "a")


def test_a_program_that_returns_what_a_mux_said_has_the_outer_verdict():
    inner = SLMMux(dspy.Predict(QA), [scripted_lm("inner", ["x"])], k=2)

    class Asks(dspy.Module):
        def forward(self, question):
            return inner(question=question)

    program = Asks()
    pred = SLMMux(program, {"outer": scripted_lm("o", ["-"])}, k=2)(question="?")
    assert (pred.keys(), pred.verdict.member) == (["answer"], "outer")
