"""`MuxPrediction`: the winning draw's prediction, and beside its fields the verdict."""

from __future__ import annotations

from typing import Any

import dspy

from ..redact import masked
from ..voting.verdict import Verdict


class MuxPrediction(dspy.Prediction):
    """A prediction with the program's own fields, in their order, and a verdict.

    The verdict is not a field: `keys()`, `items()`, `toDict()`, `completions` and whatever DSPy
    makes of fields, such as demos and majorities, do not know it.

    Attributes:
        verdict: what the mux decided, and on what grounds.

    >>> import dspy
    >>> from dspy_mux import SLMMux
    >>> lm = dspy.utils.DummyLM([{"reasoning": "Two pairs.", "answer": "4"}] * 3)
    >>> mux = SLMMux("question -> answer", [lm])
    >>> pred = mux(question="2 + 2?")
    >>> pred.keys(), pred.verdict.confidence
    (['reasoning', 'answer'], 1.0)
    """

    verdict: Verdict

    def __init__(self, base: Any = None, **fields: Any):
        super().__init__(base, **fields)
        if isinstance(base, MuxPrediction):  # DSPy copies a prediction this way
            attach_verdict(self, base.verdict)


def with_verdict(prediction: dspy.Prediction, verdict: Verdict) -> dspy.Prediction:
    """Return a copy of the prediction that also carries the verdict.

    A prediction of the program's own class keeps its class.
    """
    plain = type(prediction) is dspy.Prediction
    fields = dict(prediction.items(include_dspy=True))
    copy = MuxPrediction(fields) if plain else prediction.copy()
    copy._completions = prediction._completions
    attach_verdict(copy, verdict)
    return copy


def attach_verdict(prediction: dspy.Prediction, verdict: Verdict) -> None:
    # Past Example.__setattr__, which would make it a field.
    object.__setattr__(prediction, "verdict", verdict)


def verdict_body(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict in full, as JSON has it; no key stands in it."""
    body = verdict.model_dump(mode="json")
    for ballot in body["ballots"]:
        ballot["abstentions"] = {
            masked(cause): count for cause, count in ballot["abstentions"].items()
        }
    if body["escalation_cause"] is not None:
        body["escalation_cause"] = masked(body["escalation_cause"])
    return body
