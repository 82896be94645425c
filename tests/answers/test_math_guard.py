"""The guarded comparison says what math-verify says unguarded, but for what is named here.

A guard that refuses what SymPy needs changes answers in silence, because math-verify takes any
error for "different". With `DSPY_MUX_ALL_PAIRS=1` all pairs of MATH-500 are compared.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator

import pytest

from dspy_mux import MathAnswer, answer_kind
from dspy_mux.answers import math_equal

from .math_pairs import OWN, RELEASE, generated, golds, published, unguarded

KIND = answer_kind(MathAnswer)
HOW_MANY = 2_600 if os.environ.get("DSPY_MUX_ALL_PAIRS") else 300

#: What math-verify is wrong about, as the texts show it; there we must be right.
WRONG_UNGUARDED = {
    "i is a letter to it, and another one in 4i than in 4 i": r"(?<![A-Za-z\\])i(?![A-Za-z])",
    "it takes differences below 10^{-6} for none": r"10\^\{-\d\d\}|e-\d",
    "it works out 4.06 \\times 10^2 in binary": r"\d\.\d+ ?\\(?:times|cdot) ?10",
}
#: Where a step of SymPy's changes what the text means.
OTHER_MEANING = {
    "math-verify drops the base of a numeral": r"^\d+_\{?\d",
    "to math-verify R is r, and the option (B) is b": r"^3R\^2$|^\\text\{\([A-E]\)\}$",
    "SymPy negates a word, and a dash before a word is the bullet of a list": r"^- [a-z]{3,}$",
}
#: The pairs of math-verify's own tests, by their place, that we judge otherwise, and why.
PUBLISHED_OTHERWISE = {
    "1,22 may be two numbers": (5, 6, 7, 15),
    "the unit touches the number in a sentence without a formula": (13, 14),
    "what stands alone between two $ on lines of their own": (28,),
    "an equation is no value, as math-verify's test says too where the equation is right": (
        95, 103, 104, 105, 106,
    ),
    "a text that does not end on its answer": (135, 136, 150, 157, 166),
    "a tuple is no set": (155, 156),
    "boxes that are not listed": (183, 229),
    "a list that repeats an element is another list": (187,),
    "the pairs p = 5, q = 2 and p = 7, q = 2": (196,),
    "a function of n and one of x": (209,),
    "1 - 1/e is not 1 + 1/e": (252,),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing was refused, and no step of ours failed, in any comparison of this file."""
    before = len(math_equal._worker.faults)
    with caplog.at_level(logging.CRITICAL, "math_verify"):
        yield
    assert math_equal._worker.faults[before:] == []


def differing(pairs: list[tuple[str, str, bool]]) -> list[tuple[str, str, bool]]:
    """Return the pairs that are judged otherwise than by math-verify, and not for a reason."""
    found = []
    for a, b, right in pairs:
        ours = KIND.same(a, b)
        if ours == unguarded(f"${a}$", f"${b}$") or _shows(OTHER_MEANING, a, b):
            continue
        if ours != right or not _shows(WRONG_UNGUARDED, a, b):
            found.append((a, b, ours))
    return found


def _shows(reasons: dict[str, str], a: str, b: str) -> bool:
    return any(re.search(sign, text) for sign in reasons.values() for text in (a, b))


@pytest.mark.timeout(300)
def test_we_agree_on_the_tests_of_math_verify() -> None:
    otherwise = {place for places in PUBLISHED_OTHERWISE.values() for place in places}
    found = {
        place
        for place, pair in enumerate(published())
        if KIND.same(pair["a"], pair["b"]) != unguarded(pair["a"], pair["b"])
    }
    assert len(published()) > 250
    assert found == otherwise


@pytest.mark.timeout(300)
def test_we_agree_on_expressions_of_our_own() -> None:
    pairs = generated(OWN, 250)
    assert len(pairs) == 250
    assert differing(pairs) == []


@pytest.mark.timeout(600)
def test_we_agree_on_rewritten_golds() -> None:
    if not RELEASE.is_file():
        pytest.skip("the release is not beside the checkout")
    pairs = generated(golds(), HOW_MANY)
    assert len(pairs) == HOW_MANY
    assert differing(pairs) == []


def test_math_verify_is_wrong_where_we_say_so() -> None:
    for a, b in [
        ("3-4i", "3 - 4 i"), ("52_8", "52_9"), ("3R^2", "3r^2"), ("406", r"4.06 \times 10^{2}"),
        (r"1.6\cdot 10^{-19}", r"3.2\cdot 10^{-19}"),
    ]:  # fmt: skip
        assert KIND.same(a, b) != unguarded(f"${a}$", f"${b}$")


@pytest.mark.parametrize(
    "form", [r"\text{east}", "n(n+1)", r"\sin 2x", "x^2-1", "2x+4y-3=0", "1500", r"\frac12"]
)
def test_an_expression_is_itself(form: str) -> None:
    assert KIND.same(form, f"${form}$")
