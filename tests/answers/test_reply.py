"""A reply's final text: thinking, template tokens, next turns, and cut-off replies."""

from __future__ import annotations

import random
from typing import Literal

import pytest
from hypothesis import given, strategies as st

from dspy_mux import MathAnswer, answer_kind
from dspy_mux.adapters.fields import has_fragments, is_null, member_text
from dspy_mux.answers.reply import CutOffText, final_text, stated_in_full
from dspy_mux.answers.sections import answer_section, with_plain_markers

BLOCKS = [
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>", "</thought>"),
    ("<THINK>", "</THINK>"), ("<seed:think>", "</seed:think>"), ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"), ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"), ("<reasoning>", "</reasoning>"),
    ("<unused94>thought\n", "<unused95>"), ("<|channel>thought\n", "<channel|>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysisWe need it. ", "assistantfinal"),
    ("Here is my thought process:\n", "\nHere is my response:\n"),
    ("", "</think>"),  # the prompt had opened it
]  # fmt: skip
KINDS = [
    (int, "24", "72"), (float, "2.5", "7.5"), (bool, "no", "yes"), (str, "Rome", "Paris"),
    (Literal["A", "B"], "A", "B"), (list[int], "[1]", "[2]"), (MathAnswer, "$x+1$", "$x+2$"),
]  # fmt: skip


@pytest.mark.parametrize(("start", "end"), BLOCKS)
@pytest.mark.parametrize(("type_", "thought", "answer"), KINDS)
def test_thinking_is_never_the_answer(type_, thought, answer, start, end):
    kind = answer_kind(type_)
    reply = f"{start}Perhaps the answer is {thought}. Yes, {thought}.{end}\nThe answer is {answer}."
    assert kind.same(kind.extract(reply), kind.extract(f"The answer is {answer}."))


@pytest.mark.parametrize(("start", "end"), [block for block in BLOCKS if block[0]])
@pytest.mark.parametrize(("type_", "thought", "answer"), KINDS)
def test_thinking_without_an_end_abstains(type_, thought, answer, start, end):
    kind = answer_kind(type_)
    assert kind.extract(f"{start}The answer is {thought}. No, wait") is None


@pytest.mark.parametrize(
    ("reply", "final"),
    [
        ("x <think>a</think> y <think>b</think> z", "x\ny\nz"),
        ("<think>a <think> b </think> c </think> d", "d"),
        ("<think></think>\n\n    return x\n    y", "    return x\n    y"),
        ("Paris<|im_end|>\n<|im_start|>user\nMore", "Paris"),
        ("Paris</s>", "Paris"),
        ("<s>old</s> new", "<s>old</s> new"),
        ("<|im_start|>assistant\nParis<|im_end|>", "Paris"),
        ("4\nQ: 3+3?\nA: 6", "4"),
        ("The answer is 4.\n\nHuman: thanks\nAssistant: 6", "The answer is 4."),
        ("#### 4\n\n### Instruction:\nAdd 3 and 3.", "#### 4"),
        ("Answer: 4\n\nProblem 2: What is 3+3?\nAnswer: 6", "Answer: 4"),
        ("Question: 2+2?\nAnswer: 4\n\nQuestion: 3+3?\nAnswer: 6", "Question: 2+2?\nAnswer: 4"),
        ("```\nUser: 3\n```\ndone", "```\nUser: 3\n```\ndone"),
        ("Let me restate the question.\nQuestion: 2+2?\nAnswer: 4", None),
        ("    return x\n    # the end", None),
        ("No user: here", None),
    ],
)
def test_final_text(reply, final):
    assert final_text(reply) == (reply if final is None else final)


@pytest.mark.parametrize("reply", ["", " \n", "<think>a", "<think>a</think>", "<|im_end|>", "</s>"])
def test_no_final_text(reply):
    assert final_text(reply) is None


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("So the answer is 18. Let me check: 9 * 2", "18"),
        ("So the answer is 18", None),
        ("So the answer is 18.", None),  # of 18.5, perhaps
        (r"so \boxed{18}", "18"),
        (r"so \boxed{18", None),
        ("#### 18\nThat", "18"),
        ("#### 18", None),
        ("We add 3 and 4, and then multiply by 5 to", None),
        ("3 + 4 = 7. Then", None),
    ],
)
def test_stated_in_full(text, stated):
    assert stated_in_full(text) == stated


@given(st.text(), st.sampled_from(BLOCKS), st.integers(0))
def test_any_reply_is_read_without_an_error(text, block, seed):
    pieces = [text, *block, "\nQ: ", "<|im_end|>"]
    random.Random(seed).shuffle(pieces)
    reply = CutOffText("".join(pieces))
    final = final_text(reply)
    assert final is None or final.strip()
    if final is not None:
        assert final_text(final) in (final, None) or len(final_text(final)) < len(final)
        stated_in_full(final)


@given(st.integers(1, 10**9))
def test_a_cut_number_is_no_answer(value):
    reply = f"The answer is {value}. It follows."
    kind = answer_kind(int)
    for end in range(len(reply)):
        assert kind.extract(CutOffText(reply[:end])) in (None, value)


MEGABYTE = 10**6
PIECES = [
    "a", " ", "\n", "<", "<think>", "</think>", "<thinking ", "[[", "[[ ## ", "**[[",
    "[[ ## answer ## ]] ", "```\n", "User:\n", "Q: x\n", "Answer: \n", "{", "[", '{"a":',
    '"answer": ', "answer: ", "9", "1,", "<|channel|>analysis ", "analysisA",
    "Here is my response:", "</s>", "<s>", "Action Input:", "null ", "assistantfinal",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.timeout(120)  # quadratic scanners take hours
def test_a_megabyte_of_anything_ends_soon(piece):
    text = (piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]
    for reply in (text, CutOffText(text)):
        final_text(reply)
    stated_in_full(text)
    answer_section(text)
    with_plain_markers(text, ["answer"])
    member_text(text, "answer")
    has_fragments([1], text)
    is_null(f"{text}null", "answer")


@pytest.mark.parametrize("type_", [int, float, str, bool, Literal["24", "72"]])
@pytest.mark.parametrize(
    "reply",
    ['{"reasoning": "The answer is 24."}', '```json\n{"note": "yes, 24", "confidence": 0.9}\n```'],
)
def test_an_object_of_reasoning_is_no_answer(type_, reply):
    assert answer_kind(type_).extract(reply) is None


def test_a_models_own_fields_may_be_named_so():
    assert answer_kind(dict[str, str]).extract('{"note": "well"}') == {"note": "well"}
