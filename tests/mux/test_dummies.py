"""`DummyLM` pools in users' tests: the recipe of docs/testing.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import dspy
import pytest
from dspy.utils import DummyLM

from dspy_mux import SampleBank, SLMMux, collect

RECIPE = Path(__file__).parent.parent.parent / "docs" / "testing.md"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_recipe_runs_from_top_to_bottom():
    blocks = re.findall(r"```python\n(.*?)```", RECIPE.read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    exec(compile("\n".join(blocks), str(RECIPE), "exec"), {})


def dummies(*answers, k=3):
    return [DummyLM([{"reasoning": "", "answer": answer}] * k) for answer in answers]


async def test_a_list_of_dummies_is_a_pool():
    mux = SLMMux("question -> answer", dummies("x", "x", "y", k=6), accuracies={"dummy-3": 0.9})
    assert mux.pool.names == ["dummy-1", "dummy-2", "dummy-3"]
    for pred in (mux(question="?"), await mux.acall(question="?")):
        assert (pred.answer, pred.verdict.member, pred.verdict.calls) == ("y", "dummy-3", 9)


@pytest.mark.parametrize("schedule", ["full", "frugal", "hedged"])
def test_every_schedule_runs_on_them(schedule):
    mux = SLMMux("question -> answer", dummies("x", "y"), schedule=schedule)
    assert mux(question="?").answer == "x"


def test_draws_take_the_replies_in_order():
    answers = [{"answer": text} for text in "abcdef"]
    for _ in range(20):
        mux = SLMMux(dspy.Predict("question -> answer"), [DummyLM(answers)], k=6, num_threads=1)
        assert [each.answer for each in mux(question="?").verdict.ballots[0].answers] == [*"abcdef"]


async def test_awaited_draws_take_each_reply_once():
    answers = [{"answer": text} for text in "abcdef"]
    mux = SLMMux(dspy.Predict("question -> answer"), [DummyLM(answers)], k=6)
    verdict = (await mux.acall(question="?")).verdict
    assert sorted(each.answer for each in verdict.ballots[0].answers) == [*"abcdef"]


def test_they_are_evaluated_collected_saved_and_opened(tmp_path):
    lms = [DummyLM({"": {"reasoning": "", "answer": text}}) for text in "xy"]
    mux = SLMMux("question -> answer", lms, k=2)
    examples = [dspy.Example(question=q, answer="x").with_inputs("question") for q in "123"]

    def metric(example, prediction, trace=None):
        return example.answer == prediction.answer

    assert dspy.Evaluate(devset=examples, metric=metric)(mux).score == 100.0
    assert collect(mux, examples, metric, SampleBank(tmp_path / "bank.sqlite")).drawn == 12
    mux.save(tmp_path / "mux.json")
    assert SLMMux.from_file(tmp_path / "mux.json", lms)(question="?").answer == "x"


def test_an_unknown_argument_names_the_class_and_what_was_meant():
    with pytest.raises(TypeError, match=r"^SLMMux\(\) has no argument 'kk'; did you mean 'k'\?$"):
        SLMMux("question -> answer", dummies("x"), kk=3)
    with pytest.raises(TypeError, match="has no argument 'equivalent'; did you mean 'equivalence'"):
        SLMMux("question -> answer", dummies("x"), equivalent=len)
    with pytest.raises(TypeError, match=r"^SLMMux\(\) has no argument 'colour'$"):
        SLMMux("question -> answer", dummies("x"), colour="red")
