"""Settings that are on, off, or "auto": decided by what is known of a member's server."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..errors import ConfigurationError

Auto: TypeAlias = Literal["auto", True, False]


def check_auto(setting: str, value: object, whose: str) -> None:
    """Raise ConfigurationError unless a setting has one of these values."""
    if not (isinstance(value, bool) or value == "auto"):
        raise ConfigurationError(
            f'{setting} of {whose} must be "auto", True or False, not {value!r}.'
        )
