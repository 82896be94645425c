"""Questions without an answer, as errors of HTTP."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ConfigurationError
from ..redact import masked
from ..voting.verdict import AllMembersFailed
from .errors import APIError

#: Seconds after which a question may be asked again whose members were all refused for now; at
#: least, where a server says for how long.
_RATE_LIMITED_S = 10
_LONGEST_S = 3600


def failure_of(error: BaseException) -> APIError:
    """Return the error that a client is sent for what a mux raised."""
    if isinstance(error, AllMembersFailed):
        return _unanswered(error)
    if isinstance(error, ConfigurationError):
        return APIError(500, str(error), code="misconfigured")
    return internal_error()


def internal_error() -> APIError:
    """Return what a client is told of a mistake of the server's own."""
    return APIError(500, "The server failed; its log says why.", code="internal_error")


def _unanswered(error: AllMembersFailed) -> APIError:
    """Return why no member answered: the client's question, their servers' limits, or else."""
    causes = {cause for causes in error.causes.values() for cause in causes}
    details: dict[str, Any] = {
        "causes": {name: [masked(one) for one in own] for name, own in error.causes.items()}
    }
    if causes and all(cause.startswith("ContextWindowExceeded") for cause in causes):
        return APIError(
            400,
            "The messages are longer than any member can read.",
            code="context_length_exceeded",
            param="messages",
            details=details,
        )
    if causes and all(cause.startswith("LMUnsupportedFeature") for cause in causes):
        return APIError(
            400,
            f"No member can be sent this: {min(causes)}",
            code="unsupported_value",
            param="messages",
            details=details,
        )
    if causes and all(cause.startswith("LMRateLimit") for cause in causes):
        return APIError(
            429,
            "Every member's server refuses requests for now.",
            code="rate_limit_exceeded",
            retry_after=_pause(error.__cause__),
            details=details,
        )
    return APIError(503, str(error), code="no_answer", details=details)


def _pause(error: BaseException | None) -> int:
    """Return the seconds that a member's server asks to wait for."""
    hint = getattr(error, "retry_after", None)
    if not isinstance(hint, (int, float)) or not math.isfinite(hint):
        return _RATE_LIMITED_S
    return max(1, min(math.ceil(hint), _LONGEST_S))
