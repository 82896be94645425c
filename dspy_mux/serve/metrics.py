"""Figures for Prometheus: questions, draws, abstentions, latency, cost, agreement."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ..voting.verdict import Verdict
from .errors import APIError
from .models import ServedModel


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Gauge

        self.registry = CollectorRegistry()
        self.under_way = Gauge(
            "mux_questions_under_way", "Questions that are being answered.", registry=self.registry
        )

    def refused(self, why: str) -> None: ...

    @contextmanager
    def question(self, model: ServedModel) -> Iterator[Outcome]:
        yield Outcome(self, model)

    def page(self) -> tuple[bytes, str]:
        """Return the figures in Prometheus's text format, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class Outcome:
    """What becomes of one question."""

    def __init__(self, metrics: Metrics, model: ServedModel):
        self._metrics, self._model, self._began = metrics, model, time.perf_counter()

    def answered(self, verdict: Verdict) -> None: ...

    def failed(self, error: APIError) -> APIError:
        return error
