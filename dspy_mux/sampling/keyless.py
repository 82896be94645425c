"""LMs that can be pickled: without their keys, which are looked up again where they are loaded."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import dspy

from ..keys import PLACEHOLDERS
from ..redact import keys_of, shown

logger = logging.getLogger(__name__)


def pickled_lm(lm: dspy.BaseLM) -> tuple[Callable[..., dspy.BaseLM], tuple[Any, ...]]:
    """Return an LM as pickle takes it, a function and its arguments, without a key or a history."""
    twin, key = lm.copy(), lm.kwargs.get("api_key")
    twin.kwargs, twin.history, twin.callbacks = shown(lm.kwargs), [], []
    if _is_placeholder(key):
        twin.kwargs["api_key"] = key
    return _restored_lm, (twin, *key_variable(lm))


def key_variable(lm: dspy.BaseLM) -> tuple[str | None, bool]:
    """Return the environment variable that holds an LM's key, and whether a pickle loses a key.

    The variable is None where the LM has no key of its own, or none that a variable holds.
    """
    key = lm.kwargs.get("api_key")
    others = bool(set(keys_of(lm)) - {key})
    if key is None or _is_placeholder(key):
        return None, others
    variable = next((name for name, value in os.environ.items() if value == key), None)
    return variable, others or variable is None


def _is_placeholder(key: object) -> bool:
    return isinstance(key, str) and key.lower() in PLACEHOLDERS


def pickled_adapter(adapter: dspy.Adapter | None) -> Any:
    """Return the adapter, or a copy of it in which LMs of its own will be pickled without a key."""
    if adapter is None:
        return None
    changes: dict[str, Any] = {}
    for name, value in vars(adapter).items():
        if isinstance(value, dspy.BaseLM):
            changes[name] = KeylessLM(value)
        elif isinstance(value, dspy.Adapter):
            changes[name] = pickled_adapter(value)
    if not changes:
        return adapter
    twin = copy.copy(adapter)
    vars(twin).update(changes)
    return twin


class KeylessLM:
    """Pickles as an LM without its key, and is an LM again when it is loaded."""

    def __init__(self, lm: dspy.BaseLM):
        self.lm = lm

    def __deepcopy__(self, memo: dict[int, Any]) -> KeylessLM:
        return self  # a copy in this process keeps the key

    def __reduce__(self) -> tuple[Callable[..., dspy.BaseLM], tuple[Any, ...]]:
        return pickled_lm(self.lm)


def pickled_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a member's fields for a pickle."""
    return {
        **fields,
        "lm": KeylessLM(fields["lm"]),
        "adapter": pickled_adapter(fields["adapter"]),
    }


def _restored_lm(lm: dspy.BaseLM, variable: str | None, lost: bool) -> dspy.BaseLM:
    key = os.environ.get(variable) if variable is not None else None
    if key is not None:
        lm.kwargs["api_key"] = key
    elif variable is not None:
        logger.warning(
            "%s was pickled without its key, which was in the environment variable %s: set it "
            "before loading.",
            lm.model,
            variable,
        )
    if lost:
        logger.warning(
            "%s was pickled without its keys or headers, which were in no environment variable: "
            "its provider's usual variable is used; else set them on the LM again.",
            lm.model,
        )
    return lm
