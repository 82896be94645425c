"""Mixture-of-Agents against pools whose right outcome was worked out by hand."""

from __future__ import annotations

import asyncio

import dspy
import pytest

from dspy_mux import AllMembersFailed, ConfigurationError, PlainAdapter, PoolMismatch
from dspy_mux.baselines import LLMDebate, MixtureOfAgents

from ..support.discussion_pools import QA, after, drawing, prompts, speaker
from ..support.scripted import TwoSteps, asked, scripted_lm


def pool():
    return {
        "ann": speaker("ann", "Rome", "Tunis"),
        "bob": speaker("bob", "Oslo", "Paris"),
        "cid": speaker("cid", "Bern", "Lima"),
    }


def test_each_layer_sees_the_previous_answers_without_names():
    lms = pool()
    verdict = MixtureOfAgents(dspy.Predict(QA), lms, layers=3, aggregator="cid")(
        question="Where?"
    ).verdict
    # Layer 1 alone, layer 2 sees layer 1, the aggregator sees layer 2: 3 + 3 + 1 calls.
    assert (verdict.answer, verdict.member, verdict.rule, verdict.calls) == (
        "Lima",
        "cid",
        "mixture_of_agents",
        7,
    )
    assert [(turn.round, turn.agent, turn.member, turn.answer) for turn in verdict.turns] == [
        (1, 1, "ann", "Rome"),
        (1, 2, "bob", "Oslo"),
        (1, 3, "cid", "Bern"),
        (2, 1, "ann", "Tunis"),
        (2, 2, "bob", "Paris"),
        (2, 3, "cid", "Lima"),
        (3, 1, "cid", "Lima"),
    ]
    assert [turn.group for turn in verdict.turns] == [0, 1, 2, 3, 4, 5, 5]
    first, second, third = prompts(lms["cid"])
    assert "previous_answers" not in first
    assert after(second, "previous_answers") == "1. Rome\n2. Oslo\n3. Bern"
    assert after(third, "previous_answers") == "1. Tunis\n2. Paris\n3. Lima"
    for name in lms:
        assert not any(member in prompt for member in lms for prompt in prompts(lms[name])), (
            "nobody is named"
        )
    assert after(third, "question") == "Where?"


def test_the_light_form_has_two_layers():
    lms = pool()
    verdict = MixtureOfAgents(dspy.Predict(QA), lms, layers=2, accuracies={"bob": 0.7, "ann": 0.6})(
        question="Where?"
    ).verdict
    # The most accurate member aggregates where none is named.
    assert (verdict.answer, verdict.member, verdict.calls) == ("Paris", "bob", 4)
    assert [ballot.model_dump()["votes"] for ballot in verdict.ballots] == [[3]]


def test_a_failed_proposer_is_dropped():
    lms = {**pool(), "bob": scripted_lm("bob", [ValueError("no route")])}
    verdict = MixtureOfAgents(dspy.Predict(QA), lms, layers=2, aggregator="ann")(
        question="Where?"
    ).verdict
    assert after(prompts(lms["ann"])[-1], "previous_answers") == "1. Rome\n2. Bern"
    assert verdict.answer == "Tunis"
    failed = verdict.turns[1]
    assert (failed.text, failed.answer, failed.group) == ("", None, None)
    assert "no route" in failed.cause


def test_others_see_an_unreadable_answer():
    lms = {**pool(), "bob": scripted_lm("bob", lambda *_: "I would rather not say.")}
    verdict = MixtureOfAgents(dspy.Predict(QA), lms, layers=2, aggregator="ann")(
        question="Where?"
    ).verdict
    assert (
        after(prompts(lms["ann"])[-1], "previous_answers")
        == "1. Rome\n2. I would rather not say.\n3. Bern"
    )
    assert verdict.turns[1].cause == "unparsable response"


def test_an_aggregator_that_fails_is_the_methods_failure():
    lms = {**pool(), "ann": scripted_lm("ann", [ValueError("no route")])}
    with pytest.raises(AllMembersFailed, match="ann: .*no route"):
        MixtureOfAgents(dspy.Predict(QA), lms, aggregator="ann")(question="Where?")


def test_without_any_proposal_the_aggregator_answers_alone():
    lms = {
        "ann": scripted_lm("ann", [ValueError("no route")]),
        "bob": speaker("bob", drawing(ValueError("gone"), "Oslo")),
    }
    verdict = MixtureOfAgents(dspy.Predict(QA), lms, layers=2, aggregator="bob")(
        question="Where?"
    ).verdict
    assert verdict.answer == "Oslo"
    assert "previous_answers" not in prompts(lms["bob"])[-1]


def test_one_member_can_take_every_seat():
    lm = speaker("ann", drawing("Rome", "Oslo", "Rome"), "Bern")
    verdict = MixtureOfAgents(dspy.Predict(QA), [lm], layers=2, agents=3)(question="Where?").verdict
    assert [turn.answer for turn in verdict.turns] == ["Rome", "Oslo", "Rome", "Bern"]
    assert verdict.calls == 4
    assert after(prompts(lm)[-1], "previous_answers") == "1. Rome\n2. Oslo\n3. Rome"


def test_call_and_acall_agree():
    verdicts = [
        MixtureOfAgents(dspy.Predict(QA), pool())(question="Where?").verdict,
        asyncio.run(MixtureOfAgents(dspy.Predict(QA), pool()).acall(question="Where?")).verdict,
    ]
    assert verdicts[0] == verdicts[1]


def test_the_reasoning_is_shown_with_the_answer():
    lms = {
        "ann": scripted_lm(
            "ann", lambda *_: {"reasoning": "All roads lead there.", "answer": "Rome"}
        ),
        "bob": speaker("bob", "x"),
    }
    lms["bob"] = scripted_lm("bob", lambda *_: {"reasoning": "So.", "answer": "Oslo"})
    MixtureOfAgents("question -> answer", lms, layers=2, aggregator="bob")(question="Where?")
    shown = [request.messages[-1].text for request in lms["bob"].engine.requests][-1]
    assert (
        "1. Reasoning: All roads lead there.\nAnswer: Rome\n2. Reasoning: So.\nAnswer: Oslo"
        in shown
    )


def test_only_the_step_that_answers_is_briefed():
    def reply(prompt, draw):
        if "[[ ## idea ## ]]" in prompt and "[[ ## question ## ]]" not in prompt:
            return {
                "answer": f"from {asked(prompt, 'idea')}, shown {after(prompt, 'previous_answers')}"
            }
        assert "previous_answers" not in prompt
        return {"idea": "a guess"}

    verdict = MixtureOfAgents(TwoSteps(), [scripted_lm("ann", reply)], layers=2)(
        question="Where?"
    ).verdict
    assert verdict.answer.startswith("from a guess, shown 1. from a guess")
    assert verdict.calls == 4


def test_a_plain_member_takes_part():
    ann = scripted_lm("ann", lambda *_: "Rome", shown=lambda request: request.messages[-1].text)
    bob = speaker("bob", "Oslo", "Bern")
    mixture = MixtureOfAgents(
        dspy.Predict(QA),
        {"ann": ann, "bob": bob},
        layers=2,
        aggregator="ann",
        adapter=PlainAdapter(),
    )
    assert mixture(question="Where?").verdict.answer == "Rome"
    assert ann.engine.requests[-1].messages[-1].text.startswith("Previous answers: 1. Rome\n2. ")
    assert ann.engine.requests[-1].messages[-1].text.endswith("Question: Where?")


def test_demos_stay_and_show_the_task():
    lms = pool()
    program = dspy.Predict(QA)
    program.demos = [dspy.Example(question="Capital of Kenya?", answer="Nairobi")]
    MixtureOfAgents(program, lms, layers=2)(question="Where?")
    assert all(
        "Capital of Kenya?" in prompt and "Nairobi" in prompt for prompt in prompts(lms["ann"])
    )


def test_it_saves_and_loads(tmp_path):
    MixtureOfAgents(
        dspy.Predict(QA), pool(), layers=2, aggregator="bob", accuracies={"ann": 0.5}
    ).save(tmp_path / "moa.json")
    again = MixtureOfAgents(dspy.Predict(QA), pool())
    again.load(tmp_path / "moa.json")
    assert (again.choices.layers, again.choices.aggregator, again.accuracies) == (
        2,
        "bob",
        {"ann": 0.5},
    )
    assert again(question="Where?").verdict.calls == 4
    with pytest.raises(
        PoolMismatch, match="of the method 'mixture_of_agents', this is 'llm_debate'"
    ):
        LLMDebate(dspy.Predict(QA), pool()).load(tmp_path / "moa.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": 0}, "MixtureOfAgents is wrong at layers"),
        ({"aggregator": "zoe"}, "'zoe' is not a member of the pool \\(ann, bob, cid\\)"),
        ({"agents": 6, "temperature": 0}, "would draw 2 times at temperature 0"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        MixtureOfAgents(dspy.Predict(QA), pool(), **arguments)


def test_a_program_with_our_field_is_refused():
    with pytest.raises(
        ConfigurationError,
        match="has a field 'previous_answers', which MixtureOfAgents adds itself",
    ):
        MixtureOfAgents(dspy.Predict("question, previous_answers -> answer"), pool())
