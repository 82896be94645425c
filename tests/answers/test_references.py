"""Every reference of two public data sets is read, and equal to itself alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dspy_mux.answers.choose import answer_kind
from dspy_mux.answers.math_kind import MathKind

DATA = Path(__file__).parents[3] / "shared" / "data"
real_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets are not here")


def _rows(name: str) -> list[dict[str, str]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@real_data
def test_every_reference_of_math_500() -> None:
    kind, golds = MathKind(), [row["answer"] for row in _rows("math500_test")]
    forms = [
        r"The answer is $\boxed{{{}}}$.",
        "**Answer:** ${}$",
        "Thus the final answer is {}. I hope it is correct.",
    ]
    for form in forms:
        missed = [gold for gold in golds if not kind.same(kind.extract(form.format(gold)), gold)]
        assert missed == []
    solutions = [
        row
        for row in _rows("math500_test")
        if not kind.same(kind.extract(row["solution"]), row["answer"])
    ]
    assert solutions == []


@real_data
def test_math_500_references_differ_from_their_neighbours() -> None:
    kind, golds = MathKind(), [row["answer"] for row in _rows("math500_test")]
    following = zip(golds, [*golds[1:], golds[0]], strict=True)
    assert [(a, b) for a, b in following if kind.key(a) != kind.key(b) and kind.same(a, b)] == []


@real_data
@pytest.mark.parametrize("number", [int, float])
def test_every_reference_of_gsm8k(number: type) -> None:
    kind = answer_kind(number)
    for row in _rows("gsm8k_test"):
        gold = row["answer"].rsplit("####", 1)[1].strip()
        found = kind.extract(row["answer"])
        assert isinstance(found, number)
        assert kind.same(found, gold)
