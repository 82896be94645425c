"""What a prompt is written of, so that it is written once for all draws of a question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import dspy
from dspy.utils.callback import BaseCallback

from .wrap import Fields, Message

#: Name → value, told apart.
Values: TypeAlias = dict[str, Any]
#: Types whose values cannot change between two draws.
_FIXED = frozenset({str, int, float, bool, type(None)})


@dataclass
class Prompt:
    """What a prompt is written of; equal ones give equal messages.

    Attributes:
        instructions, fields: of the signature, which may be changed in place.
        messages: what was written.
    """

    signature: type[dspy.Signature]
    instructions: str
    fields: list[dict[str, Any]]
    demos: list[Values]
    inputs: Values
    messages: list[Message] = field(default_factory=list, compare=False)

    @classmethod
    def of(
        cls, signature: type[dspy.Signature], demos: Iterable[Fields], inputs: Fields
    ) -> Prompt | None:
        """Return the prompt; None where a value may change while its object stays the same."""
        shown = [dict(demo.items()) for demo in (*demos, inputs)]
        if not all(type(value) in _FIXED for values in shown for value in values.values()):
            return None
        *kept, asked = map(_told_apart, shown)
        fields = [dict(info.json_schema_extra or {}) for info in signature.fields.values()]
        return cls(signature, signature.instructions, fields, kept, asked)


def _told_apart(values: Fields) -> Values:
    """Return values that are equal only where they are shown alike, as 1 and True are not."""
    return {
        name: value if type(value) is str else (type(value), repr(value))
        for name, value in values.items()
    }


def is_dspys(adapter: dspy.Adapter) -> bool:
    """Return whether an adapter writes prompts as DSPy or we do; a user's may do otherwise."""
    own = type(adapter).__module__.partition(".")[0] in ("dspy", "dspy_mux")
    return own and "format" not in vars(adapter)


def is_format_watched(adapter: dspy.Adapter) -> bool:
    """Return whether a callback is told of each prompt that an adapter writes."""
    callbacks = [*dspy.settings.callbacks, *(getattr(adapter, "callbacks", None) or ())]
    return any(
        getattr(type(callback), name, None) is not getattr(BaseCallback, name)
        for callback in callbacks
        for name in ("on_adapter_format_start", "on_adapter_format_end")
    )
