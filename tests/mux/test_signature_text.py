from __future__ import annotations

import enum
import sys
from typing import Literal, Optional

import dspy
import pytest

from dspy_mux import ConfigurationError, MathAnswer
from dspy_mux.mux.signature_text import parse_signature, signature_text


@pytest.mark.parametrize(
    "text",
    [
        "question -> answer",
        "question: str -> answer: float",
        "a: int, b: list[str] -> c: dict[str, int]",
        "q -> a: MathAnswer",
    ],
)
def test_text_and_signature_are_each_others_form(text):
    signature = parse_signature(text)
    again = parse_signature(signature_text(signature))
    assert {n: f.annotation for n, f in again.fields.items()} == {
        n: f.annotation for n, f in signature.fields.items()
    }


def test_choices_and_optionals_are_kept():
    class Asked(dspy.Signature):
        question: str = dspy.InputField()
        hint: Optional[int] = dspy.InputField()  # noqa: UP045
        answer: Literal["a", "b"] = dspy.OutputField()

    text = signature_text(Asked)
    assert text is not None
    assert parse_signature(text).output_fields["answer"].annotation == Literal["a", "b"]
    assert (
        signature_text(dspy.Signature("q -> a").with_updated_fields("a", type_=MathAnswer))
        == "q: str -> a: MathAnswer"
    )


def test_a_type_of_the_users_own_has_no_text():
    class Mine(enum.Enum):
        A = "a"

    assert signature_text(dspy.Signature("q -> a").with_updated_fields("a", type_=Mine)) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "question",
        "a -> b -> c",
        "q -> a: antigravity",
        "q -> a: os.system",
        "q -> a: exec('1')",
        "q -> a) : pass",
        "-> a b",
        "q" * 3000,
    ],
)
def test_anything_else_is_refused_and_nothing_is_imported(text):
    with pytest.raises(ConfigurationError):
        parse_signature(text)
    assert "antigravity" not in sys.modules
