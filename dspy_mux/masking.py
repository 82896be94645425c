"""What of an error may be shown: its first line, without keys."""

from __future__ import annotations

import os
import re
import traceback

import dspy
from dspy.utils.exceptions import AdapterParseError

_CAUSE_LENGTH = 200
#: What looks like a key in an error's text, whoever put it there.
_KEY = re.compile(r"(\bBearer\s+|\bsk-)[^\s'\",;]+")
_SECRET_VARIABLE = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)


def cause_of(error: BaseException, lm: dspy.BaseLM) -> str:
    if isinstance(error, AdapterParseError):
        return "unparsable response" if str(error.lm_response or "None").strip() != "None" else "empty response"
    first_line = next(iter(str(error).strip().splitlines()), "")
    told = masked(f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__, lm)
    return told if len(told) <= _CAUSE_LENGTH else told[: _CAUSE_LENGTH - 1] + "…"


def masked(text: str, lm: dspy.BaseLM) -> str:
    """`text` without the LM's key, the keys in environment variables, and whatever looks like a key."""
    keys = [lm.kwargs.get("api_key"), *(value for name, value in os.environ.items() if _SECRET_VARIABLE.search(name))]
    for key in keys:
        if isinstance(key, str) and len(key) > 3 and key.lower() != "none":
            text = text.replace(key, "***")
    return _KEY.sub(r"\1***", text)


def shows_no_key(error: BaseException, lm: dspy.BaseLM) -> bool:
    """Whether the error's traceback, with those of what caused it, may be printed."""
    told = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return masked(told, lm) == told
