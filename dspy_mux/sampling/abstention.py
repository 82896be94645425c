"""Describe an error as the cause of an abstention, in one line without keys."""

from __future__ import annotations

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..adapters.fields import Unanswered
from ..redact import masked
from ..text import shortened, visible
from .causes import EMPTY, UNPARSABLE

_LONGEST_CAUSE = 200


def describe_error(error: BaseException, lm: dspy.BaseLM) -> str:
    """Return an error as one line of text that any file and terminal can hold, without keys."""
    if isinstance(error, Unanswered):
        return error.cause
    if isinstance(error, AdapterParseError):
        return EMPTY if str(error.lm_response or "").strip() in ("", "None") else UNPARSABLE
    name = type(error).__name__
    message = next(iter(str(error).strip().splitlines()), "")
    line = visible(masked(f"{name}: {message}" if message else name, lm))
    return shortened(line, _LONGEST_CAUSE)
