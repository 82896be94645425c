"""Why draws abstain: what a response can lack, told apart from errors."""

from __future__ import annotations

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..redact import masked
from ..text import visible

#: A response came, and nothing could be made of it.
UNPARSABLE, EMPTY, NO_TEXT, UNUSABLE = (
    "unparsable response",
    "empty response",
    "empty answer",
    "unusable answer",
)
#: That of draws in files that name none.
NONE = "no answer"
#: How the causes begin of draws whose program gave something else than its answer.
NO_FIELD, NO_PREDICTION = "the prediction has no field", "the program returned"
OF_A_RESPONSE = (UNPARSABLE, EMPTY, NO_TEXT, UNUSABLE, NONE)


def is_error(cause: str) -> bool:
    """Whether a draw failed with an error (a timeout, a refused connection), which may pass; else something was said or returned,
    and nothing could be made of it."""
    return cause not in OF_A_RESPONSE and not cause.startswith((NO_FIELD, NO_PREDICTION))


_CAUSE_LENGTH = 200


def cause_of(error: BaseException, lm: dspy.BaseLM) -> str:
    """An error in one line of text that any file and terminal can hold, without keys."""
    if isinstance(error, AdapterParseError):
        return EMPTY if str(error.lm_response or "None").strip() == "None" else UNPARSABLE
    first_line = next(iter(str(error).strip().splitlines()), "")
    told = visible(
        masked(f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__, lm)
    )
    return told if len(told) <= _CAUSE_LENGTH else told[: _CAUSE_LENGTH - 1] + "…"
