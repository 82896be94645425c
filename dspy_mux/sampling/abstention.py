"""Why draws abstain: errors, and responses without a usable answer."""

from __future__ import annotations

import dspy
from dspy.utils.exceptions import AdapterParseError

from ..adapters.fields import CUT_OFF, ONLY_THINKING, Unanswered
from ..redact import masked
from ..text import visible

# Causes of draws that got a response from which no answer could be taken.
UNPARSABLE = "unparsable response"
EMPTY = "empty response"
NO_TEXT = "empty answer"
UNUSABLE = "unusable answer"
#: The cause of abstentions in imported files that name none.
NO_ANSWER = "no answer"
RESPONSE_CAUSES = (
    UNPARSABLE, EMPTY, NO_TEXT, UNUSABLE, NO_ANSWER, CUT_OFF, ONLY_THINKING
)  # fmt: skip
#: What to do about a cause, where the user can do something.
REMEDIES = {
    CUT_OFF: "raise the member's max_tokens, or ask for shorter replies",
    ONLY_THINKING: "raise the member's max_tokens, or turn its thinking off",
}
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
    if isinstance(error, Unanswered):
        return error.cause
    if isinstance(error, AdapterParseError):
        return EMPTY if str(error.lm_response or "").strip() in ("", "None") else UNPARSABLE
    name = type(error).__name__
    message = next(iter(str(error).strip().splitlines()), "")
    line = visible(masked(f"{name}: {message}" if message else name, lm))
    return line if len(line) <= _LONGEST_CAUSE else line[: _LONGEST_CAUSE - 1] + "…"
