"""Equality of answers is reflexive, symmetric, transitive where keys decide, and never raises."""

from __future__ import annotations

import logging
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, strategies as st

from dspy_mux.answers.choose import answer_kind
from dspy_mux.answers.custom import KeyKind, PairKind
from dspy_mux.answers.kinds import TextKind
from dspy_mux.answers.math_kind import MathKind

from ..support.limits import share, within
from .kinds import DECLARED
from .strategies import ANY_TEXT, JSON, LATEX, REPLIES, TEXTS, damaged, nested

KEYED = {
    name: answer_kind(declared.annotation)
    for name, declared in DECLARED.items()
    if name != "mathematics"
}
KEYED |= {
    "key function": KeyKind(lambda value: round(float(value), 1), TextKind()),
    "key function of pairs": KeyKind(lambda value: (float(value), "A"), TextKind()),
    "key function of lists": KeyKind(lambda value: sorted(str(value)), TextKind()),
}


@pytest.fixture(autouse=True)
def functions_fail_in_silence(caplog):
    """That a user's function raised is logged each time."""
    caplog.set_level(logging.CRITICAL, "dspy_mux.answers.custom")


def writings(number):
    """One number in many writings, and what is none of it."""
    values = [
        kind(number)
        for kind in (int, float, Decimal, Fraction, np.int64, np.float64, np.float32, str)
    ]
    texts = [
        "{}.0",
        "${}",
        " **{}** ",
        "{}e0",
        "\\frac{{{}}}{{1}}",
        "[{}]",
        '{{"x": {}.0}}',
        "yes",
        "(B)",
        "B",
        "Paris",
    ]
    structures = [[number], {number}, (number,), {"x": number}, f"{2 * number}/2", True]
    return st.sampled_from([*values, *(text.format(number) for text in texts), *structures])


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.decimals(), st.fractions(),
    st.binary(max_size=3), st.complex_numbers(), nested(),
    st.sampled_from([
        Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1E+999999"),
        10**5_000, -(10**1_805), math.inf, float,
        object, np.float64("nan"), np.bool_(True), Fraction(1, 10**3_000),
        range(3), frozenset({1}), Ellipsis, NotImplemented,
    ]),
)  # fmt: skip
ANYTHING = st.one_of(
    st.integers(-2, 2).flatmap(writings),
    TEXTS,
    JSON,
    ODD,
    *(d.values for d in DECLARED.values() if not d.values.is_empty),
)


@given(ANYTHING, ANYTHING)
def test_values_with_equal_keys_are_one_answer(a, b):
    for name, kind in KEYED.items():
        with within(10):
            key, other = kind.key(a), kind.key(b)
            assert key == kind.key(a), name
            assert hash(key) == hash(kind.key(a)), name
            assert kind.same(a, a) is (key is not None), name
            assert kind.same(a, b) is kind.same(b, a) is (key is not None and key == other), name


@given(st.lists(st.one_of(st.integers(-2, 2).flatmap(writings), ODD), max_size=6))
def test_the_classes_are_those_of_a_true_equivalence(values):
    for name, kind in KEYED.items():
        classes = kind.classes(values)
        assert [number is None for number in classes] == [
            kind.key(value) is None for value in values
        ], name
        for a, one in zip(values, classes, strict=True):
            for b, other in zip(values, classes, strict=True):
                assert kind.same(a, b) == (one is not None and one == other), name


@given(TEXTS, TEXTS)
def test_a_function_that_fails_raises_no_error(a, b):
    for function in (
        lambda a, b: float(a) <= float(b),
        lambda a, b: a[0] == b[1],
        lambda a, b: None,
        lambda a, b: len(a) - len(b),
    ):
        kind = PairKind(function, TextKind())
        assert kind.same(a, a) is (kind.key(a) is not None)
        assert kind.same(a, b) is kind.same(b, a)


@share(0.5)
@given(
    st.one_of(damaged(LATEX), REPLIES, ANY_TEXT, JSON),
    st.one_of(damaged(LATEX), REPLIES, ANY_TEXT, JSON),
    st.booleans(),
)
def test_mathematics_is_an_equivalence_that_obeys_its_keys(a, b, alike):
    kind = MathKind()
    b = f"x = {a}" if alike else b
    with within(
        60
    ):  # a process may have to start, and a pair that cannot be decided takes its deadline
        key, other = kind.key(a), kind.key(b)
        assert kind.same(a, a) is (key is not None)
        assert kind.same(a, b) is kind.same(b, a) is kind.same(a, b)
        if key is not None and key == other:
            assert kind.same(a, b)
        if None in (key, other):
            assert not kind.same(a, b)


@share(0.5)
@given(st.one_of(TEXTS, ODD, st.integers(-2, 2).flatmap(writings)), st.integers(-9_999, 9_999))
def test_the_key_of_mathematics_never_fails(value, number):
    kind = MathKind()
    with within(10):
        key = kind.key(value)
        assert key is None or isinstance(key, str)
        assert (
            kind.key(number)
            == kind.key(f"${number}$")
            == kind.key(f"\\boxed{{{number}.0}}")
            == str(number)
        )


# --------------------------------------------------------------------------------------------------
# What was found


def test_a_key_that_holds_nan_equals_itself():
    kind = KEYED["key function of pairs"]
    assert kind.same("nan", "nan")
    assert kind.classes(["nan", "1", "nan"]) == [0, 1, 0]
