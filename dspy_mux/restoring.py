"""Outputs read from JSON as the types that a program declares, so that a metric meets what it met when they were drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import dspy
import pydantic

from .fingerprint import jsonable
from .mux import SLMMux


class Types:
    """The types of a mux's output fields."""

    def __init__(self, mux: SLMMux):
        self._answer_field = mux.answer_field
        self._readers: dict[str, pydantic.TypeAdapter[Any]] = {}
        for predictor in mux.programs[0].predictors():
            for name, info in predictor.signature.output_fields.items():
                if name not in self._readers and (reader := _reader(info.rebuild_annotation())) is not None:
                    self._readers[name] = reader

    def answer(self, told: Any) -> Any:
        """An answer as it was drawn."""
        return self._restored(self._answer_field, told)

    def prediction(self, answer: Any, outputs: Mapping[str, Any]) -> dspy.Prediction:
        """A prediction as it was drawn; of one whose outputs are not known, the answer."""
        told = {**outputs, self._answer_field: answer}
        return dspy.Prediction(**{name: self._restored(name, value) for name, value in told.items()})

    def _restored(self, name: str, told: Any) -> Any:
        reader = self._readers.get(name)
        if reader is None:
            return told
        try:
            value = reader.validate_json(json.dumps(told))
            # A program may return another type than it declares: a text that reads as a number stays a text.
            return value if not isinstance(told, str) or jsonable(value) == told else told
        except ValueError:
            return told


def _reader(annotation: Any) -> pydantic.TypeAdapter[Any] | None:
    """What reads a type from JSON; None for what JSON has as it is, or cannot be read."""
    if annotation in (str, bool, Any):
        return None
    try:
        reader = pydantic.TypeAdapter(annotation)
        reader.rebuild()
        return reader
    except (pydantic.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation):
        return None
