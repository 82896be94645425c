"""The marks of answers in DSPy's signatures, and what its adapters make of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from dspy_mux.answers.choose import answer_kind
from dspy_mux.answers.math_kind import MathAnswer, MathKind
from dspy_mux.answers.number_kind import Percent, PercentKind


class Sums(dspy.Signature):
    """Add."""

    question: str = dspy.InputField()
    answer: MathAnswer = dspy.OutputField()
    share: Percent = dspy.OutputField()


@pytest.mark.parametrize(
    "change",
    [
        lambda signature: signature,
        lambda signature: dspy.ChainOfThought(signature).predict.signature,
        lambda signature: copy.deepcopy(dspy.Predict(signature)).signature,
        lambda signature: signature.with_instructions("Subtract."),
        lambda signature: signature.with_updated_fields("answer", desc="a number"),
    ],
)
def test_the_marks_survive_in_a_signature(change: Callable[[Any], Any]) -> None:
    fields = change(Sums).output_fields
    assert answer_kind(fields["answer"]) == MathKind()
    assert answer_kind(fields["share"]) == PercentKind(float)


def test_the_marks_survive_in_a_string_signature() -> None:
    types = {"MathAnswer": MathAnswer, "Percent": Percent}
    fields = dspy.Signature(
        "question -> answer: MathAnswer, share: Percent", custom_types=types
    ).output_fields
    assert [answer_kind(field) for field in fields.values()] == [MathKind(), PercentKind(float)]


def test_dspys_adapters_ask_for_and_read_them() -> None:
    answer = r"\frac{1}{2}"
    for share, value in (("50%", 0.5), ("0.25", 0.25), ("12.5 %", 0.125)):
        chat = (
            f"[[ ## answer ## ]]\n{answer}\n\n[[ ## share ## ]]\n{share}\n\n[[ ## completed ## ]]"
        )
        assert dspy.ChatAdapter().parse(Sums, chat) == {"answer": answer, "share": value}
        written = json.dumps({"answer": answer, "share": share})
        assert dspy.JSONAdapter().parse(Sums, written) == {"answer": answer, "share": value}
    prompt = dspy.ChatAdapter().format(Sums, [], {"question": "1+1?"})
    assert "`answer` (str)" in prompt[0]["content"]
    assert "`share` (Percent)" in prompt[0]["content"]
