"""What DSPy's optimizers read of a mux: every member's own draws, under its own predictors."""

from __future__ import annotations

import json

import dspy
import pytest
from dspy.teleprompt.bootstrap_trace import bootstrap_trace_data

from dspy_mux import SLMMux

from ..support.pools import QA, mux_of
from ..support.scripted import TwoSteps, asked, everything, scripted_lm

QUESTIONS = [
    dspy.Example(question=f"{i} + {i}?", answer=str(2 * i)).with_inputs("question")
    for i in range(1, 9)
]


def metric(example, pred, trace=None, pred_name=None, pred_trace=None):
    return float(pred.answer == example.answer)


def member(name, *answers):
    """A member whose reasoning names it; an answer is a function of the question's number."""

    def reply(prompt, draw):
        number = int(asked(prompt).split()[0])
        answer = answers[min(draw, len(answers) - 1)](number)
        return {"reasoning": f"{name} thinks, draw {draw}", "answer": answer}

    return scripted_lm(name, reply)


def double(number):
    return str(2 * number)


def wrong(number):
    return f"wrong {number}"


def reasoning_of(predictor):
    return [demo.reasoning for demo in predictor.demos if demo.get("augmented")]


def trace_of(mux, question="?"):
    with dspy.context(trace=[]):
        mux(question=question)
        return list(dspy.settings.trace)


def test_the_trace_has_the_winner_last_and_before_it_who_agrees():
    mux = mux_of(["x", "x", "y"], ["x"], ["z", "z", "x"], ["w", "v", "u"])
    trace = trace_of(mux)
    assert [mux.programs.index(step[0]) for step in trace] == [
        0,
        2,
        1,
    ]  # c drew it last, b three times
    assert [step[2].answer for step in trace] == ["x", "x", "x"]


def test_steps_of_a_program_stay_together():
    def reply(prompt, _):
        second = "## idea" in prompt.split("Respond")[0]
        return {"answer": f"<{asked(prompt, 'idea')}>"} if second else {"idea": "i"}

    mux = SLMMux(TwoSteps(), {name: scripted_lm(name, reply) for name in "ab"}, k=2)
    names = {id(predictor): name for name, predictor in mux.named_predictors()}
    assert [names[id(step[0])] for step in trace_of(mux)] == [
        "programs[1].first",
        "programs[1].second",
        "programs[0].first",
        "programs[0].second",
    ]


async def test_acall_traces_the_same():
    mux = mux_of(["x"], ["x", "y", "y"])
    with dspy.context(trace=[]):
        await mux.acall(question="?")
        trace = list(dspy.settings.trace)
    assert [mux.programs.index(step[0]) for step in trace] == [1, 0]


def test_the_trace_keeps_its_bound():
    with dspy.context(max_trace_size=1):
        mux = mux_of(["x"], ["x"])
        assert [step[0] for step in trace_of(mux)] == [mux.programs[0]]


def test_a_member_that_never_wins_learns_from_its_own_draws():
    lms = [member("a", double), member("b", double, wrong, double)]
    compiled = dspy.BootstrapFewShot(metric=metric, max_labeled_demos=0).compile(
        SLMMux("question -> answer", lms, k=3), trainset=QUESTIONS[:2]
    )
    a, b = compiled.predictors()
    assert reasoning_of(a) == ["a thinks, draw 0"] * 2
    assert reasoning_of(b) == ["b thinks, draw 0"] * 2


def test_draws_with_another_answer_are_nobodys_demos():
    lms = [member("a", double), member("b", wrong, wrong, double), member("c", wrong)]
    compiled = dspy.BootstrapFewShot(metric=metric, max_labeled_demos=0).compile(
        SLMMux("question -> answer", lms, k=3), trainset=QUESTIONS[:2]
    )
    a, b, c = compiled.predictors()
    assert reasoning_of(a) == ["a thinks, draw 0"] * 2
    assert reasoning_of(b) == ["b thinks, draw 2"] * 2
    assert reasoning_of(c) == []


def test_an_optimizer_that_reflects_sees_each_members_draws_under_its_signature():
    lms = [member("a", double), member("b", wrong), member("c", double, wrong, wrong)]
    mux = SLMMux("question -> answer", lms, k=3)
    (data,) = bootstrap_trace_data(mux, QUESTIONS[:1], metric=metric, num_threads=1)
    for at, name in enumerate("abc"):
        (predictor,) = mux.programs[at].predictors()
        matching = [step for step in data["trace"] if step[0].signature.equals(predictor.signature)]
        assert sorted(step[2].reasoning for step in matching) == [
            f"{name} thinks, draw {draw}" for draw in range(3)
        ]
    assert data["prediction"].verdict.member == "scripted/a"


def test_stand_ins_equal_their_predictors():
    mux = SLMMux("question -> answer", [member("a", double), member("b", wrong)], k=2)
    (data,) = bootstrap_trace_data(mux, QUESTIONS[:1], metric=metric, num_threads=1)
    names = {predictor: name for name, predictor in mux.named_predictors()}  # as Refine does
    by_id = {id(predictor): name for name, predictor in mux.named_predictors()}
    assert [names[step[0]] for step in data["trace"]].count("programs[1].predict") == 2
    assert [by_id[id(step[0])] for step in data["trace"] if id(step[0]) in by_id] == [
        "programs[0].predict"
    ]


class Pipeline(dspy.Module):
    def __init__(self, mux):
        super().__init__()
        self.mux, self.after = mux, dspy.Predict("answer -> report")

    def forward(self, question):
        pred = self.mux(question=question)
        return dspy.Prediction(answer=pred.answer, report=self.after(answer=pred.answer).report)


def test_in_a_larger_program_too():
    mux = SLMMux("question -> answer", [member("a", double), member("b", wrong)], k=2)
    program = Pipeline(mux)
    with dspy.context(lm=scripted_lm("writer", lambda *_: {"report": "done"})):
        (data,) = bootstrap_trace_data(program, QUESTIONS[:1], metric=metric, num_threads=1)
    (b,) = mux.programs[1].predictors()
    theirs = [step for step in data["trace"] if step[0].signature.equals(b.signature)]
    assert [step[2].answer for step in theirs] == ["wrong 1", "wrong 1"]
    assert data["trace"][-1][2].report == "done"


def gepa_pool(learned):
    """Members a, who wins ties and is always wrong, and b, who errs until its prompt helps it."""

    def a(prompt, draw):
        return {"reasoning": f"a thinks, draw {draw}", "answer": f"a's guess {draw}"}

    def b(prompt, draw):
        number = int(asked(prompt[prompt.rindex("[[ ## question ## ]]") :]).split()[0])
        if learned in prompt:
            return {"reasoning": "b thinks, doubled", "answer": double(number)}
        return {"reasoning": f"b thinks, draw {draw}", "answer": f"b's guess {draw}"}

    return {"a": scripted_lm("a", a, shown=everything), "b": scripted_lm("b", b, shown=everything)}


def proposal(prompt, instruction):
    """The reply of a reflection LM to either of the formats that it is asked in."""
    if "Respond with a JSON object" in prompt:
        return json.dumps({"new_instruction": instruction})
    return {"new_instruction": instruction}


@pytest.mark.parametrize("wrapped", [False, True])
def test_gepa_changes_bs_instruction_because_of_bs_text_alone(wrapped):
    seen = {"a": [], "b": []}

    def reflect(prompt, draw):
        whose = {name for name in "ab" if f"{name} thinks" in prompt}
        assert len(whose) == 1, whose
        seen[whose.pop()].append(prompt)
        return proposal(prompt, "Double the number." if "b thinks" in prompt else "Guess on.")

    def feedback(example, pred, trace=None, pred_name=None, pred_trace=None):
        return dspy.Prediction(score=metric(example, pred), feedback="Wrong.")

    mux = SLMMux("question -> answer", gepa_pool("Double the number."), k=2)
    program = Pipeline(mux) if wrapped else mux
    writer = scripted_lm("writer", lambda *_: {"report": "done"})
    with dspy.context(lm=writer):
        compiled = dspy.GEPA(
            metric=feedback,
            max_metric_calls=60,
            reflection_lm=scripted_lm("reflection", reflect, shown=everything),
            num_threads=1,
            component_selector=lambda state, *_: ["mux." * wrapped + "programs[1].predict"],
            seed=0,
        ).compile(program, trainset=QUESTIONS[:3], valset=QUESTIONS[3:6])
    muxed = compiled.mux if wrapped else compiled
    a, b = (program.predict.signature.instructions for program in muxed.programs)
    assert seen["b"]
    assert not seen["a"]
    assert b == "Double the number."
    assert a == mux.programs[0].predict.signature.instructions


def test_gepa_reflects_on_every_member_by_its_own_text():
    prompts = []

    def reflect(prompt, draw):
        prompts.append({name for name in "ab" if f"{name} thinks" in prompt})
        return proposal(prompt, "Think.")

    mux = SLMMux("question -> answer", gepa_pool("never"), k=2)
    dspy.GEPA(
        metric=lambda example, pred, *_: dspy.Prediction(score=0.0, feedback="Wrong."),
        max_metric_calls=60,
        reflection_lm=scripted_lm("reflection", reflect, shown=everything),
        num_threads=1,
        seed=0,
    ).compile(mux, trainset=QUESTIONS[:3], valset=QUESTIONS[3:6])
    assert {frozenset(names) for names in prompts} == {frozenset("a"), frozenset("b")}


class Capital(dspy.Signature):
    """Name the capital."""

    country: str = dspy.InputField(desc="a country")
    answer: str = dspy.OutputField()


def test_members_signatures_are_still_the_users():
    mux = mux_of(["x"], ["y"], program=dspy.Predict(Capital))
    first, second = (program.signature for program in mux.programs)
    assert not first.equals(second)
    for signature in (first, second):
        assert issubclass(signature, Capital)
        assert (signature.__name__, signature.instructions) == ("Capital", "Name the capital.")
        assert signature.dump_state() == Capital.dump_state()
    assert dspy.Predict(Capital).signature.equals(Capital)


def test_copies_loads_and_subsets_keep_members_apart(tmp_path):
    mux = mux_of(["x"], ["y"], ["z"])
    other = mux_of(["x"], ["y"], ["z"])
    mux.save(tmp_path / "mux.json")
    other.load(tmp_path / "mux.json")
    for twin in (mux.deepcopy(), other, mux.reset_copy()):
        assert [
            [one.signature.equals(two.signature) for two in twin.programs] for one in mux.programs
        ] == [[True, False, False], [False, True, False], [False, False, True]]
    subset, built = mux.subset(["c", "a"]), mux_of(["x"], ["y"])
    for one, two in zip(subset.programs, built.programs, strict=True):  # as student and teacher
        assert one.signature.equals(two.signature)


def test_prompts_do_not_show_the_member():
    mux = mux_of(["x"], ["x"], program=dspy.Predict(QA))
    mux(question="?")
    shown = [everything(request) for item in mux.members for request in item.lm.engine.requests]
    assert len(set(shown)) == 1
    assert "programs[" not in shown[0]
