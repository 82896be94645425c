"""Muxes of scripted members, for tests of what a mux does with their answers."""

from __future__ import annotations

import dspy

from dspy_mux import SLMMux

from .scripted import scripted_lm

QA = dspy.Signature("question -> answer")


def mux_of(*answers, program=None, **arguments):
    """A mux of members a, b, c … that draw the given answers in order."""
    lms = {
        name: scripted_lm(name, list(drawn)) for name, drawn in zip("abcdef", answers, strict=False)
    }
    return SLMMux(program or dspy.Predict(QA), lms, **arguments)
