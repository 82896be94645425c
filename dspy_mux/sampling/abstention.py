"""Describe an error as the cause of an abstention, in one line without keys."""

from __future__ import annotations

from urllib.parse import urlsplit

import dspy
from dspy.utils.exceptions import AdapterParseError, LMError

from ..adapters.fields import Unanswered
from ..redact import masked, masked_address
from ..text import shortened, visible
from .causes import EMPTY, UNPARSABLE
from .usage import address_of

_LONGEST_CAUSE = 200
#: Statuses of servers that have no such path, or take no POST there.
_NO_SUCH_PATH = (404, 405)


def describe_error(error: BaseException, lm: dspy.BaseLM) -> str:
    """Return an error as one line of text that any file and terminal can hold, without keys."""
    if isinstance(error, Unanswered):
        return error.cause
    if isinstance(error, AdapterParseError):
        return EMPTY if str(error.lm_response or "").strip() in ("", "None") else UNPARSABLE
    name = type(error).__name__
    message = next(iter((_refusal(error, lm) or str(error)).strip().splitlines()), "")
    line = visible(masked(f"{name}: {message}" if message else name, lm))
    return shortened(line, _LONGEST_CAUSE)


def is_no_such_path(error: BaseException) -> bool:
    """Return whether a server answered that it has no such path, rather than no such model.

    Servers say of a model in their message that it is not found; of a path they say little.
    """
    return (
        isinstance(error, LMError)
        and getattr(error, "status", None) in _NO_SUCH_PATH
        and "model" not in str(error.message or "").casefold()
    )


def _refusal(error: BaseException, lm: dspy.BaseLM) -> str | None:
    """Return what an HTTP status says where the error itself says little; None for other errors."""
    status = getattr(error, "status", None)
    if not isinstance(error, LMError) or status is None:
        return None
    address = address_of(lm)
    if is_no_such_path(error) and address:
        # Without the host: causes are kept in banks, and sent to a served mux's clients.
        path = urlsplit(masked_address(str(address))).path.rstrip("/")
        asked = "chat/completions" if getattr(lm, "model_type", "chat") == "chat" else "…"
        said = f" ({error.message})" if error.message else ""
        return f"HTTP {status} at {path}/{asked}: is api_base right? Most end in /v1{said}"
    return None if error.message else f"HTTP {status}"
