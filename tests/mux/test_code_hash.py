"""What a user's code is told apart by, and what it is not."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import os
import subprocess
import sys
import textwrap
import types

import dspy
import numpy as np
import pandas as pd
import pydantic
import pytest

from dspy_mux import SLMMux
from dspy_mux.bank.fingerprint import fingerprint_member
from dspy_mux.mux.code_hash import hash_callable, hash_module, hash_type

from ..support.scripted import scripted_lm


def above(threshold):
    return lambda example, pred, trace=None: len(pred.answer) > threshold


def add(a, b, c=0):
    return a + b + c


@dataclasses.dataclass
class Tolerance:
    at_most: float


class Grader:
    """No callable itself: a method of it is the metric."""

    def __init__(self, tolerance):
        self.tolerance = tolerance

    def grade(self, example, pred, trace=None):
        return abs(pred.answer - example.answer) <= self.tolerance


def within(tolerance):
    return lambda example, pred, trace=None: abs(pred.answer - example.answer) <= tolerance.at_most


class Judge:
    def __init__(self, strict):
        self.strict, self._seen = strict, 0

    def __call__(self, example, pred, trace=None):
        self._seen += 1
        return self.strict

    def grade(self, example, pred, trace=None):
        return not self.strict


DIFFERENT = {
    "what a function closes over": (above(3), above(4)),
    "its defaults": (lambda a, b=1: a, lambda a, b=2: a),
    "two of one line": (lambda a: a[0], lambda a: a[1]),
    "what a partial binds": (functools.partial(add, 1), functools.partial(add, 2)),
    "its keywords": (functools.partial(add, c=1), functools.partial(add, c=2)),
    "an object's settings": (Judge(True), Judge(False)),
    "a method and its object": (Judge(True).grade, Judge(True)),
    "what a method is bound to": (Judge(True).grade, Judge(False).grade),
    "the functions among them": (
        functools.partial(map, above(3)),
        functools.partial(map, above(4)),
    ),
    "built-in functions": (len, max),
    "what a method is bound to, though it is no callable": (Grader(0.1).grade, Grader(10).grade),
    "values that are closed over": (within(Tolerance(0.1)), within(Tolerance(10))),
    "arrays that are": (functools.partial(add, np.zeros(3)), functools.partial(add, np.ones(3))),
    "numbers of arrays": (functools.partial(add, np.int64(3)), functools.partial(add, np.int64(4))),
    "dates": (within(datetime.date(2024, 1, 1)), within(datetime.date(2024, 1, 2))),
    "frames": (within(pd.DataFrame({"gold": [1]})), within(pd.DataFrame({"gold": [2]}))),
    "names in two of one line": (lambda s: s.lower(), lambda s: s.strip()),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_code_that_does_something_else_has_another_hash(what):
    one, other = DIFFERENT[what]
    assert hash_callable(one) != hash_callable(other)
    assert hash_callable(one) == hash_callable(one)


def test_rebuilt_code_has_the_same_hash_despite_counters():
    assert hash_callable(above(3)) == hash_callable(above(3))
    judge, other = Judge(True), Judge(True)
    judge(None, None)
    assert hash_callable(judge) == hash_callable(other)


def test_the_hash_is_the_same_in_another_process():
    script = """
        from tests.mux.test_code_hash import Judge, above
        from dspy_mux.mux.code_hash import hash_callable
        letters = {"b", "a", "c"}
        for code in (above(3), Judge(True).grade, letters.union):
            print(hash_callable(code))
        typed = {}
        exec("def yes(a): return a in {'yes', 'true', 'y'}", typed)
        print(hash_callable(typed["yes"]))
        print(letters, {"yes", "true", "y"}, file=sys.stderr)
    """
    run = [sys.executable, "-c", "import sys\n" + textwrap.dedent(script)]
    first, other = (
        subprocess.run(
            run,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in "13"
    )
    assert first.stdout == other.stdout
    orders = zip(first.stderr.split("} {"), other.stderr.split("} {"), strict=True)
    assert all(one != another for one, another in orders)  # the seeds are well chosen
    assert first.stdout.split()[:2] == [hash_callable(above(3)), hash_callable(Judge(True).grade)]


def test_a_class_hash_covers_its_bases(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for number, rounds in enumerate((1, 2)):
        (tmp_path / f"base{number}.py").write_text(
            f"class Base:\n    def rounds(self): return {rounds}\n"
        )
        made = types.ModuleType("made")
        exec(f"from base{number} import Base\nclass Made(Base):\n    pass", vars(made))
        hashes.append(hash_callable(made.Made()))
    assert hashes[0] != hashes[1]


def test_code_without_a_source_is_told_apart():
    typed: dict = {}
    exec("def one(a): return a[0]\ndef other(a): return a[1]", typed)
    assert hash_callable(typed["one"]) != hash_callable(typed["other"])


class Rounds(dspy.Module):
    def __init__(self, rounds, key="sk-0"):
        super().__init__()
        self.rounds, self.api_key = rounds, key
        self.step = dspy.Predict("question -> answer")


def test_dspys_modules_count_by_name_unless_configured():
    assert hash_module(dspy.Predict("question -> answer")) is None
    assert hash_module(dspy.ChainOfThought("question -> answer")) is None
    warm, cold = (
        hash_module(dspy.Predict("question -> answer", temperature=value)) for value in (0.7, 0.1)
    )
    assert None is not warm != cold is not None


def test_a_module_hash_covers_code_and_settings():
    assert hash_module(Rounds(1)) == hash_module(Rounds(1)) != hash_module(Rounds(2))
    _, told = fingerprint_member(
        SLMMux(Rounds(1, "sk-very-secret-1234567"), [scripted_lm("a", ["x"])]), 0
    )
    assert "very-secret" not in str(told)


def test_a_type_hash_covers_its_content():
    one = pydantic.create_model("Doc", text=(str, ...))
    other = pydantic.create_model("Doc", text=(str, ...), title=(str, ""))
    assert hash_type(one) != hash_type(other)
    assert hash_type(enum.Enum("Mood", {"GOOD": "good"})) != hash_type(
        enum.Enum("Mood", {"GOOD": "fine"})
    )
    assert hash_type(str) is hash_type(list[int]) is hash_type(Judge) is None
