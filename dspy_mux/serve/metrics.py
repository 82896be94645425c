"""Figures for Prometheus: questions, draws, abstentions, latency, cost, agreement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from ..sampling.causes import RESPONSE_CAUSES
from ..voting.verdict_parts import MemberBallot, Spent
from .answer import Answer

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_ERROR = re.compile(r"[A-Za-z_]{1,40}(?=:|$)")


class Metrics:
    """The figures of one server, in a registry of its own.

    Labels have few values: models and members by name, causes by kind.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.under_way = self._made(
            Gauge, "mux_questions_under_way", "Questions that are being answered."
        )
        self._questions = self._made(
            Counter,
            "mux_questions",
            "Questions by what became of them: answered, kept_back, or an error's code.",
            "model",
            "outcome",
        )
        self._refused = self._made(
            Counter, "mux_refused", "Requests that were refused before any draw, by code.", "code"
        )
        self._draws = self._made(
            Counter, "mux_draws", "Draws that settled, by member.", "model", "member"
        )
        self._abstentions = self._made(
            Counter,
            "mux_abstentions",
            "Draws without an answer, by the kind of cause.",
            *("model", "member", "cause"),
        )
        self._wins = self._made(
            Counter, "mux_wins", "Answers, by the member that gave them.", "model", "member"
        )
        self._calls = self._made(
            Counter, "mux_calls", "LM calls, by who answered them.", "model", "by"
        )
        self._tokens = self._made(Counter, "mux_tokens", "Tokens of all draws.", "model", "kind")
        self._cost = self._made(
            Counter, "mux_cost_dollars", "US dollars, as far as prices are known.", "model"
        )
        self._seconds = self._made(
            Histogram, "mux_question_seconds", "Seconds of a question.", "model", buckets=_SECONDS
        )
        self._confidence = self._made(
            Histogram, "mux_confidence", "Confidence of answers.", "model", buckets=_SHARES
        )
        self._agreement = self._made(
            Histogram,
            "mux_agreement",
            "Share of all draws that gave the answer that won.",
            "model",
            buckets=_SHARES,
        )

    def refused(self, code: str | None) -> None:
        """Count a request that was refused."""
        self._refused.labels(code or "other").inc()

    def answered(self, answer: Answer, seconds: float) -> None:
        """Count a question that was decided."""
        model, verdict = answer.model.name, answer.verdict
        outcome = "kept_back" if answer.outputs is None else "answered"
        self._questions.labels(model, outcome).inc()
        self._seconds.labels(model).observe(seconds)
        self._wins.labels(model, verdict.member).inc()
        self._bill(model, verdict)
        self._confidence.labels(model).observe(verdict.confidence)
        votes = [vote for ballot in verdict.ballots for vote in ballot.votes]
        if votes and verdict.group is not None:
            self._agreement.labels(model).observe(votes.count(verdict.group) / len(votes))
        self._count(model, verdict.ballots)

    def failed(
        self,
        model: str,
        code: str | None,
        seconds: float,
        spent: Spent,
        ballots: Sequence[MemberBallot] = (),
    ) -> None:
        """Count a question without an answer."""
        self._questions.labels(model, code or "other").inc()
        self._seconds.labels(model).observe(seconds)
        self._bill(model, spent)
        self._count(model, ballots)

    def page(self) -> tuple[bytes, str]:
        """Return the figures in Prometheus's text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def _bill(self, model: str, spent: Spent) -> None:
        self._calls.labels(model, "server").inc(spent.calls)
        self._calls.labels(model, "cache").inc(spent.cached_calls)
        self._tokens.labels(model, "prompt").inc(spent.prompt_tokens)
        self._tokens.labels(model, "completion").inc(spent.completion_tokens)
        self._cost.labels(model).inc(spent.cost or 0.0)

    def _count(self, model: str, ballots: Sequence[MemberBallot]) -> None:
        for ballot in ballots:
            self._draws.labels(model, ballot.member).inc(len(ballot.votes))
            for cause, count in kinds_of(ballot.abstentions).items():
                self._abstentions.labels(model, ballot.member, cause).inc(count)

    def _made(self, kind: Any, name: str, about: str, *labels: str, **more: Any) -> Any:
        return kind(name, about, labels, registry=self._registry, **more)


def kinds_of(causes: Mapping[str, int]) -> dict[str, int]:
    """Return the kinds of causes, of which there are few, with their counts.

    >>> kinds_of({"LMServerError: overloaded": 1, "no answer within 3 s": 2, "empty answer": 1})
    {'LMServerError': 1, 'timeout': 2, 'empty answer': 1}
    """
    kinds: dict[str, int] = {}
    for cause, count in causes.items():
        kind = kind_of(cause)
        kinds[kind] = kinds.get(kind, 0) + count
    return kinds


def kind_of(cause: str) -> str:
    """Return the kind of a cause: itself, the class of an error, or "timeout"."""
    if cause in RESPONSE_CAUSES:
        return cause
    if cause.startswith("no answer within"):
        return "timeout"
    error = _ERROR.match(cause)
    return error.group() if error else "other"
