"""Equivalence inside a question is one: classes do not depend on the order of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from random import Random
from typing import Any

import dspy
import pytest
from hypothesis import given, settings, strategies as st

from dspy_mux import MathAnswer, SLMMux, answer_kind
from dspy_mux.answers import math_equal

from ..support.scripted import scripted_lm

KIND = answer_kind(MathAnswer)


def partition(values: Sequence[Any], classes: Sequence[int | None]) -> set[frozenset[Any]]:
    """Return the classes as sets of values."""
    return {
        frozenset(value for value, found in zip(values, classes, strict=True) if found == number)
        for number in set(classes)
    }


# --------------------------------------------------------------------------------------------------
# Connected components, whatever the comparison


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=8, unique=True),
    st.sets(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=12),
    st.randoms(use_true_random=False),
)
def test_classes_are_connected_components(
    values: list[int], edges: set[tuple[int, int]], random: Any
) -> None:
    kind = answer_kind(int, lambda a, b: (a, b) in edges)
    expected = partition(values, kind.classes(values))
    for number in range(20):
        shuffled = random.sample(values, len(values))
        classes = kind.classes(shuffled)
        assert partition(shuffled, classes) == expected, number
        assert list(dict.fromkeys(classes)) == list(range(len(expected)))  # as first seen
    for a, b in edges:
        assert a not in values or b not in values or {a, b} <= next(s for s in expected if a in s)


def test_what_is_connected_is_not_compared() -> None:
    asked: list[tuple[float, float]] = []

    def near(a: float, b: float) -> bool:
        asked.append((a, b))
        return abs(a - b) < 1.5

    kind = answer_kind(float, near)
    assert kind.classes([1.0, 3.0, 2.0, 2.5]) == [0, 0, 0, 0]
    assert (2.0, 2.5) not in asked
    assert (2.5, 2.0) not in asked


# --------------------------------------------------------------------------------------------------
# Mathematics

ANSWERS = [
    ["2/3", "0.666666", "0.666667", "0.66666667", r"\frac{4}{6}"],
    ["(1,2)", "1,2", "2,1", "(2,1)", r"\{1,2\}", "[1,2]"],
    ["7:45 am", "7:45 pm", "7:45", "07:45 p.m.", "7/45"],
    ["1:20", "2:40", "1/20", "3:4", "6:8", "3/4"],
    [r"6.6\times10^{-34}", r"9.1\times10^{-31}", "0", r"6.60\cdot 10^{-34}"],
    ["x=3", "3", "y=3", r"\boxed{3}", "3.0"],
    [r"\sqrt{2}", "1.414214", "1.41421356", "1.414213", r"\frac{2}{\sqrt{2}}"],
    ["n(n+1)", "n^2+n", "n^2", "n+n^2"],
    ["x+y=8", "8", "x-y=8", "m+n=8"],
    ["52_8", "52", "52_9", "52_{8}"],
    [r"1\pm\sqrt{3}", r"1+\sqrt{3}, 1-\sqrt{3}", r"1-\sqrt{3}, 1+\sqrt{3}", r"1+\sqrt{3}"],
    [r"\cos 60^\circ", "0.5", r"\frac12", r"\sin 30^\circ", "60"],
]


@pytest.mark.parametrize("answers", ANSWERS, ids=lambda answers: answers[0])
def test_classes_do_not_depend_on_the_order(answers: list[str]) -> None:
    expected = partition(answers, KIND.classes(answers))
    for shuffled in list(permutations(answers))[::7]:
        assert partition(shuffled, KIND.classes(shuffled)) == expected
    for a in answers:
        for b in answers:
            together = any({a, b} <= found for found in expected)
            assert KIND.same(a, b) == together, (a, b)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(sorted({a for row in ANSWERS for a in row})), max_size=7))
def test_the_same_is_transitive(answers: list[str]) -> None:
    classes = KIND.classes(answers)
    for a, first in zip(answers, classes, strict=True):
        for b, second in zip(answers, classes, strict=True):
            assert KIND.same(a, b) == (first == second), (a, b)


NUMERALS = st.one_of(
    st.fractions(max_denominator=2_000).map(str),
    st.fractions(max_denominator=2_000).map(lambda value: f"{float(value):.6f}"),
    st.fractions(max_denominator=2_000).map(lambda value: f"{float(value):.9f}"),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda value: f"{value:.5e}"),
    st.sampled_from(["1/3", "0.333333", "0.333334", "0.33333333", "0.333333499", "0.3333335"]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(NUMERALS, max_size=6))
def test_numbers_are_compared_by_their_key_alone(answers: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(math_equal._worker, "same", lambda *pair: pytest.fail(f"{pair} was asked"))
        for a in answers:
            for b in answers:
                assert KIND.same(a, b) == (KIND.key(a) == KIND.key(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"6.6\times10^{-34}", r"9.1\times10^{-31}"), ("10^{-7}", r"2\cdot10^{-7}"),
        ("0.0000001", "0.0000002"), (r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"),
        (r"\frac{1}{2004!}", r"\frac{1}{2006!}"), (r"10^{-20}\pi", r"10^{-21}\pi"),
        (r"\frac12+\frac{1}{2^{40}}", r"\frac12"), (r"10^{20}", r"10^{20}+1"),
        (r"e^{-50}", "0"), (r"10^{-30}x", r"2\cdot10^{-30}x"), ("1-10^{-9}", "1"),
        (r"\frac{2^{2005}+1}{3\cdot2^{2006}}", r"\frac16"), ("9.99999999", "10"),
    ],
)  # fmt: skip
def test_small_differences_are_differences(a: str, b: str) -> None:
    assert not KIND.same(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (r"6.6\times10^{-34}", "6.6e-34"), ("0.30000000000000004", "0.3"), ("0.1+0.2", "0.3"),
        (r"\pi", "3.14159265"), (r"\frac{\sqrt2}{2}", "0.707107"), ("10^{100}", "1e100"),
        (r"e^{-50}", r"\frac{1}{e^{50}}"), (r"e^{i\pi}+1", "0"),
    ],
)  # fmt: skip
def test_the_same_value_in_another_writing(a: str, b: str) -> None:
    assert KIND.same(a, b)


# --------------------------------------------------------------------------------------------------
# Frugal drawing, which compares the answers that have come so far


@pytest.mark.parametrize("answers", ANSWERS, ids=lambda answers: answers[0])
def test_classes_so_far_are_those_of_all_answers(answers: list[str]) -> None:
    for shuffled in list(permutations(answers))[::11]:
        whole = KIND.classes(shuffled)
        for count in range(len(shuffled)):
            assert KIND.classes(shuffled[:count]) == whole[:count]


@pytest.mark.parametrize("seed", range(12))
def test_frugal_answers_as_full_does(seed: int) -> None:
    drawn = Random(seed)
    rows = [[drawn.choice(drawn.choice(ANSWERS[:6])) for _ in range(4)] for _ in range(3)]
    found = []
    for schedule in ("full", "frugal"):
        lms = {name: list(row) for name, row in zip("abc", rows, strict=True)}
        pool = [
            scripted_lm(name, lambda _, draw, row=row: {"answer": row[draw]})
            for name, row in lms.items()
        ]
        program = dspy.Predict(Solve)
        mux = SLMMux(program, pool, k=4, schedule=schedule, temperature=0.7)
        found.append(mux(question=f"Question {seed}?"))
    full, frugal = found
    assert KIND.same(full.answer, frugal.answer)
    assert full.verdict.member == frugal.verdict.member


class Solve(dspy.Signature):
    """Answer the question."""

    question: str = dspy.InputField()
    answer: MathAnswer = dspy.OutputField()
