"""Pools that cannot work are refused, with a sentence that says what to do."""

from __future__ import annotations

import dspy
import pytest

from dspy_mux import ConfigurationError, Member, PlainAdapter, SLMMux

from ..support.scripted import scripted_lm


def lm(name="a", **settings):
    return scripted_lm(name, ["x"], **settings)


@pytest.mark.parametrize(
    ("lms", "arguments", "sentence"),
    [
        ([], {}, "The pool is empty: a mux needs at least one LM."),
        ({}, {}, "The pool is empty"),
        (lm(), {}, "lms must be a list or a dict of LMs"),
        (["openai/gpt-4o-mini"], {}, "A member's lm must be a dspy.LM, not str: write dspy.LM"),
        ([lm("a"), lm("a")], {}, "Two members are named 'scripted/a': name them apart"),
        ([Member(lm("a"), name="x"), Member(lm("b"), name="x")], {}, "Two members are named 'x'"),
        (
            {"x": lm("a"), "y": lm("a")},
            {},
            "Members 'x' and 'y' have the same model string 'scripted/a'",
        ),
        ({"x": Member(lm("a"), name="z")}, {}, "The pool's key 'x' holds a Member named 'z'"),
        ([lm()], {"k": 0}, "k of the mux must be a whole number of draws, 1 or more, not 0"),
        ([lm()], {"k": 2.5}, "k of the mux must be a whole number"),
        ([lm()], {"k": True}, "k of the mux must be a whole number"),
        (
            [lm()],
            {"temperature": 0},
            "would draw 3 times at temperature 0, where every draw is the same",
        ),
        ([lm()], {"temperature": -1}, "The temperature of the mux must be a number, 0 or more"),
        ([lm(seed=7)], {}, "has the fixed seed 7, which makes its 3 draws equal"),
        ([lm(n=3)], {}, "has n=3: leave n out, k is the number of draws"),
        (
            [lm()],
            {"accuracies": {"b": 0.5}},
            "accuracies names 'b', which is not a member of the pool (scripted/a)",
        ),
        (None, {}, "lms must be a list or a dict of LMs"),
        (3, {}, "lms must be a list or a dict of LMs"),
        ({1: lm()}, {}, "A member's name must be a non-empty string, not 1."),
        ([lm()], {"accuracies": [0.5]}, "accuracies must be a dict of name → fraction"),
        ([lm()], {"answer_field": ""}, "The program has no output field ''"),
        ([lm()], {"accuracies": {"scripted/a": 50}}, "must be a fraction between 0 and 1, not 50"),
        ([lm()], {"rule": "best"}, "There is no rule 'best': choose one of consistency"),
        (
            [lm()],
            {"adapter": dspy.ChatAdapter},
            "adapter must be a dspy.Adapter instance, not type",
        ),
        ([lm()], {"extract": "yes"}, "extract must be None or 'lm', not 'yes'"),
        ([lm()], {"timeout": 0}, "timeout must be a number of seconds above 0"),
        ([lm()], {"num_threads": 0}, "num_threads must be 1 or more"),
        (
            [lm()],
            {"answer_field": "result"},
            "no output field 'result'; its output fields are reasoning, answer",
        ),
        ([lm()], {"equivalence": 3}, "quivalence"),
    ],
)
def test_refused_at_construction(lms, arguments, sentence):
    with pytest.raises(ConfigurationError) as refusal:
        SLMMux("question -> answer", lms, **arguments)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_the_error_on_one_model_string_names_sets_members_apart():
    one = dspy.LM("openai/a", api_base="http://localhost:1/v1", api_key="none")
    hot = one.copy(temperature=0.9)  # the mux's own temperature takes its place
    with pytest.raises(ConfigurationError, match=r"with Member\(lm, temperature=…\), as the mux"):
        SLMMux("question -> answer", {"x": one, "y": hot})
    SLMMux("question -> answer", {"x": one, "y": Member(one, temperature=0.9)})
    loose = one.copy(cache=False)
    SLMMux("question -> answer", {"x": loose, "y": loose.copy()})


@pytest.mark.parametrize(
    "arguments",
    [{"name": ""}, {"k": 0}, {"k": "3"}, {"temperature": float("nan")}, {"adapter": "chat"}],
)
def test_impossible_members_are_refused(arguments):
    with pytest.raises(ConfigurationError):
        Member(lm(), **arguments)


def test_predictors_with_their_own_lm_are_refused():
    pinned = dspy.Predict("question -> answer")
    pinned.set_lm(lm("b"))
    with pytest.raises(
        ConfigurationError, match="has its own lm, which would override its member's"
    ):
        SLMMux(pinned, [lm()])
    with pytest.raises(ConfigurationError, match="has its own config"):
        SLMMux(dspy.Predict("question -> answer", temperature=0.9), [lm()])


def test_an_lm_pinned_later_is_refused_on_calls():
    mux = SLMMux(dspy.Predict("question -> answer"), [lm()])
    mux.programs[0].lm = lm("b")
    with pytest.raises(ConfigurationError, match="has its own lm"):
        mux(question="?")


def test_an_output_field_named_verdict_is_refused():
    with pytest.raises(ConfigurationError, match="'verdict', which the mux adds itself"):
        SLMMux("question -> verdict", [lm()])


def test_a_number_is_not_a_program():
    with pytest.raises(ConfigurationError, match="program must be a signature"):
        SLMMux(3, [lm()])


def test_members_take_missing_settings_from_the_mux():
    adapter = PlainAdapter()
    mux = SLMMux(
        "question -> answer",
        [Member(lm("a"), k=5), Member(lm("b"), name="bee", temperature=0.9)],
        adapter=adapter,
    )
    a, bee = mux.members
    assert (a.name, a.k, a.temperature, a.adapter) == ("scripted/a", 5, 0.3, adapter)
    assert (bee.name, bee.k, bee.temperature) == ("bee", 3, 0.9)


def test_names_come_from_the_dict():
    mux = SLMMux("question -> answer", {"small": lm("a"), "smaller": lm("b")})
    assert [member.name for member in mux.members] == ["small", "smaller"]


def test_one_model_is_two_members_under_different_settings():
    def pool(**settings):
        return {
            "cool": Member(lm("a", **settings), temperature=0.2),
            "warm": Member(lm("a", **settings), temperature=0.9),
        }

    assert len(SLMMux("question -> answer", pool()).members) == 2
    uncached = {"x": lm("a", cache=False), "y": lm("a", cache=False)}
    assert len(SLMMux("question -> answer", uncached).members) == 2


def test_one_greedy_draw_is_fine():
    mux = SLMMux("question -> answer", [lm(seed=1)], k=1, temperature=0)
    assert mux.members[0].temperature == 0
