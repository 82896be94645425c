"""Attributes on the spans of tracers: of which draw a span is, and what a mux decided.

Tracers of DSPy record a span for every call of a module. MLflow does so in DSPy's callbacks, in a
context of its own; OpenInference wraps DSPy's methods. No span is begun here and no tracer
imported: what a tracer that is in use calls its current span is given further attributes.

| attribute | on the span of | |
|---|---|---|
| `dspy_mux.member` | a draw's program | the member's name |
| `dspy_mux.draw` | a draw's program | the draw's number, from 0 |
| `dspy_mux.abstention` | a draw's program | why the draw has no answer; else absent |
| `dspy_mux.withdrawn` | a draw's program | True where it was no longer needed; else absent |
| `dspy_mux.verdict` | a mux | the verdict, as JSON |
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, TypeAlias

import dspy
from dspy.utils.callback import BaseCallback

from ..redact import echoes_of, without
from ..voting.verdict import Verdict

logger = logging.getLogger(__name__)

#: Characters of one text of a verdict, and of the whole.
_LONGEST_TEXT = 500
_LONGEST_VERDICT = 8000


@dataclass(frozen=True)
class _Span:
    name: str
    set: Callable[[str, Any], object]


#: Returns what to note of a call, by attribute, from what it returned or its error.
Describe: TypeAlias = Callable[[object, BaseException | None], Mapping[str, str | int | bool]]


def traced(
    settings: Mapping[str, Any], program: dspy.Module, describe: Describe
) -> Mapping[str, Any]:
    """Return DSPy settings under which the span of the program's call, if any, is described."""
    if "mlflow" not in sys.modules and "opentelemetry.trace" not in sys.modules:
        return settings
    callbacks = settings.get("callbacks", dspy.settings.callbacks)
    # Spans are recorded by a callback, or by what is wrapped around DSPy's methods.
    if not callbacks and type(vars(dspy.Module)["__call__"]) is FunctionType:
        return settings
    # First and last: the span is begun before the last one's start, and open at the first's end.
    note = _CallNote(program, describe, set(_current_spans()))
    return {**settings, "callbacks": [note, *callbacks, note]}


def note_verdict(mux: dspy.Module, verdict: Verdict, lms: Iterable[dspy.BaseLM]) -> None:
    """Put a verdict on the span of the mux's call that is under way, if it has one."""
    try:
        spans = [
            span
            for span in _current_spans().values()
            # The span may be one around the mux, which no tracer of DSPy has begun.
            if span.name.startswith(f"{type(mux).__name__}.")
        ]
        if spans:
            shown = _bounded(verdict, {key for lm in lms for key in echoes_of(lm)})
            for span in spans:
                span.set("dspy_mux.verdict", shown)
    except Exception:  # a tracer that fails costs no answer
        logger.debug("The verdict is on no span.", exc_info=True)


class _CallNote(BaseCallback):
    """Describes the call of a program on its span.

    Args:
        around: the ids of the spans that the call is made in.
    """

    def __init__(self, program: dspy.Module, describe: Describe, around: set[int]):
        self.program, self.describe, self.around = program, describe, around
        self.call_id: str | None = None
        self.spans: list[_Span] = []

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        if instance is self.program and self.call_id in (None, call_id):
            self.call_id = call_id
            self.spans = [span for key, span in _current_spans().items() if key not in self.around]

    def on_module_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        if call_id == self.call_id and self.spans:
            spans, self.spans = self.spans, []
            for name, value in self.describe(outputs, exception).items():
                for span in spans:
                    span.set(f"dspy_mux.{name}", value)


def _current_spans() -> dict[int, _Span]:
    """Return each tracer's current span by its id; none where a tracer fails."""
    try:
        return _read_spans()
    except Exception:  # a tracer that fails costs no draw
        logger.debug("No span can be described.", exc_info=True)
        return {}


def _read_spans() -> dict[int, _Span]:
    spans: dict[int, _Span] = {}
    mlflow: Any = sys.modules.get("mlflow")
    if (active := getattr(mlflow, "get_current_active_span", None)) is not None:
        span = active()
        if span is not None and isinstance(span.trace_id, str):  # else it is no span of MLflow's
            spans[int(span.span_id, 16)] = _Span(span.name, span.set_attribute)
    opentelemetry: Any = sys.modules.get("opentelemetry.trace")
    if opentelemetry is not None:
        span = opentelemetry.get_current_span()
        if span.is_recording():
            spans.setdefault(
                span.get_span_context().span_id, _Span(getattr(span, "name", ""), _setter(span))
            )
    return spans


def _setter(span: Any) -> Callable[[str, Any], object]:
    """Return what sets an attribute of an OpenTelemetry span, which holds no dict."""
    return lambda name, value: span.set_attribute(
        name, json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
    )


def _bounded(verdict: Verdict, keys: set[str]) -> dict[str, Any]:
    """Return a verdict as JSON values, with long texts cut and, if it must be, fields left out."""
    fields: dict[str, Any] = _shortened(verdict.model_dump(mode="json"), keys)
    for name in ("turns", "ballots", "answer"):
        if len(json.dumps(fields, ensure_ascii=False)) <= _LONGEST_VERDICT:
            break
        del fields[name]
        fields.setdefault("left_out", []).append(name)
    return fields


def _shortened(value: Any, keys: set[str]) -> Any:
    """Return a JSON value whose texts are short and hold none of the keys."""
    if isinstance(value, dict):
        return {_shortened(key, keys): _shortened(inner, keys) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner, keys) for inner in value]
    if not isinstance(value, str):
        return value
    text = without(value, keys)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
