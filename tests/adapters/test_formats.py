"""What adapters show to members that cannot follow a format, and how they read the replies."""

from __future__ import annotations

import enum
from typing import Literal

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from dspy_mux import (
    AllMembersFailed,
    CompletionAdapter,
    ConfigurationError,
    JSONSchemaAdapter,
    MathAnswer,
    Member,
    PlainAdapter,
    SLMMux,
)

from ..support.scripted import TwoSteps, calls, prompt_of, scripted_lm

DEMOS = [{"question": "2 + 2?", "answer": "4"}, {"question": "3 + 3?", "answer": "6"}]


def turns(adapter, signature, demos=(), **inputs):
    messages = adapter.format(
        dspy.Signature(signature) if isinstance(signature, str) else signature, list(demos), inputs
    )
    return [(message["role"], message["content"]) for message in messages]


# --- PlainAdapter --------------------------------------------------------------------------------


def test_demos_are_turns_before_the_bare_question():
    assert turns(PlainAdapter(), "question -> answer", DEMOS, question="1 + 1?") == [
        ("user", "2 + 2?"),
        ("assistant", "4"),
        ("user", "3 + 3?"),
        ("assistant", "6"),
        ("user", "1 + 1?"),
    ]


def test_own_instructions_are_the_system_turn():
    signature = dspy.Signature("question -> answer", "Answer in one word.")
    assert turns(PlainAdapter(), signature, question="?")[0] == ("system", "Answer in one word.")


def test_several_inputs_are_labelled_lines():
    assert turns(
        PlainAdapter(),
        "given_text, question -> answer",
        given_text="It is red.",
        question="Colour?",
    ) == [("user", "Given text: It is red.\nQuestion: Colour?")]


def test_reasoning_programs_must_end_with_the_answer():
    signature = dspy.ChainOfThought("question -> answer").predict.signature
    system, user = turns(PlainAdapter(), signature, question="?")
    assert system == (
        "system",
        "Think step by step, then end with a line that starts with `Answer:`.",
    )
    demo = {"question": "2 + 2?", "reasoning": "Two twos.", "answer": "4"}
    assert ("assistant", "Reasoning: Two twos.\nAnswer: 4") in turns(
        PlainAdapter(), signature, [demo], question="?"
    )
    assert ("assistant", "Answer: 4") in turns(PlainAdapter(), signature, [DEMOS[0]], question="?")


def test_choices_are_named():
    class Colour(enum.Enum):
        RED = "red"
        GREEN = "green"

    for annotation in (Literal["red", "green"], Colour):
        signature = dspy.Signature("question -> answer").with_updated_fields(
            "answer", type_=annotation
        )
        assert turns(PlainAdapter(), signature, question="?")[0] == (
            "system",
            "The answer is one of: red, green.",
        )


def test_conversation_history_is_turns():
    class Chat(dspy.Signature):
        history: dspy.History = dspy.InputField()
        question: str = dspy.InputField()
        answer: str = dspy.OutputField()

    history = dspy.History(messages=[{"question": "Hello?", "answer": "Hi."}])
    said = turns(PlainAdapter(), Chat, history=history, question="And?")
    assert said[-3:] == [("user", "Hello?"), ("assistant", "Hi."), ("user", "And?")]


@pytest.mark.parametrize(
    ("signature", "response", "answer"),
    [
        ("question -> answer", "Tripoli", "Tripoli"),
        ("question -> answer", "The answer is **Tripoli**.", "Tripoli"),
        ("question -> answer: float", "So she pays $18.00 in all.", 18.0),
        ("question -> answer: int", "First 3, then 1,234.", 1234),
        ("question -> answer: bool", "Yes, it is.", True),
        ("question -> answer: list[int]", "Here: [1, 2]", [1, 2]),
    ],
)
def test_the_answer_is_found_in_the_text(signature, response, answer):
    assert PlainAdapter().parse(dspy.Signature(signature), response)["answer"] == answer


def test_a_letter_within_a_word_does_not_count():
    signature = dspy.Signature("question -> answer").with_updated_fields(
        "answer", type_=Literal["A", "B", "C", "D"]
    )
    assert PlainAdapter().parse(signature, "I pick (B).")["answer"] == "B"
    with pytest.raises(AdapterParseError):
        PlainAdapter().parse(signature, "The correct answer can be found by counting.")


def test_reasoning_and_answer_are_separated():
    signature = dspy.ChainOfThought("question -> answer").predict.signature
    parse = PlainAdapter().parse
    assert parse(signature, "Reasoning: It is north.\nAnswer: Tripoli") == {
        "reasoning": "It is north.",
        "answer": "Tripoli",
    }
    assert parse(signature, "It is in Libya.\n\nTripoli")["answer"] == "Tripoli"
    assert parse(signature, "Libya. So the answer is Tripoli.")["answer"] == "Tripoli"


def test_mathematics_is_found_in_latex():
    signature = dspy.Signature("question -> answer").with_updated_fields("answer", type_=MathAnswer)
    assert (
        PlainAdapter().parse(signature, r"Hence $\boxed{\frac{1}{2}}$.")["answer"] == r"\frac{1}{2}"
    )


def test_a_response_without_answer_is_a_parse_error():
    with pytest.raises(AdapterParseError, match="Found no number answer"):
        PlainAdapter().parse(dspy.Signature("question -> answer: int"), "I do not know.")


# --- CompletionAdapter ---------------------------------------------------------------------------


def test_a_base_model_sees_one_text_to_continue():
    assert turns(CompletionAdapter(), "question -> answer", DEMOS, question="1 + 1?") == [
        ("user", "Q: 2 + 2?\nA: 4\nQ: 3 + 3?\nA: 6\nQ: 1 + 1?\nA:")
    ]


def test_a_base_model_stops_after_its_answer():
    lm = scripted_lm("base", lambda *_: " 2\nQ: 5 + 5?\nA: 10")
    with dspy.context(lm=lm, adapter=CompletionAdapter()):
        assert dspy.Predict("question -> answer: int")(question="1 + 1?").answer == 2
        dspy.ChainOfThought("question -> answer: int")(question="1 + 1?")
    assert [request.config.stop for request in lm.engine.requests] == [("\n",), ("\nQ:",)]


def test_demos_with_reasoning_are_shown_with_it():
    signature = dspy.ChainOfThought("question -> answer").predict.signature
    demo = {"question": "2 + 2?", "reasoning": "Two twos.", "answer": "4"}
    assert turns(CompletionAdapter(), signature, [demo], question="?") == [
        ("user", "Q: 2 + 2?\nA: Two twos. The answer is 4.\nQ: ?\nA:")
    ]


# --- JSONSchemaAdapter ---------------------------------------------------------------------------


def test_the_schema_goes_with_every_request():
    lm = scripted_lm("schema", lambda *_: '{"reasoning": "r", "answer": 4}')
    pred = SLMMux("question -> answer: int", [Member(lm, adapter=JSONSchemaAdapter())], k=2)(
        question="2 + 2?"
    )
    assert pred.answer == 4
    sent = lm.engine.requests[0].config.response_format
    schema = sent["json_schema"]["schema"] if "json_schema" in sent else sent["schema"]
    assert schema["properties"]["answer"]["type"] == "integer"
    assert schema["additionalProperties"] is False


def test_an_output_without_a_schema_is_a_mistake():
    class Thing:
        pass

    class NoSchema(dspy.Signature):
        question: str = dspy.InputField()
        answer: Thing = dspy.OutputField()

    NoSchema.model_config["arbitrary_types_allowed"] = True
    lm = scripted_lm("schema", lambda *_: "{}")
    with pytest.raises(ConfigurationError, match="no JSON schema"):
        SLMMux(dspy.Predict(NoSchema), [Member(lm, adapter=JSONSchemaAdapter())])(question="?")


# --- a second chance for an unparsable response --------------------------------------------------


def test_a_number_without_markers_is_found():
    lm = scripted_lm("a", lambda *_: "She pays $18.00.")
    pred = SLMMux("question -> answer: float", [lm], k=1)(question="?")
    assert (pred.answer, pred.reasoning, pred.verdict.calls) == (18.0, None, 1)


def test_an_unparsable_value_is_read_under_its_marker():
    lm = scripted_lm("a", lambda *_: {"reasoning": "99 of them", "answer": "$1,800"})
    assert SLMMux("question -> answer: int", [lm], k=1)(question="?").answer == 1800


def test_a_text_answer_must_be_marked_as_one():
    marked = scripted_lm("marked", lambda *_: "Let me see. The answer is Tripoli.")
    rambling = scripted_lm("rambling", lambda *_: "Let me see.")
    verdict = SLMMux("question -> answer", [marked, rambling], k=1)(question="?").verdict
    assert verdict.answer == "Tripoli"
    assert verdict.ballots[1].abstentions == {"unparsable response": 1}


def test_extract_lm_asks_the_member_again_at_zero():
    def reply(prompt, draw):
        return (
            "Paris"
            if prompt.startswith("It would be")
            else "It would be the city on the Seine, Paris I think"
        )

    lm = scripted_lm("a", reply)
    pred = SLMMux("question -> answer", [lm], k=1, extract="lm")(question="Capital of France?")
    assert (pred.answer, pred.verdict.calls, calls(lm)) == ("Paris", 2, 2)
    second = lm.engine.requests[1]
    assert (second.config.temperature, second.config.seed) == (0.0, None)
    assert prompt_of(second) == "It would be the city on the Seine, Paris I think"
    assert len(lm.history) == 2


async def test_extract_lm_works_in_acall():
    lm = scripted_lm(
        "a", lambda prompt, _: "42" if prompt.startswith("What") else "What Deep Thought said"
    )
    pred = await SLMMux("question -> answer: int", [lm], k=1, extract="lm").acall(question="?")
    assert (pred.answer, pred.verdict.calls) == (42, 2)


def test_extract_lm_that_finds_nothing_is_an_abstention():
    silent = scripted_lm("silent", lambda *_: "no idea at all")
    sound = scripted_lm("sound", ["5"])
    verdict = SLMMux("question -> answer: int", [silent, sound], k=1, extract="lm")(
        question="?"
    ).verdict
    assert (verdict.answer, verdict.ballots[0].abstentions, verdict.calls) == (
        5,
        {"unparsable response": 1},
        3,
    )


@pytest.mark.parametrize("nothing", ["", "I cannot tell."])
def test_a_reader_that_finds_nothing_changes_nothing(nothing):
    def reply(prompt, draw):
        return nothing if prompt.startswith("It would") else "It would be a city."

    lm = scripted_lm("a", reply)
    with pytest.raises(AllMembersFailed) as failure:
        SLMMux("question -> answer: int", [lm], k=1, extract="lm")(question="?")
    assert (failure.value.causes["scripted/a"], calls(lm)) == (["unparsable response"], 2)


async def test_such_a_reader_changes_nothing_in_acall():
    lm = scripted_lm(
        "a", lambda prompt, _: "" if prompt.startswith("It would") else "It would be a city."
    )
    with pytest.raises(AllMembersFailed) as failure:
        await SLMMux("question -> answer: int", [lm], k=1, extract="lm").acall(question="?")
    assert failure.value.causes["scripted/a"] == ["unparsable response"]


def test_a_step_without_the_answer_stays_an_error():
    lm = scripted_lm("a", lambda *_: "The answer is 5.")
    sound = scripted_lm("sound", lambda p, _: {"answer": "6", "idea": "i"})
    verdict = SLMMux(TwoSteps(), [lm, sound], k=1)(question="?").verdict
    assert (verdict.answer, verdict.ballots[0].abstentions) == ("6", {"unparsable response": 1})


def test_the_default_adapter_makes_no_second_call():
    lm = scripted_lm("a", lambda *_: "@@")
    sound = scripted_lm("sound", ["5"])
    SLMMux("question -> answer", [lm, sound], k=2)(question="?")
    assert calls(lm) == 2


# --- what small models add after their answer ----------------------------------------------------


@pytest.mark.parametrize(
    "trailer", ["\n\nExplanation: 6 times 7.", "\n(I checked it 3 times.)", ""]
)
def test_text_after_a_labelled_answer_is_ignored(trailer):
    number = dspy.ChainOfThought("question -> answer: int").predict.signature
    assert PlainAdapter().parse(number, f"Reasoning: Easy.\nAnswer: 42{trailer}")["answer"] == 42
    text = dspy.ChainOfThought("question -> answer").predict.signature
    assert (
        PlainAdapter().parse(text, f"Reasoning: Easy.\nAnswer: Paris{trailer}")["answer"] == "Paris"
    )


def test_a_labelled_answer_leaves_its_fence():
    signature = dspy.Signature("question -> reasoning, answer")
    assert (
        PlainAdapter().parse(signature, "So it is.\nAnswer:\n```\nParis\n```")["answer"] == "Paris"
    )
