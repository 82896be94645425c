"""DSPy's own optimizers compile a mux member by member; scripted models learn from the prompt."""

from __future__ import annotations

import json
import re

import dspy

from dspy_mux import SLMMux

from ..support.scripted import asked, everything, scripted_lm

QUESTIONS = [
    dspy.Example(question=f"{i} + {i}?", answer=str(2 * i)).with_inputs("question")
    for i in range(1, 13)
]


def right(question):
    return {"reasoning": "Doubled.", "answer": str(2 * int(question.split()[0]))}


def metric(example, pred, trace=None, pred_name=None, pred_trace=None):
    return float(pred.answer == example.answer)


def score(mux):
    return dspy.Evaluate(
        devset=QUESTIONS[6:], metric=metric, num_threads=1, display_progress=False
    )(mux).score


def student(knows):
    """A mux of two members that answer rightly only where `knows(whole prompt, question)`."""

    def reply(name):
        def of(request_text, draw):
            question = asked(
                "[[ ## question ## ]]\n" + request_text.rpartition("[[ ## question ## ]]\n")[2]
            )
            return (
                right(question)
                if knows(name, request_text, question)
                else {"reasoning": "?", "answer": "unknown"}
            )

        return of

    return SLMMux(
        "question -> answer",
        {n: scripted_lm(n, reply(n), shown=everything) for n in ("a", "b")},
        k=2,
    )


def test_bootstrap_fewshot_gives_members_demos_of_their_own():
    # Each member knows the training half by heart; the rest it solves only with an example.
    mux = student(lambda name, text, question: int(question.split()[0]) <= 6 or "Doubled." in text)
    assert score(mux) == 0
    compiled = dspy.BootstrapFewShot(
        metric=metric, max_bootstrapped_demos=2, max_labeled_demos=0
    ).compile(mux, trainset=QUESTIONS[:6])
    assert score(compiled) == 100
    assert any(predictor.demos for predictor in compiled.predictors())
    assert all(not predictor.demos for predictor in mux.predictors())


def proposer(instruction):
    """An LM that writes `instruction` wherever an optimizer asks for a text."""

    def reply(text, draw):
        if "Respond with a JSON object" in text:
            return json.dumps({"new_instruction": instruction})
        wanted = re.findall(r"`\[\[ ## (\w+) ## \]\]`", text)
        return dict.fromkeys([field for field in wanted if field != "completed"], instruction)

    return scripted_lm("proposer", reply, shown=everything)


def test_miprov2_improves_a_mux():
    mux = student(lambda name, text, question: "double it" in text)
    before = score(mux)
    with dspy.context(lm=proposer("Take the number and double it.")):
        compiled = dspy.MIPROv2(
            metric=metric,
            auto="light",
            prompt_model=dspy.settings.lm,
            num_threads=1,
            seed=0,
            max_bootstrapped_demos=0,
            max_labeled_demos=0,
            verbose=False,
        ).compile(mux, trainset=QUESTIONS[:3], valset=QUESTIONS[3:6])
    assert (before, score(compiled)) == (0, 100)


def test_gepa_improves_a_mux():
    def feedback(example, pred, trace=None, pred_name=None, pred_trace=None):
        return dspy.Prediction(score=metric(example, pred), feedback="Double the number.")

    mux = student(lambda name, text, question: "double it" in text)
    before = score(mux)
    compiled = dspy.GEPA(
        metric=feedback,
        max_metric_calls=60,
        reflection_lm=proposer("Take the number and double it."),
        num_threads=1,
        seed=0,
    ).compile(mux, trainset=QUESTIONS[:3], valset=QUESTIONS[3:6])
    assert before == 0
    assert score(compiled) == 100


def test_a_compiled_mux_saves_and_loads_its_demos(tmp_path):
    mux = student(lambda name, text, question: int(question.split()[0]) <= 6 or "Doubled." in text)
    compiled = dspy.BootstrapFewShot(
        metric=metric, max_bootstrapped_demos=2, max_labeled_demos=0
    ).compile(mux, trainset=QUESTIONS[:6])
    compiled.save(tmp_path / "mux.json")
    loaded = student(lambda name, text, question: "Doubled." in text)
    loaded.load(tmp_path / "mux.json")
    assert [len(p.demos) for p in loaded.predictors()] == [
        len(p.demos) for p in compiled.predictors()
    ]
