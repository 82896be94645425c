"""`MuxOptimizer` on scripted members, from drawing to a saved mux."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import dspy
import numpy as np
import optuna
import pytest

from dspy_mux import (
    ConfigurationError,
    DataError,
    Member,
    MissingExtra,
    MuxOptimizer,
    SampleBank,
    SLMMux,
)
from dspy_mux.bank.collect import collect
from dspy_mux.bank.score import recorded
from dspy_mux.optimize.drawing import DrawOptions
from dspy_mux.optimize.fitting import fitted_rule
from dspy_mux.optimize.options import ChoiceOptions, StudyOptions
from dspy_mux.voting.calibration import Training, fit
from dspy_mux.voting.tally import Tally

from ..support.scripted import ScriptedEngine
from ..support.skilled import a_member, a_mux, calls, metric, questions


def test_compiling_leaves_the_student_unchanged(tmp_path):
    members = a_member("a", 0.8), a_member("b", 0.1), a_member("c", 0.7)
    # A request for log-probabilities has a cache entry of its own, and most rules make none.
    student = a_mux(*members, k=2, logprobs=False)
    bank = SampleBank(tmp_path / "bank.sqlite")
    examples = questions(60)
    best = MuxOptimizer(metric=metric, bank=bank, max_members=2, k_max=3, n_trials=12).compile(
        student, trainset=examples[:40], valset=examples[40:]
    )
    assert {member.name for member in best.members} <= {"a", "c"}
    assert best.accuracies.keys() == {member.name for member in best.members}
    assert [member.name for member in student.members] == ["a", "b", "c"]
    assert student.accuracies == {}
    assert not hasattr(student, "report")
    assert "compiled" in best.report.to_markdown()
    assert (
        "best of the trials (12) was taken: that flatters it, and a test split would not"
        in best.report.note
    )
    assert best.report.to_dataframe().shape == (3, 8)
    assert "<table>" in best.report.to_html()
    before = calls(student)
    assert best(question="q1?").verdict.rule == best.rule.name
    assert calls(student) == before  # recorded draws are in the cache


def test_failed_draws_are_reported_and_retried_on_request(tmp_path, caplog):
    flaky = a_member("b", 0.9)
    reply = flaky.lm.engine.reply
    flaky.lm.engine.reply = lambda prompt, draw: (
        ConnectionError("refused") if "q7?" in prompt else reply(prompt, draw)
    )
    student = a_mux(a_member("a", 0.6), flaky, k=2)
    settings = {"metric": metric, "bank": tmp_path / "bank.sqlite", "n_trials": 6}
    best = MuxOptimizer(**settings).compile(student, trainset=questions(30))
    message = "Errors cost 2 of 120 draws, most often 'LMUnexpectedError: [scripted/b] refused'"
    assert message in best.report.note
    assert message in caplog.text
    flaky.lm.engine.reply = reply
    assert (
        "Errors cost"
        in MuxOptimizer(**settings).compile(student, trainset=questions(30)).report.note
    )
    retried = MuxOptimizer(**settings, retry_failed=True).compile(student, trainset=questions(30))
    assert "Errors cost" not in retried.report.note


def test_a_saved_calibrated_mux_answers_alike(tmp_path):
    members = [a_member("a", 0.6), a_member("b", 0.5), a_member("c", 0.5)]
    student = SLMMux(dspy.Predict("question, category -> answer"), members, k=3, temperature=0.5)
    examples = [example.with_inputs("question", "category") for example in questions(60)]
    study = MuxOptimizer(
        metric=metric, n_trials=6, min_members=3, rules=["calibrated"], context="category", seed=1
    )
    best = study.compile(student, trainset=examples)
    assert best.report.tuned.cross_fitted
    bank = SampleBank(tmp_path / "bank.sqlite")
    collect(student, examples, metric, bank)
    record = recorded(student, examples, metric, bank, dataset="default", k=3)
    setting = replace(best.report.tuned.best, rule="calibrated")
    mux = student.subset(["a", "b", "c"])
    # Fitted whatever the cross-validation says, so that the rule is there to be saved.
    mux.pool.rule = fitted_rule(setting, record, Tally(record.votes), study.options, None)
    mux.save(tmp_path / "mux.json")
    loaded = student.subset(["a", "b", "c"])
    loaded.load(tmp_path / "mux.json")
    answers = [
        (p.answer, p.verdict.confidence, p.verdict.member)
        for p in (mux(**e.inputs()) for e in examples[:20])
    ]
    assert answers == [
        (p.answer, p.verdict.confidence, p.verdict.member)
        for p in (loaded(**e.inputs()) for e in examples[:20])
    ]
    replayed = mux.rule.pick(Tally(record.votes), record.field("category"))
    assert [("a", "b", "c")[at] for at in replayed.member[:20]] == [
        member for _, _, member in answers
    ]
    assert replayed.confidence[:20].tolist() == pytest.approx(
        [confidence for _, confidence, _ in answers]
    )
    damaged = json.loads((tmp_path / "mux.json").read_text())
    damaged["pool"]["rule"]["weights"].pop()
    (tmp_path / "mux.json").write_text(json.dumps(damaged))
    with pytest.raises(DataError, match="damaged"):
        loaded.load(tmp_path / "mux.json")


def test_a_graded_metric_chooses_by_its_threshold():
    def graded(example, pred, trace=None):
        return 0.9 if pred.answer == example.answer else 0.1

    student = a_mux(a_member("bad", 0.05), a_member("worse", 0.05), a_member("good", 0.9), k=2)
    with pytest.raises(
        ConfigurationError,
        match="No draw of the questions that choose the members reaches the threshold 1",
    ):
        MuxOptimizer(metric=graded, n_trials=4).compile(student, trainset=questions(30))
    best = MuxOptimizer(metric=graded, n_trials=8, threshold=0.5, max_members=1).compile(
        student, trainset=questions(30)
    )
    assert [member.name for member in best.members] == ["good"]


def test_a_context_that_is_not_an_input_is_refused():
    student = a_mux(a_member("a"), a_member("b"))
    study = MuxOptimizer(metric=metric, n_trials=2, context="category")
    with pytest.raises(
        ConfigurationError,
        match=r"context='category' is not an input of every example \(they share question\)",
    ):
        study.compile(student, trainset=questions(30))
    mixed = [example.with_inputs("question", "category") for example in questions(30)]
    with pytest.raises(ConfigurationError, match="context='category' is not an input"):
        study.compile(student, trainset=mixed[:20], valset=questions(30)[20:])
    by_text = MuxOptimizer(metric=metric, n_trials=2, context="auto:category")
    with pytest.raises(ConfigurationError, match="context='category' is not an input"):
        by_text.compile(student, trainset=questions(30))
    assert calls(student) == [0, 0]


def test_a_mux_with_a_fitted_rule_compiles_again():
    student = a_mux(a_member("a", 0.8), a_member("b", 0.1), k=2)
    votes = np.tile([[[0, 0], [1, 1]]], (30, 1, 1))
    student.pool.rule = fit(Training(Tally(votes), (votes == 0).astype(float), ("a", "b")))
    study = MuxOptimizer(metric=metric, n_trials=4, max_members=1, rules=["consistency"])
    best = study.compile(student, trainset=questions(30))
    assert ([member.name for member in best.members], best.rule.name, student.rule.name) == (
        ["a"],
        "consistency",
        "calibrated",
    )


def test_the_text_is_looked_for_among_the_inputs_alone():
    def knowing(name, topic):
        engine = ScriptedEngine(
            lambda prompt, draw: {"answer": "right" if topic in prompt else name}
        )
        return Member(dspy.LM(f"scripted/{name}", engine=engine), name=name)

    student = SLMMux(
        dspy.Predict("text -> answer"),
        [knowing("a", "fish"), knowing("b", "birds")],
        k=2,
        temperature=0.5,
    )
    examples = [
        dspy.Example(
            text=f"Which {('fish', 'birds')[n % 2]} live in place{n}?", question="a", answer="right"
        ).with_inputs("text")
        for n in range(60)
    ]
    study = MuxOptimizer(metric=metric, n_trials=4, min_members=2, context="auto")
    best = study.compile(student, trainset=examples)
    assert best.rule.context == "text"
    assert best(text="Which birds live in Rome?").answer == "right"
    elsewhere = [
        dspy.Example(place=n, question="a", answer="right").with_inputs("place") for n in range(3)
    ]
    with pytest.raises(ConfigurationError, match="none among place: name the field"):
        study.compile(
            SLMMux(dspy.Predict("place -> answer"), student.members, temperature=0.5),
            trainset=elsewhere,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trainset": []}, "empty"),
        ({"trainset": questions(4), "valset": questions(2)}, "both trainset and valset"),
        ({"trainset": questions(4), "teacher": dspy.Predict("a -> b")}, "teacher"),
        ({"trainset": [{"question": "q"}]}, "Example 1 of the trainset must be a dspy.Example"),
        (
            {"trainset": questions(4), "valset": [dspy.Example(question="q")]},
            "Example 1 of the valset does not say what its inputs are",
        ),
        (
            {"trainset": questions(4), "valset": [dspy.Example(q="q").with_inputs("q")]},
            r"Example 1 of the valset does not fit the mux\. SLMMux takes its inputs by name",
        ),
    ],
)
@pytest.mark.parametrize("context", [None, "question"])
def test_what_cannot_be_compiled_is_refused_before_a_call(arguments, message, context):
    student = a_mux(a_member("a"), a_member("b"))
    with pytest.raises(ConfigurationError, match=message):
        MuxOptimizer(metric=metric, context=context).compile(student, **arguments)
    assert calls(student) == [0, 0]


def test_only_a_mux_is_compiled():
    with pytest.raises(ConfigurationError, match="compiles an SLMMux"):
        MuxOptimizer(metric=metric).compile(
            dspy.Predict("question -> answer"), trainset=questions(3)
        )


def test_options_are_checked_before_anything_is_drawn():
    with pytest.raises(ConfigurationError, match="metric must be a function of an example"):
        MuxOptimizer(metric=None)
    with pytest.raises(ConfigurationError, match="no rule 'best'"):
        MuxOptimizer(metric=metric, rules=["best"])
    with pytest.raises(ConfigurationError, match="needs the objective"):
        MuxOptimizer(metric=metric, budget=3.0)
    for name in ("k_max", "max_members", "min_members"):
        with pytest.raises(ConfigurationError, match=f"^{name} must be 1 or more, not 0"):
            MuxOptimizer(metric=metric, **{name: 0})
    with pytest.raises(ConfigurationError, match="max_members must be min_members=3 or more"):
        MuxOptimizer(metric=metric, min_members=3, max_members=2)


@pytest.mark.parametrize("missing", ["pandas", "plotly.graph_objects"])
def test_a_report_without_the_report_extra(monkeypatch, missing):
    student = a_mux(a_member("a", 0.8), a_member("b", 0.1), k=2)
    report = MuxOptimizer(metric=metric, n_trials=2).compile(student, trainset=questions(20)).report
    monkeypatch.setitem(sys.modules, missing, None)
    draw = report.to_dataframe if missing == "pandas" else report.figures
    with pytest.raises(MissingExtra, match=r"pip install 'dspy-mux\[report\]'"):
        draw()
    assert "<table>" in report.to_html()


def test_each_option_reaches_what_it_is_for():
    sampler, callbacks = optuna.samplers.RandomSampler(), (print,)
    optimizer = MuxOptimizer(
        metric,
        max_members=4,
        min_members=2,
        k_max=5,
        n_trials=7,
        rules=("pooled",),
        greedy=False,
        context="topic",
        threshold=0.4,
        seed=9,
        sampler=sampler,
        storage="sqlite:///s",
        study_name="s",
        n_jobs=3,
        timeout=60.0,
        callbacks=callbacks,
        minimize="cost_per_question",
        budget=0.1,
        num_threads=11,
        max_calls=12,
        max_cost=13.0,
        retry_failed=True,
        progress=True,
    )
    assert (optimizer.metric, optimizer.k_max) == (metric, 5)
    assert optimizer.options == ChoiceOptions(
        4, 2, None, ("pooled",), "topic", 0.4, "cost_per_question", 0.1, 9
    )
    assert optimizer.study_options == StudyOptions(
        7, 60.0, 3, callbacks, sampler, "sqlite:///s", "s", None
    )
    assert optimizer._draw_options == DrawOptions(False, 11, 12, 13.0, True, True)


def test_a_threshold_set_by_hand_is_said_to_be_of_other_confidences(tmp_path, caplog):
    settings = {"metric": metric, "bank": tmp_path / "bank.sqlite", "n_trials": 2}
    MuxOptimizer(**settings).compile(a_mux(a_member("a", 0.6), k=2), trainset=questions(20))
    assert "threshold" not in caplog.text
    student = a_mux(a_member("a", 0.6), k=2, threshold=1.0)
    best = MuxOptimizer(**settings).compile(student, trainset=questions(20))
    assert best.pool.settings.threshold == 1.0
    assert "keeps threshold=1, at which nothing is promised" in caplog.text
