"""The probability that one of DSPy's decisions brings: of `Noul`, `Choice` and `Score` fields.

DSPy asks for the probabilities of such a field, and makes its value of them: the type itself, which
keeps them, or a plain value where the field is `Annotated[bool, Noul]`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pydantic
from dspy.adapters.types.decision import Choice, Noul, Score

from ..adapters.fields import is_decision
from ..adapters.readings import Reading


def is_decided(answer: Any, field: str, readings: Sequence[Reading]) -> bool:
    """Return whether an answer was made of probabilities, so that none of its tokens is its own."""
    return isinstance(answer, (Noul, Choice, Score)) or bool(_asked(field, readings))


def decision_probability(answer: Any, field: str, readings: Sequence[Reading]) -> float | None:
    """Return the probability that a decision has by its own figures; None where that is unsure.

    Args:
        answer: the value of the answer field; of a `Score`, its level is meant.
        readings: what the draw's replies were read as.
    """
    if isinstance(answer, Noul):
        return _of_truth(answer.probability, answer.value)
    if isinstance(answer, Choice):
        return _share(answer.probabilities, str(answer.value))
    if isinstance(answer, Score):
        return _share(answer.probabilities, answer.level)
    given = _asked(field, readings)
    if len(given) != 1:
        return None  # of several replies, the one that gave the answer is unknown
    if "noul" in given[0]:
        return _of_truth(given[0]["noul"], answer)
    return _share(given[0]["probabilities"], str(answer))


def _asked(field: str, readings: Sequence[Reading]) -> list[dict[str, Any]]:
    """Return the probabilities that replies gave for a field."""
    given = [
        reading.fields[field]
        for reading in readings
        if reading.fields is not None and is_decision(reading.signature, field)
    ]
    return [one.model_dump(by_alias=True) for one in given if isinstance(one, pydantic.BaseModel)]


def _of_truth(probability: float | None, value: Any) -> float | None:
    if probability is None or not isinstance(value, bool):
        return None
    return probability if value else 1 - probability


def _share(probabilities: Mapping[Any, float] | None, label: Hashable) -> float | None:
    given = probabilities or {}
    chosen, total = given.get(label), sum(given.values())
    return None if chosen is None or not total else chosen / total
