"""SLMMux as its users meet it: the verdict, rules, and members that fail."""

from __future__ import annotations

import re
from typing import Literal

import dspy
import pytest

from dspy_mux import AllMembersFailed, Choice, ConfigurationError, Member, SLMMux, Verdict

from ..support.pools import QA, mux_of
from ..support.scripted import scripted_lm

# --- the verdict ---------------------------------------------------------------------------------


def test_the_most_consistent_member_answers():
    pred = mux_of(
        ["Rome", "Tunis", "Tripoli"], ["Tripoli", "Tripoli", "Tripoli"], accuracies={"a": 0.5}
    )(question="?")
    assert pred.answer == "Tripoli"
    verdict = pred.verdict
    assert (verdict.member, verdict.confidence, verdict.tie_break, verdict.rule) == (
        "b",
        1.0,
        "nothing",
        "consistency",
    )
    assert [(b.member, b.votes, round(b.confidence, 3), b.accuracy) for b in verdict.ballots] == [
        ("a", [0, 1, 2], 0.333, 0.5),
        ("b", [2, 2, 2], 1.0, None),
    ]
    assert [(c.answer, c.count, c.group) for c in verdict.ballots[0].answers] == [
        ("Rome", 1, 0),
        ("Tunis", 1, 1),
        ("Tripoli", 1, 2),
    ]
    assert (verdict.calls, verdict.cached_calls) == (6, 0)
    assert (verdict.prompt_tokens, verdict.completion_tokens) == (60, 12)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def test_the_prediction_has_all_fields_of_the_winner():
    lm = scripted_lm(
        "a", lambda _, draw: {"reasoning": f"draw {draw}", "answer": ["x", "y", "y"][draw]}
    )
    pred = SLMMux("question -> answer", [lm])(question="?")
    assert (pred.answer, pred.reasoning) == ("y", "draw 1")
    assert isinstance(pred, dspy.Prediction)


def test_ties_are_broken_by_accuracy_then_by_pool_order():
    tied = (["x"], ["y"])
    assert (
        mux_of(*tied, accuracies={"a": 0.4, "b": 0.6})(question="?").verdict.tie_break == "accuracy"
    )
    first = mux_of(*tied)(question="?")
    assert (first.answer, first.verdict.tie_break) == ("x", "pool order")


def test_answers_are_compared_by_the_type_of_the_answer_field():
    pred = mux_of(
        ["1,234", "$1234.00", "1234"],
        ["7", "8", "9"],
        program=dspy.Predict("question -> answer: float"),
    )(question="?")
    assert (pred.answer, pred.verdict.confidence) == (1234.0, 1.0)


def test_an_equivalence_of_the_users_own():
    mux = mux_of(["ab", "ba", "cd"], equivalence=lambda answer: "".join(sorted(answer)))
    assert mux(question="?").verdict.confidence == pytest.approx(2 / 3)
    mux = mux_of(["10", "11", "90"], equivalence=lambda a, b: abs(int(a) - int(b)) < 5)
    assert mux(question="another?").verdict.confidence == pytest.approx(2 / 3)


def test_choices_are_one_answer_by_label_or_case():
    class Colour(dspy.Signature):
        question: str = dspy.InputField()
        answer: Literal["red", "green"] = dspy.OutputField()

    pred = mux_of(["red", "Red", "green"], program=dspy.Predict(Colour))(question="?")
    assert (pred.answer, round(pred.verdict.confidence, 3)) == ("red", 0.667)


def test_members_with_their_own_k_and_temperature():
    a, b = scripted_lm("a", ["x"]), scripted_lm("b", ["y"])
    verdict = SLMMux(dspy.Predict(QA), [Member(a, k=5, temperature=1.0), b], k=2)(
        question="?"
    ).verdict
    assert [len(ballot.votes) for ballot in verdict.ballots] == [5, 2]
    assert {request.config.temperature for request in a.engine.requests} == {1.0}
    assert {request.config.temperature for request in b.engine.requests} == {0.3}


def test_a_rule_of_the_users_own():
    class Shortest:
        name = "shortest"

        def choose(self, ballots):
            return Choice(ballots[-1].plurality, len(ballots) - 1, 0.5)

    verdict = mux_of(["x"], ["y"], rule=Shortest())(question="?").verdict
    assert (verdict.answer, verdict.rule, verdict.confidence) == ("y", "shortest", 0.5)


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ("x", "The rule 'odd' must return a dspy_mux.Choice, or None for no answer, not 'x'."),
        (Choice(0, 7, 1.0), "The rule 'odd' chose ballot 7, where the ballots are numbered from 0"),
        (Choice(0, -1, 1.0), "The rule 'odd' chose ballot -1"),
    ],
)
def test_a_rule_that_makes_no_choice_is_named(choice, sentence):
    class Odd:
        name = "odd"

        def choose(self, ballots):
            return choice

    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        mux_of(["x"], ["y"], rule=Odd())(question="?")


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("question -> answer: Literl['a']", "uses the type .*Literl.*; known are str, "),
        ("question", "'question' is not a signature such as 'question -> answer: float'"),
        ("question: -> answer", "is not a signature such as"),
    ],
)
def test_a_text_that_is_no_signature(program, told):
    with pytest.raises(ConfigurationError, match=told):
        SLMMux(program, [scripted_lm("a", ["x"])])


@pytest.mark.parametrize("program", ["question ->", dspy.Predict("question ->")])
def test_a_program_without_outputs_is_refused(program):
    with pytest.raises(ConfigurationError, match="has no output field to compare: name one"):
        SLMMux(program, [scripted_lm("a", ["x"])])


def test_a_rule_that_chooses_an_undrawn_answer_is_named():
    class Wild:
        name = "wild"

        def choose(self, ballots):
            return Choice(99, 0, 1.0)

    with pytest.raises(
        ConfigurationError, match="The rule 'wild' chose an answer that member 'a' never drew"
    ):
        mux_of(["x"], rule=Wild())(question="?")


def test_a_subset_keeps_its_members_programs_and_accuracies():
    mux = mux_of(["x"], ["y"], ["z"], accuracies={"a": 0.2, "b": 0.9, "c": 0.7})
    for name, program in zip("abc", mux.programs, strict=True):
        program.demos = [dspy.Example(question=name, answer=name)]
    part = mux.subset(["c", "a"])
    assert part.accuracies == {"c": 0.7, "a": 0.2}
    assert [program.demos[0].answer for program in part.programs] == ["c", "a"]
    assert part(question="?").answer == "z"
    assert mux.pool.names == ["a", "b", "c"]
    for names in ([], ["a", "a"], ["a", "d"]):
        with pytest.raises(ConfigurationError, match="names each of its members once, out of a"):
            mux.subset(names)


# --- members that fail ---------------------------------------------------------------------------


def test_slow_and_broken_members_do_not_fail_the_mux():
    lms = {
        "works": scripted_lm("works", ["Tripoli"]),
        "hangs": scripted_lm("hangs", ["Rome"], latency=30),
        "garbage": scripted_lm("garbage", lambda *_: "@@ no markers at all"),
        "raises": scripted_lm("raises", [ValueError("no route to model")]),
    }
    pred = SLMMux(dspy.Predict(QA), lms, timeout=2)(question="?")
    assert (pred.answer, pred.verdict.member) == ("Tripoli", "works")
    abstentions = {ballot.member: ballot.abstentions for ballot in pred.verdict.ballots}
    assert abstentions["works"] == {}
    assert abstentions["hangs"] == {"no answer within 2 s": 3}
    assert abstentions["garbage"] == {"unparsable response": 3}
    assert list(abstentions["raises"].values()) == [3]
    assert "no route to model" in next(iter(abstentions["raises"]))


def test_abstentions_stay_in_the_denominator():
    pred = mux_of(["x", ValueError("gone"), ""], ["y", "y", "z"])(question="?")
    assert (pred.answer, pred.verdict.ballots[0].confidence) == ("y", pytest.approx(1 / 3))
    assert pred.verdict.ballots[0].abstentions == {
        "LMUnexpectedError: gone": 1,
        "empty answer": 1,
    } or (sum(pred.verdict.ballots[0].abstentions.values()) == 2)


def test_a_pool_where_all_fail_raises_one_readable_error():
    lms = {"a": scripted_lm("a", [ValueError("no route")]), "b": scripted_lm("b", lambda *_: "@@")}
    with pytest.raises(AllMembersFailed) as failure:
        SLMMux(dspy.Predict(QA), lms)(question="?")
    assert "\n" not in str(failure.value)
    assert "no route" in failure.value.causes["a"][0]
    assert failure.value.causes["b"] == ["unparsable response"]
    assert "no route" in str(failure.value)
    assert "b: unparsable response" in str(failure.value)


def test_an_api_key_in_an_error_is_masked():
    key = "sk-secret-123456"
    lm = dspy.LM(
        "openai/x", api_key=key, api_base="http://127.0.0.1:9/v1", num_retries=0, engine="lm15"
    )
    with pytest.raises(AllMembersFailed) as failure:
        SLMMux(dspy.Predict(QA), [lm], k=1)(question="?")
    assert key not in str(failure.value)


def test_a_prediction_without_the_answer_field_says_so():
    class Other(dspy.Module):
        def forward(self, question):
            return dspy.Prediction(result=question)

    with pytest.raises(AllMembersFailed, match="has no field 'answer' \\(it has result\\)"):
        SLMMux(Other(), {"a": scripted_lm("a", ["x"])})(question="?")
