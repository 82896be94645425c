"""A question's answers under the task's metric: a number for each, or one error that names the question."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import dspy

from dspy_mux import MetricFailed
from dspy_mux.bank.fingerprint import fingerprint_inputs


class Scores:
    """The metric's values of a question's answers, each distinct one scored once; 0 for an abstention.

    Raises:
        MetricFailed: on use: the metric raised, or gave no number.
    """

    def __init__(self, example: dspy.Example, metric: Callable[..., Any], field: str):
        self.example, self.metric, self.field = example, metric, field
        self._known: dict[str, float] = {}

    def __call__(self, answer: Any) -> float:
        if answer is None:
            return 0.0
        key = repr(answer)
        if key not in self._known:
            self._known[key] = self.prediction(dspy.Prediction(**{self.field: answer}))
        return self._known[key]

    def prediction(self, prediction: dspy.Prediction) -> float:
        try:
            score = float(self.metric(self.example, prediction))
        except Exception as error:
            raise self._failed(f"raised {type(error).__name__}: {error}") from error
        if not math.isfinite(score):
            raise self._failed(f"gave {score}")
        return score

    def _failed(self, what: str) -> MetricFailed:
        question = (
            self.example.get("question_id")
            or fingerprint_inputs(self.example.inputs().toDict())[:16]
        )
        return MetricFailed(
            f"The metric {what} on the question {question}: mend it and run again, what was scored is kept."
        )
