"""SLMMux as a DSPy module: async calls, larger programs, caching, usage, traces, copies."""

from __future__ import annotations

import asyncio
import copy

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from dspy_mux import AllMembersFailed, ConfigurationError, SLMMux

from ..support.pools import QA, mux_of
from ..support.scripted import TwoSteps, asked, calls, scripted_lm


async def test_acall_gives_the_same_verdict_as_the_call():
    answers = (["x", "y", "x"], ["z", ValueError("gone"), "z"])
    sync = mux_of(*answers)(question="?").verdict
    asynchronous = (await mux_of(*answers).acall(question="?")).verdict
    assert asynchronous.model_dump(exclude={"cached_calls", "calls"}) == sync.model_dump(
        exclude={"cached_calls", "calls"}
    )


async def test_acall_runs_a_program_that_has_no_async_form():
    class Sync(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict(QA)

        def forward(self, question):
            return self.step(question=question)

    assert (await mux_of(["x"], program=Sync()).acall(question="?")).answer == "x"


async def test_a_slow_member_abstains_in_acall_too():
    lms = {"works": scripted_lm("works", ["x"]), "hangs": scripted_lm("hangs", ["y"], latency=30)}
    verdict = (await SLMMux(dspy.Predict(QA), lms, timeout=2).acall(question="?")).verdict
    assert (verdict.member, verdict.ballots[1].abstentions) == (
        "works",
        {"no answer within 2 s": 3},
    )


async def test_many_questions_from_asyncio_tasks():
    lm = scripted_lm("echo", lambda prompt, _: {"answer": asked(prompt)})
    mux = SLMMux(dspy.Predict(QA), [lm], k=2)
    preds = await asyncio.gather(*(mux.acall(question=f"q{i}") for i in range(20)))
    assert [pred.answer for pred in preds] == [f"q{i}" for i in range(20)]
    assert all(pred.verdict.calls == 2 for pred in preds)


def test_inside_a_larger_module_of_several_steps():
    class Pipeline(dspy.Module):
        def __init__(self, mux):
            super().__init__()
            self.mux, self.after = mux, dspy.Predict("answer -> report")

        def forward(self, question):
            return self.after(answer=self.mux(question=question).answer)

    with dspy.context(
        lm=scripted_lm("writer", lambda prompt, _: {"report": f"It is {asked(prompt, 'answer')}"})
    ):
        assert Pipeline(mux_of(["x"]))(question="?").report == "It is x"


def test_a_program_of_several_steps_runs_whole_for_each_member():
    lm = scripted_lm(
        "a",
        lambda p, _: (
            {"answer": f"<{asked(p, 'idea')}>"}
            if "## idea" in p.split("Respond")[0]
            else {"idea": "i"}
        ),
    )
    pred = SLMMux(TwoSteps(), [lm], k=2)(question="?")
    assert (pred.answer, pred.verdict.calls) == ("<i>", 4)


def test_inside_evaluate_and_parallel():
    examples = [
        dspy.Example(question=f"q{i}", answer=f"q{i}").with_inputs("question") for i in range(12)
    ]
    mux = SLMMux(
        dspy.Predict(QA), [scripted_lm("echo", lambda prompt, _: {"answer": asked(prompt)})]
    )
    evaluate = dspy.Evaluate(
        devset=examples,
        metric=dspy.evaluate.answer_exact_match,
        num_threads=4,
        display_progress=False,
    )
    assert evaluate(mux).score == 100.0
    preds = dspy.Parallel(num_threads=4, disable_progress_bar=True)(
        [(mux, example.inputs()) for example in examples]
    )
    assert [pred.answer for pred in preds] == [example.answer for example in examples]


def test_a_mux_that_a_program_calls_as_a_tool_redraws_in_every_draw():
    inner_lm = scripted_lm("inner", lambda _, draw: {"answer": f"answer {draw}"})
    inner = SLMMux(dspy.Predict(QA), [inner_lm], k=2)

    class Asks(dspy.Module):
        def forward(self, question):
            return dspy.Prediction(answer=inner(question=question).answer)

    outer = SLMMux(Asks(), [scripted_lm("o1", ["-"]), scripted_lm("o2", ["-"])], k=3)
    verdict = outer(question="?").verdict
    assert calls(inner_lm) == 2 * 3 * 2
    assert len({answer.answer for ballot in verdict.ballots for answer in ballot.answers}) == 6
    assert verdict.calls == 12
    assert outer(question="?").verdict.cached_calls == 12


def test_a_rerun_costs_no_call():
    mux = mux_of(["x", "y", "x"], ["z"])
    first = mux(question="?").verdict
    again = mux(question="?").verdict
    assert (first.calls, first.cached_calls) == (6, 0)
    assert (again.calls, again.cached_calls, again.completion_tokens) == (0, 6, 0)
    assert again.answer == first.answer
    assert [calls(member.lm) for member in mux.members] == [3, 3]


def test_more_draws_reuse_the_first_ones():
    lm = scripted_lm("a", ["x", "y", "z", "x", "x"])
    SLMMux(dspy.Predict(QA), [lm], k=3)(question="?")
    verdict = SLMMux(dspy.Predict(QA), [lm], k=5)(question="?").verdict
    assert (verdict.calls, verdict.cached_calls) == (2, 3)


def test_usage_history_and_callbacks_are_complete():
    class Seen(BaseCallback):
        def __init__(self):
            self.lm_calls, self.modules = 0, 0

        def on_lm_start(self, call_id, instance, inputs):
            self.lm_calls += 1

        def on_module_start(self, call_id, instance, inputs):
            self.modules += 1

    seen, mux = Seen(), mux_of(["x"], ["y"])
    with dspy.context(track_usage=True, callbacks=[seen]):
        pred = mux(question="?")
    usage = pred.get_lm_usage()
    assert {name: tokens["total_tokens"] for name, tokens in usage.items()} == {
        "scripted/a": 36,
        "scripted/b": 36,
    }
    assert seen.lm_calls == 6
    assert seen.modules == 7
    assert len(mux.history) == 6
    assert [len(member.lm.history) for member in mux.members] == [3, 3]


def test_only_the_winning_draw_is_in_the_trace():
    mux = mux_of(["x", "y", "z"], ["w"])
    with dspy.context(trace=[]):
        pred = mux(question="?")
        trace = list(dspy.settings.trace)
    assert len(trace) == 1
    predictor, inputs, output = trace[0]
    assert predictor is mux.programs[1]
    assert (inputs, output.answer) == ({"question": "?"}, pred.answer)


def test_set_lm_is_refused_with_the_reason():
    with pytest.raises(ConfigurationError, match="keeps one LM per member"):
        mux_of(["x"]).set_lm(scripted_lm("b", ["y"]))


def test_a_deepcopy_shares_the_models_and_nothing_else():
    mux = mux_of(["x"], ["y"])
    twin = copy.deepcopy(mux)
    assert [a.lm is b.lm for a, b in zip(mux.members, twin.members, strict=True)] == [True, True]
    twin.programs[0].demos = [dspy.Example(question="q", answer="a")]
    twin.pool.accuracies["a"] = 0.5
    assert (mux.programs[0].demos, mux.accuracies) == ([], {})
    assert twin(question="?").answer == "x"


def test_a_compiled_program_keeps_its_predictors_visible():
    program = dspy.ChainOfThought(QA)
    program._compiled = True
    assert len(mux_of(["x"], ["y"], program=program).predictors()) == 2


def test_num_threads_bounds_the_draws_in_flight():
    lms = [scripted_lm(name, ["x"], latency=0.02) for name in "ab"]
    SLMMux(dspy.Predict(QA), lms, k=4, num_threads=2)(question="?")
    assert sum(lm.engine.most_at_once for lm in lms) <= 4
    assert max(lm.engine.most_at_once for lm in lms) <= 2


def test_an_answer_that_the_program_computes_is_voted_on():
    class Computes(dspy.Module):
        def __init__(self):
            super().__init__()
            self.step = dspy.Predict("question -> number: int")

        def forward(self, question):
            return dspy.Prediction(value=self.step(question=question).number * 2)

    lm = scripted_lm("a", lambda *_: {"number": "21"})
    assert SLMMux(Computes(), [lm], answer_field="value")(question="?").value == 42


def test_a_rule_without_a_choice_is_named():
    lms = {"best": scripted_lm("best", [ValueError("down")]), "good": scripted_lm("good", ["7"])}
    mux = SLMMux(
        dspy.Predict(QA), lms, accuracies={"best": 0.9, "good": 0.1}, rule="self_consistency"
    )
    with pytest.raises(
        AllMembersFailed, match="good: answered, but the rule 'self_consistency' chose none"
    ):
        mux(question="?")


def test_a_key_quoted_by_a_server_is_masked():
    lm = scripted_lm(
        "a", [ValueError("Incorrect key: sk-env-987654, Authorization: Bearer abc.def")]
    )
    with pytest.raises(AllMembersFailed) as failure:
        SLMMux(dspy.Predict(QA), [lm])(question="?")
    assert "987654" not in str(failure.value)
    assert "abc.def" not in str(failure.value)


@pytest.mark.parametrize(
    ("unnamed", "inputs", "told"),
    [
        (
            ("3 + 4",),
            {},
            r"SLMMux takes its inputs by name, question=…, and was given 1 without a name\.",
        ),
        ((), {"q": "3 + 4"}, r"by name, question=…, and was given q\."),
        ((), {}, r"by name, question=…, and was given none\."),
    ],
)
async def test_inputs_of_other_names_are_refused_before_a_call(unnamed, inputs, told):
    lms = [scripted_lm("a", ["x"]), scripted_lm("b", ["x"])]
    mux = SLMMux("question -> answer", lms)
    with pytest.raises(ConfigurationError, match=told):
        mux(*unnamed, **inputs)
    with pytest.raises(ConfigurationError, match=told):
        await mux.acall(*unnamed, **inputs)
    assert [lm.engine.calls for lm in lms] == [0, 0]


def test_draws_of_a_question_share_their_members_adapter():
    mux = SLMMux(dspy.Predict("question -> answer"), [scripted_lm(name, ["x"]) for name in "ab"])
    adapters = [
        {draw.adapter for draw in mux.draws(at, range(3), {"question": "?"})} for at in (0, 1)
    ]
    assert [len(shared) for shared in adapters] == [1, 1]
    assert not adapters[0] & adapters[1]
