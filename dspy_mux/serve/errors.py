"""Errors as OpenAI's protocol has them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from typing import Any

from ..redact import masked
from ..text import shortened, visible

#: Characters of a message.
_LONGEST = 2000


class APIError(Exception):
    """A request that is refused, or a question without an answer.

    Args:
        status: of HTTP.
        message: one sentence.
        code: in short, for programs.
        param: the field of the request at fault.
        retry_after: seconds after which the same may succeed; None where it will not, or not soon.
        details: further fields of the body's error.

    Attributes:
        is_counted: whether the metrics know of it, as what became of a question.
    """

    is_counted = False

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        details: dict[str, Any] | None = None,
    ):
        super().__init__(message)
        self.status, self.code, self.param = status, code, param
        self.retry_after, self.details = retry_after, details or {}

    def body(self) -> dict[str, Any]:
        error = {
            "message": shortened(visible(masked(str(self))), _LONGEST),
            "type": _TYPES.get(self.status, "invalid_request_error"),
            "param": self.param,
            "code": self.code,
        }
        return {"error": {**error, **self.details}}

    def headers(self) -> dict[str, str]:
        """Return headers that say whether to ask again, also in OpenAI's clients' way."""
        headers = {"x-should-retry": "true" if self.retry_after is not None else "false"}
        if self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "server_error",
}
