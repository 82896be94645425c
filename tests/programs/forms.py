"""A gold answer as models write it, and their text as the adapters read it."""

from __future__ import annotations

import dspy

from dspy_mux import PlainAdapter, SLMMux

from ..support.scripted import marked, scripted_lm


def read(program: dspy.Module, text: str, **inputs: str) -> list[dspy.Prediction]:
    """What a mux makes of `text` in the answer field of DSPy's chat format, and as a plain reply
    after some reasoning.
    """
    replies = [marked(reasoning="So it is.", answer=text), f"Let me think, 3 of 7.\n{text}"]
    lms = [scripted_lm("any", lambda *_, reply=reply: reply, cache=False) for reply in replies]
    adapters = (None, PlainAdapter())
    return [
        SLMMux(program, [lm], k=1, adapter=adapter)(**inputs)
        for lm, adapter in zip(lms, adapters, strict=True)
    ]


def number_forms(gold: str) -> list[str]:
    """A number in the forms that models end their answers in."""
    grouped = f"{int(gold):,}" if gold.lstrip("-").isdigit() else gold
    return [
        gold,
        grouped,
        f"The answer is $\\boxed{{{gold}}}$.",
        f"#### {grouped}",
        f"**{gold}**",
        f"The answer is {grouped} dollars.",
        f"We need 12 of 40, so it is 480 / 3.\nFinal Answer: {gold}",
        f"Answer: ${grouped}",
        f"{gold}.00" if gold.lstrip("-").isdigit() else gold,
    ]
