"""The public surface is what `__all__` says, and importing it loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import dspy_mux


def test_the_public_names_are_exact():
    assert dspy_mux.__all__ == sorted(dspy_mux.__all__)
    for name in dspy_mux.__all__:
        assert (
            getattr(dspy_mux, name).__name__ if name not in ("MathAnswer",) else dspy_mux.MathAnswer
        )
    assert set(dir(dspy_mux)) == set(dspy_mux.__all__)


def test_public_classes_are_documented():
    for name in dspy_mux.__all__:
        assert getattr(dspy_mux, name).__doc__, name


def test_importing_the_mux_imports_nothing_heavy():
    heavy = ("litellm", "optuna", "plotly", "ray", "sympy", "math_verify", "xllamacpp", "typer")
    code = f"""
import sys, dspy
before = set(sys.modules)
from dspy_mux import *
import dspy_mux.local, dspy_mux.cluster
print(sorted(name for name in set(sys.modules) - before if name.partition(".")[0] in {heavy!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
