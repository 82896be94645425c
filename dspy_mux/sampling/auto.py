"""Settings that are on, off, or "auto": decided by what is known of a member's server."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator

from ..errors import ConfigurationError

Auto: TypeAlias = Literal["auto", True, False]


def _of_a_file(value: object) -> object:
    if not (isinstance(value, bool) or value == "auto"):
        raise ValueError('write "auto", true or false')
    return value


#: `Auto` in a file, whose mistakes are told in its own words.
AutoInFile: TypeAlias = Annotated[Auto, BeforeValidator(_of_a_file)]


def check_auto(setting: str, value: object, whose: str) -> None:
    """Raise ConfigurationError unless a setting has one of these values."""
    if not (isinstance(value, bool) or value == "auto"):
        raise ConfigurationError(
            f'{setting} of {whose} must be "auto", True or False, not {value!r}.'
        )
