"""Why draws abstain: errors, and responses without a usable answer."""

from __future__ import annotations

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..redact import masked
from ..text import visible

# Causes of draws that got a response from which no answer could be taken.
UNPARSABLE = "unparsable response"
EMPTY = "empty response"
NO_TEXT = "empty answer"
UNUSABLE = "unusable answer"
#: The cause of abstentions in imported files that name none.
NO_ANSWER = "no answer"
RESPONSE_CAUSES = (UNPARSABLE, EMPTY, NO_TEXT, UNUSABLE, NO_ANSWER)
# Beginnings of the causes of draws whose program returned something other than its answer.
NO_FIELD = "the prediction has no field"
NO_PREDICTION = "the program returned"

_LONGEST_CAUSE = 200


def is_error(cause: str) -> bool:
    """Return whether a draw failed with an error, such as a timeout or a refused connection.

    Errors may pass when the draw is made again; other causes mean that the member responded.

    >>> is_error("no answer within 30 s"), is_error("unparsable response")
    (True, False)
    """
    return cause not in RESPONSE_CAUSES and not cause.startswith((NO_FIELD, NO_PREDICTION))


def describe_error(error: BaseException, lm: dspy.BaseLM) -> str:
    """Return an error as one line of text that any file and terminal can hold, without keys."""
    if isinstance(error, AdapterParseError):
        return EMPTY if str(error.lm_response or "None").strip() == "None" else UNPARSABLE
    name = type(error).__name__
    message = next(iter(str(error).strip().splitlines()), "")
    line = visible(masked(f"{name}: {message}" if message else name, lm))
    return line if len(line) <= _LONGEST_CAUSE else line[: _LONGEST_CAUSE - 1] + "…"
