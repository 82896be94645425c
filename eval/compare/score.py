"""Score a question's answers by the task's metric."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy

from dspy_mux import MetricFailed
from dspy_mux.bank.fingerprint import fingerprint_inputs

#: `(example, prediction, trace=None)` → bool or number, as in DSPy.
Metric = Callable[..., Any]


class Scores:
    """Score a question's answers, each distinct answer once; an abstention scores 0.

    Raises:
        MetricFailed: on use: the metric raised, or returned no number from 0 to 1.
    """

    def __init__(self, example: dspy.Example, metric: Metric, field: str):
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
        """Score a whole prediction."""
        try:
            score = float(self.metric(self.example, prediction))
        except Exception as error:
            raise self._failed(f"raised {type(error).__name__}: {error}") from error
        if not 0 <= score <= 1:
            raise self._failed(
                f"returned {score:g}, and accuracies are means of scores from 0 to 1: divide it by "
                "its range"
            )
        return score

    def _failed(self, mistake: str) -> MetricFailed:
        question = (
            self.example.get("question_id")
            or fingerprint_inputs(self.example.inputs().toDict())[:16]
        )
        return MetricFailed(
            f"The metric {mistake} on the question {question}: fix it and run again; "
            "scores made so far are kept."
        )
