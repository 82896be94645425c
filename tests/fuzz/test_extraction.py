"""Any text at all: an answer of the declared type or none, the same one each time, and soon."""

from __future__ import annotations

import json
from decimal import Decimal

import pydantic
import pytest
from hypothesis import given, strategies as st

from dspy_mux.answers.choose import answer_kind
from dspy_mux.answers.equivalence import NO_ANSWER
from dspy_mux.answers.json_text import json_values
from dspy_mux.answers.labels import leading_label
from dspy_mux.answers.marks import boxed, marked_answer
from dspy_mux.answers.math_canonical import canonical
from dspy_mux.answers.math_extract import lone_answer, math_answer
from dspy_mux.answers.numerals import MAX_DIGITS, numeral_of_answer, numerals, parse_number
from dspy_mux.answers.plain_text import fold, unfence, unwrap
from dspy_mux.answers.truth import truth_in_text
from dspy_mux.errors import ConfigurationError

from ..support.limits import within
from .kinds import DECLARED
from .strategies import TEXTS, damaged, nested

KINDS = {name: answer_kind(declared.annotation) for name, declared in DECLARED.items()}
SCANNERS = [
    marked_answer,
    boxed,
    parse_number,
    numerals,
    numeral_of_answer,
    leading_label,
    truth_in_text,
    json_values,
    unfence,
    unwrap,
    fold,
    math_answer,
    lone_answer,
    canonical,
]


@given(TEXTS)
def test_every_kind_finds_an_answer_of_its_type(text):
    for name, kind in KINDS.items():
        with within(10):
            found, again = kind.extract(text), kind.extract(text)
        if found is not None and found is not NO_ANSWER:
            assert DECLARED[name].holds(found), (name, found)
            assert kind.key(found) is not None, (name, found)
        assert kind.key(found) == kind.key(again), name


@given(TEXTS)
def test_every_scanner_reads_any_text(text):
    for scanner in SCANNERS:
        with within(10):
            assert scanner(text) == scanner(text)


@given(damaged(nested().map(json.dumps)))
def test_deeply_nested_json_raises_no_error(text):
    for name in ("list", "dict", "anything", "model"):
        with within(10):
            found = KINDS[name].extract(text)
        assert found is None or KINDS[name].key(found) is not None


def written(value):
    """As a model writes it."""
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump_json()
    if isinstance(value, list):
        return json.dumps(value)
    return str(getattr(value, "value", value))


SENTENCES = [
    "{}",
    "The answer is {}.",
    "I think so.\n\nAnswer: {}\n",
    "**Answer:** {}",
    "Easy.\n#### {}",
    "So it is $\\boxed{{{}}}$.",
]


@pytest.mark.parametrize(
    "name", [name for name, declared in DECLARED.items() if not declared.values.is_empty]
)
@given(st.data())
def test_a_value_in_a_sentence_is_found(name, data):
    value = data.draw(DECLARED[name].values)
    sentence = data.draw(st.sampled_from(SENTENCES))
    kind = KINDS[name]
    assert kind.same(kind.extract(sentence.format(written(value))), value)


# --------------------------------------------------------------------------------------------------
# What was found


def test_the_longest_readable_numeral_can_be_compared():
    longest = "1" * MAX_DIGITS
    for name in ("int", "Decimal", "Fraction"):
        found = KINDS[name].extract(longest)
        assert KINDS[name].key(found) == longest
        assert KINDS[name].extract(longest + "1") is None
    assert KINDS["Decimal"].key(KINDS["Decimal"].extract("100/1E-1999")) is not None


@pytest.mark.parametrize(
    "text",
    ["9" * 5_000 + " 1/2", "1" * 1_000 + "e2000/1e-2000", "1e-2000/" + "1" * 1_000 + "e2000"],
)
def test_a_numeral_too_long_is_no_answer(text):
    for name in ("int", "float", "Decimal", "Fraction", "percent", "mathematics", "anything"):
        KINDS[name].key(KINDS[name].extract(text))
        KINDS[name].key(text)
    assert parse_number(text) is None


@pytest.mark.parametrize(
    "numeral", ["10000000000000000000000000001", "0.12345678901234567890123456789012345", "1e-1999"]
)
def test_a_decimal_keeps_all_its_digits(numeral):
    found = KINDS["Decimal"].extract(f"The answer is {numeral}")
    assert found == Decimal(numeral)
    assert KINDS["Decimal"].same(found, numeral)


def test_a_third_is_a_decimal_of_28_digits():
    assert KINDS["Decimal"].extract("1/3") == Decimal("0." + 28 * "3")


def test_json_too_deep_to_compare_is_passed_over():
    assert KINDS["list"].extract("[" * 102 + "]" * 102 + " [1]") == [1]
    assert KINDS["dict"].extract('{"a": ' * 102 + "0" + "}" * 102) is None


class Nothing:
    """Nothing that JSON can be read into."""


@pytest.mark.parametrize("annotation", [list[Nothing], dict[str, "Unknown"]])  # type: ignore[name-defined]  # noqa: F821
def test_an_unreadable_type_is_refused_before_any_call(annotation):
    with pytest.raises(ConfigurationError, match="No answer can be read into the type"):
        answer_kind(annotation)
