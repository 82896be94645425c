"""Notice which replies a server cut off at `max_tokens`: DSPy hands adapters the text alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dspy.lm15 import Response

from ..answers.reply import CutOffText


def mark_cut_off(entry: Mapping[str, Any]) -> None:
    """Make the cut-off texts among a call's outputs `CutOffText`, in place.

    Args:
        entry: the call's history entry, whose `outputs` are what the adapter is about to read.
    """
    outputs: list[Any] = entry["outputs"]
    reasons = finish_reasons(entry["response"], len(outputs))
    for at, (output, reason) in enumerate(zip(outputs, reasons, strict=False)):
        if reason != "length":
            continue
        if isinstance(output, dict):
            output["text"] = CutOffText(output.get("text") or "")
        else:
            outputs[at] = CutOffText(output or "")


def finish_reasons(response: object, count: int) -> Sequence[object]:
    """Return why each of `count` outputs ended, as far as a response says."""
    if isinstance(response, Response):
        return [response.finish_reason]
    if isinstance(response, tuple):
        return [getattr(each, "finish_reason", None) for each in response]
    details = item(response, "incomplete_details")  # of the Responses API, which has one output
    if details is not None:
        cut = item(details, "reason") == "max_output_tokens"
        return ["length" if cut else None] * count
    choices = item(response, "choices")
    if not isinstance(choices, (list, tuple)):
        return []
    return [item(choice, "finish_reason") for choice in choices]


def item(record: object, name: str) -> Any:
    """Return an item of a record of any client: a dict, or an object."""
    return record.get(name) if isinstance(record, dict) else getattr(record, name, None)
