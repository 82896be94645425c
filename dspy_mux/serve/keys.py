"""Who asks: API keys, compared in constant time and never repeated."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from .errors import APIError


class KeyRing:
    """The keys of those who may ask.

    Args:
        keys: name → key; empty where anybody may.
    """

    def __init__(self, keys: Mapping[str, str]):
        # Of one length, or the time to compare would tell a key's.
        self._digests = {name: _digest(key.encode()) for name, key in keys.items()}

    def name_of(self, authorization: str) -> str | None:
        """Return the name of the key in an `Authorization` header; None where none is needed.

        Raises:
            APIError: it has none of the keys.
        """
        if not self._digests:
            return None
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise APIError(
                401, "An API key is needed: send it as a Bearer token.", code="missing_api_key"
            )
        digest, found = _digest(given.strip().encode("latin-1", "replace")), None
        for name, own in self._digests.items():  # all of them, whichever it is
            if hmac.compare_digest(own, digest):
                found = name
        if found is None:
            raise APIError(401, "The API key is not one of this server's.", code="invalid_api_key")
        return found


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
