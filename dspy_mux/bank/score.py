"""Scores of answers by the user's metric: of new draws, of recorded ones, and as they are read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import SupportsFloat

import dspy
import numpy as np

from ..answers.equivalence import NO_ANSWER
from ..errors import ConfigurationError, MetricFailed
from ..mux.code_hash import hash_callable
from ..mux.slm_mux import SLMMux
from .fingerprint import fingerprint_member, fingerprint_score, jsonable
from .questions import questions_of
from .record import Record
from .sample_bank import SampleBank
from .writer import OutputTypes, RecordedDraw

#: `(example, prediction, trace=None)` → bool or number, as in DSPy.
Metric = Callable[..., SupportsFloat]


def check_metric(metric: object) -> None:
    """Raise ConfigurationError unless this can be called."""
    if not callable(metric):
        raise ConfigurationError(
            f"metric must be a function of an example and a prediction, not {metric!r}."
        )


class Scorer:
    """Scores the answers to some questions by one metric.

    Args:
        metric: None leaves all answers without a score.
        examples: question (its id in the bank) → its example, with the gold answer.
        scored_by: question → the fingerprint of the metric and its gold answer, where another
            process has made them; None to make them here.
    """

    def __init__(
        self,
        mux: SLMMux,
        metric: Metric | None,
        examples: Mapping[int, dspy.Example],
        scored_by: dict[int, str] | None = None,
    ):
        self.mux, self.metric, self.examples = mux, metric, examples
        self.scored_by = {} if scored_by is None else scored_by
        if metric is not None and scored_by is None:
            metric_hash = hash_callable(metric)
            self.scored_by = {
                question: fingerprint_score(metric_hash, example)
                for question, example in examples.items()
            }

    def judge(self, draw: RecordedDraw) -> None:
        """Extract and score a draw's answer; runs in the draw's thread, as a metric may be slow."""
        draw.answer = self.mux.answer_of(draw)
        draw.answered = True
        if draw.answer is NO_ANSWER or self.metric is None:
            return
        question = draw.unit[0]
        try:
            draw.score = self._score(self.metric, self.examples[question], draw.prediction)
            draw.scored_by = self.scored_by[question]
        except Exception as error:  # noqa: BLE001  (the user's code; reported once the draw is recorded)
            draw.metric_error = error

    def score_recorded(self, bank: SampleBank, programs: Sequence[int]) -> int:
        """Score recorded answers that lack a score by this metric and gold answer; return how many.

        Makes no LM call.

        Raises:
            MetricFailed: the metric raised; the scores computed before are kept.
        """
        if self.metric is None:
            return 0
        types, scores, rescored = OutputTypes(self.mux), dict[int, tuple[float, str]](), 0
        try:
            for draw, question, answer, outputs, score in bank.answers.unscored(
                programs, self.scored_by
            ):
                if score is None:
                    prediction = types.prediction(answer, outputs)
                    try:
                        score = self._score(self.metric, self.examples[question], prediction)
                    except Exception as error:
                        raise self.failure(question, error) from error
                    rescored += 1
                scores[draw] = (score, self.scored_by[question])
        finally:
            if scores:
                bank.answers.score(scores)
        return rescored

    def failure(self, question: int, error: Exception) -> MetricFailed:
        """Return the error to raise after the metric raised `error` on a question."""
        inputs = json.dumps(jsonable(self.examples[question].inputs().toDict()), ensure_ascii=False)
        cause = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        failed = MetricFailed(
            f"The metric raised {cause} on the example {inputs[:200]}; its draws are recorded "
            "without a score, and a collection with a fixed metric scores them without a call."
        )
        failed.__cause__ = error
        return failed

    @staticmethod
    def _score(metric: Metric, example: dspy.Example, prediction: dspy.Prediction | None) -> float:
        score = float(metric(example, prediction))
        if not math.isfinite(score):
            raise ValueError(f"the score is {score}")
        return score


def recorded(
    mux: SLMMux,
    examples: Sequence[dspy.Example],
    metric: Metric,
    bank: SampleBank,
    *,
    dataset: str,
    k: int,
) -> Record:
    """Return this mux's recorded draws on these examples, in their order, scored by this metric.

    Another collection may have given the draws scores by its own metric meanwhile.
    """
    members = [member.label for member in mux.members]
    programs = [(name, fingerprint_member(mux, at)[0]) for at, name in enumerate(members)]
    metric_hash = hash_callable(metric)
    examples_by_key = dict(zip((one.key for one in questions_of(examples)), examples, strict=True))
    scored_by = {
        key: fingerprint_score(metric_hash, example) for key, example in examples_by_key.items()
    }
    record = bank.record(dataset=dataset, programs=programs, scored_by=scored_by)
    rows = {key: row for row, key in enumerate(record.keys)}
    wanted = [rows[key] for key in scored_by]
    return record.rows(np.array(wanted)).of(members, k)[0].first(k)
