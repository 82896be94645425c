"""Remember what DSPy's list says of a model.

For a model that is not on it, as few small ones are, DSPy walks through its thousands of entries,
twice a call for the price and once more for what an awaited call can do: a third of a draw's CPU.
The list never changes once it is loaded.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

from dspy.clients import capabilities, costs
from dspy.clients.model_metadata import model_info

from .deadline import current_deadline


@functools.lru_cache(maxsize=1024)
def _found(provider: Any, model: Any, namespaces: Any) -> dict[str, Any]:
    found: dict[str, Any] = model_info(provider, model, namespaces=namespaces)
    return found


@functools.wraps(model_info)
def remembered(provider: Any, model: Any, *, namespaces: Any = None) -> dict[str, Any]:
    """Return what DSPy's `model_info` does; nothing changes for whoever is not within a draw."""
    if current_deadline.get() is None:
        found: dict[str, Any] = model_info(provider, model, namespaces=namespaces)
        return found
    kept = namespaces if namespaces is None else tuple(namespaces)
    return copy.deepcopy(_found(provider, model, kept))


def remember() -> None:
    """Have DSPy's prices and capabilities be looked up through `remembered`."""
    for module in (costs, capabilities):
        if getattr(module, "model_info", None) is model_info:
            module.model_info = remembered
