"""What a prompt is written of, so that it is written once for all draws of a question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from .wrap import Fields, Message

#: Types whose values cannot change between two draws.
_FIXED = frozenset({str, int, float, bool, type(None)})


@dataclass
class Prompt:
    """What a prompt is written of; equal ones give equal messages.

    Attributes:
        messages: what was written.
    """

    signature: type[dspy.Signature]
    demos: list[dict[str, Any]]
    inputs: dict[str, Any]
    messages: list[Message] = field(default_factory=list, compare=False)

    @classmethod
    def of(
        cls, signature: type[dspy.Signature], demos: Iterable[Fields], inputs: Fields
    ) -> Prompt | None:
        """Return the prompt; None where a value may change while its object stays the same."""
        kept = [dict(demo.items()) for demo in demos]
        for values in (*kept, inputs):
            if not all(type(value) in _FIXED for value in values.values()):
                return None
        return cls(signature, kept, dict(inputs))


def is_dspys(adapter: dspy.Adapter) -> bool:
    """Return whether an adapter is DSPy's or ours; a user's own may write each prompt otherwise."""
    return type(adapter).__module__.partition(".")[0] in ("dspy", "dspy_mux")


def is_format_watched(adapter: dspy.Adapter) -> bool:
    """Return whether a callback is told of each prompt that an adapter writes."""
    callbacks = [*dspy.settings.callbacks, *(getattr(adapter, "callbacks", None) or ())]
    return any(
        getattr(type(callback), name, None) is not getattr(BaseCallback, name)
        for callback in callbacks
        for name in ("on_adapter_format_start", "on_adapter_format_end")
    )
