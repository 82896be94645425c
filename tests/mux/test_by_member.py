"""`by_member`: GEPA's feedback on each member's own answer, with whatever metric."""

from __future__ import annotations

import re

import dspy
import pytest

from dspy_mux import ConfigurationError, SLMMux, by_member

from ..support.pools import QA
from ..support.scripted import TwoSteps, asked, everything, scripted_lm
from .test_traces import QUESTIONS, Pipeline, double, member, proposal, wrong


def says(example, pred, trace=None, pred_name=None, pred_trace=None):
    """A metric that looks at the prediction alone, as most do."""
    right = pred.answer == example.answer
    return dspy.Prediction(score=float(right), feedback=f"You said {pred.answer}.")


def feedback_of(metric, program, caplog, **settings):
    """What GEPA tells the reflection LM of each member: name → the feedback on it."""
    told = {"a": set(), "b": set()}

    def reflect(prompt, _):
        whose = {name for name in told if f"{name} thinks" in prompt}
        for name in whose:
            told[name].update(
                re.findall(r"(You said .*?\.|Your reply .*?\.|This traj.*?[\d.]+\.)", prompt)
            )
        return proposal(prompt, "Think.")

    with dspy.context(lm=scripted_lm("writer", lambda *_: {"report": "done"})):
        dspy.GEPA(
            metric=metric,
            max_metric_calls=40,
            reflection_lm=scripted_lm("reflection", reflect, shown=everything),
            num_threads=1,
            skip_perfect_score=False,
            seed=0,
            **settings,
        ).compile(program, trainset=QUESTIONS[:2], valset=QUESTIONS[2:4])
    assert "is different from the overall metric score" not in caplog.text
    return told


def two_members():
    """Member a is right and wins; b is wrong, each time in the same way."""
    lms = [member("a", double), member("b", wrong, lambda n: f"wrong too {n}")]
    return SLMMux("question -> answer", lms, k=2)


@pytest.fixture(params=["mux", "larger"])
def program(request):
    return two_members() if request.param == "mux" else Pipeline(two_members())


def test_each_member_hears_of_its_own_answer(program, caplog):
    told = feedback_of(by_member(says), program, caplog)
    assert told["a"] == {"You said 2.", "You said 4."}
    assert {text[:15] for text in told["b"]} == {"You said wrong "}


def test_without_it_everybody_hears_of_the_winner(program, caplog):
    told = feedback_of(says, program, caplog)
    assert told["b"] <= {"You said 2.", "You said 4."}


def test_a_plain_metric_says_each_members_score(caplog):
    metric = by_member(lambda example, pred: float(pred.answer == example.answer))
    told = feedback_of(metric, two_members(), caplog)
    assert told["a"] == {"This trajectory got a score of 1.0."}
    assert told["b"] == {"This trajectory got a score of 0.0."}


def test_a_step_before_the_answer_is_judged_by_its_draws_answer(caplog):
    def reply(name):
        def say(prompt, draw):
            if "## idea" in prompt.split("Respond")[0]:
                return {"answer": f"{asked(prompt, 'idea')}'s answer"}
            return {"idea": f"{name} thinks {draw}"}

        return say

    lms = {"a": scripted_lm("a", reply("a")), "b": scripted_lm("b", reply("b"))}
    mux = SLMMux(TwoSteps(), lms, k=1)
    told = feedback_of(
        by_member(says),
        mux,
        caplog,
        component_selector=lambda *_: ["programs[1].first"],
    )
    assert told == {"a": set(), "b": {"You said b thinks 0's answer."}}


def test_an_abstention_is_told_its_cause(caplog):
    lms = [member("a", double), member("b", lambda n: "")]
    told = feedback_of(by_member(says), SLMMux("question -> answer", lms, k=1), caplog)
    assert told["b"] <= {"Your reply gave no usable answer: empty answer."}


def test_elsewhere_it_is_the_metric_itself():
    metric = by_member(says)
    evaluate = dspy.Evaluate(devset=QUESTIONS[:2], metric=metric, num_threads=1)
    assert evaluate(two_members()).score == 100
    assert metric.__name__ == "says"


def test_other_predictors_are_judged_as_ever():
    seen = []

    def metric(example, pred, trace, pred_name, pred_trace):
        seen.append((pred, pred_name))
        return dspy.Prediction(score=1.0, feedback="Fine.")

    pred = dspy.Prediction(answer="4")
    step = (dspy.Predict(QA), {"question": "?"}, dspy.Prediction(answer="5"))
    judged = by_member(metric)(QUESTIONS[0], pred, [step], "after", [step])
    assert (judged.feedback, seen) == ("Fine.", [(pred, "after")])


@pytest.mark.parametrize("metric", ["accuracy", lambda example: 1.0])
def test_what_is_no_metric_is_refused(metric):
    with pytest.raises(ConfigurationError, match="by_member takes a metric of an example"):
        by_member(metric)
