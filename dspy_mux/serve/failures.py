"""Questions without an answer, as errors of HTTP."""

from __future__ import annotations

from ..errors import ConfigurationError
from ..voting.verdict import AllMembersFailed, NotTrusted
from .errors import APIError

#: Seconds after which a question may be asked again whose members were all rate-limited.
_RATE_LIMITED_S = 10


def failure_of(error: BaseException) -> APIError:
    """Return the error that a client is sent for what a mux raised."""
    if isinstance(error, NotTrusted):
        return APIError(422, str(error), code="not_trusted", details={"mux": None})
    if isinstance(error, AllMembersFailed):
        causes = [cause for causes in error.causes.values() for cause in causes]
        if causes and all("RateLimit" in cause for cause in causes):
            return APIError(
                429,
                f"Every member's server refused for now: {error}",
                code="rate_limit_exceeded",
                retry_after=_RATE_LIMITED_S,
            )
        return APIError(503, str(error), code="no_answer")
    if isinstance(error, ConfigurationError):
        return APIError(400, str(error), code="invalid_inputs")
    return APIError(500, "The server failed.", code="internal_error")
