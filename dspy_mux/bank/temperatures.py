"""Temperatures of recorded draws: those of different temperature never mix unasked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from ..errors import ConfigurationError

_UNRECORDED = "the temperature of its draws was not recorded: leave the choice out to read them"
#: Which draws to read: those of one temperature, or each temperature's as a member of its own.
Temperature: TypeAlias = float | Literal["each"]


def check_temperature(temperature: object) -> None:
    """Raise ConfigurationError unless it is None, "each" or a number of 0 or more."""
    if temperature is None or temperature == "each":
        return
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, (int, float))
        or not 0 <= temperature < math.inf
    ):
        raise ConfigurationError(
            f"The temperature must be a number of 0 or more, or 'each', not {temperature!r}."
        )


def shown(temperature: float | None) -> str:
    """Return a temperature as in a member's or program's name.

    >>> shown(0.0), shown(0.5), shown(None)
    ('0', '0.5', 'unknown')
    """
    if temperature is None:
        return "unknown"
    short = f"{temperature:g}"
    return short if float(short) == temperature else repr(temperature)


def at(name: str, temperature: float | None) -> str:
    """Return a member's or program's name at a temperature; unchanged where that is unknown.

    >>> at("small", 0.5), at("small", None)
    ('small@0.5', 'small')
    """
    return name if temperature is None else f"{name}@{shown(temperature)}"


def refuse_several(source: str, known: Mapping[str, Iterable[float | None]]) -> None:
    """Raise ConfigurationError where a member has draws of several temperatures.

    Args:
        source: where the draws come from, as a message begins.
        known: member → the temperatures of its draws.
    """
    for member, temperatures in known.items():
        if len(set(temperatures)) > 1:
            raise several(source, member, temperatures)


def several(source: str, member: str, known: Iterable[float | None]) -> ConfigurationError:
    """Return the error that a member has draws of several temperatures."""
    listed = in_order(known)
    example = next(value for value in reversed(listed) if value is not None)
    return ConfigurationError(
        f"{source} holds draws of {member!r} at the temperatures {', '.join(map(shown, listed))}, "
        f"which never mix: choose one, as with --temperature {shown(example)}, or --temperature "
        f"each for members of their own, such as {at(member, example)}."
    )


def unknown(source: str, temperature: float, known: Iterable[float | None]) -> ConfigurationError:
    """Return the error that there are no draws of a temperature."""
    listed = in_order(known)
    has = [shown(value) for value in listed if value is not None]
    said = f"it has {', '.join(has)}" if has else _UNRECORDED
    more = ", and draws whose temperature was not recorded" if has and None in listed else ""
    return ConfigurationError(
        f"{source} has no draws at temperature {shown(temperature)}; {said}{more}."
    )


def refuse_alike(source: str, members: Sequence[str]) -> None:
    """Raise ConfigurationError where a member is called as another at a temperature."""
    for member in members:
        if members.count(member) > 1:
            raise ConfigurationError(
                f"{source} has a member {member!r} beside one at that temperature: choose one "
                "temperature."
            )


def in_order(temperatures: Iterable[float | None]) -> list[float | None]:
    """Return the distinct temperatures from the lowest up, the unknown one last."""
    distinct = set(temperatures)
    return [*sorted(value for value in distinct if value is not None), *({None} & distinct)]
