"""Keep what a draw's replies were read as, so that the answer can be found in them again."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import NamedTuple

import dspy

from .wrap import Fields


class Reading(NamedTuple):
    """A reply that was read for the answer field.

    Attributes:
        text: the reply as the adapter got it.
        signature: what it was read by.
        fields: what it was read as; None where it was out of format.
        parse: reads another text in the same way; raises AdapterParseError. None where reading a
            text may take more than reading it, such as a call of another model.
    """

    text: str
    signature: type[dspy.Signature]
    fields: Fields | None
    parse: Callable[[type[dspy.Signature], str], Fields] | None


#: The readings of the draw around this code; None where nobody asks for them.
current_readings: ContextVar[list[Reading] | None] = ContextVar("dspy_mux_readings", default=None)
