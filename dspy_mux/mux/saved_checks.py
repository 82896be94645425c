"""Checks of what a saved mux holds, and of what a user says of its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import pydantic

from ..errors import ConfigurationError, DataError, first_mistake

Part = TypeVar("Part")

#: The keys that DSPy saves of a predictor.
_PREDICTOR_KEYS = {"traces", "train", "demos", "signature", "fields", "lm"}


def check_predictors(state: Mapping[str, Any]) -> None:
    """Check a mux's saved predictors before DSPy loads them and sets whatever attributes they hold.

    Raises:
        DataError: it is not the state of a mux, or a predictor has more than its demos and its
            signature, such as a language model or settings of its own, which could lead to another
            server.
    """
    if "pool" not in state:
        raise DataError(
            "This is not the state of a saved mux: save one with mux.save('mux.json'), and load a "
            "larger program that contains one with load_program(program, path)."
        )
    for name, saved in state.items():
        if name in ("metadata", "pool") or name.endswith(".pool"):
            continue
        extra = sorted(set(saved) - _PREDICTOR_KEYS) if isinstance(saved, Mapping) else []
        if not isinstance(saved, Mapping) or extra or saved.get("lm") is not None:
            key = extra[0] if extra else "lm"
            raise DataError(
                f"The saved mux holds {key!r} for its predictor {name!r}, which no mux saves: "
                "do not trust it."
            )


def checked_part(what: str, kind: type[Part], saved: object) -> Part:
    """Return a part of a saved mux as what it is.

    Args:
        what: the part's name, for the message.

    Raises:
        DataError: it is damaged.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(saved)
    except pydantic.ValidationError as error:
        raise DataError(f"The {what} of the saved mux {first_mistake(error)}") from error


def checked_accuracies(
    accuracies: Mapping[str, float] | None, names: Sequence[str]
) -> dict[str, float]:
    """Return `accuracies` as a dict of floats.

    Raises:
        ConfigurationError: a name is not a member's, or a value is not between 0 and 1.
    """
    given = accuracies or {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"accuracies must be a dict of name → fraction of right answers, not {given!r}."
        )
    for name, accuracy in given.items():
        if name not in names:
            raise ConfigurationError(
                f"accuracies names {name!r}, which is not a member of the pool "
                f"({', '.join(names)})."
            )
        is_number = isinstance(accuracy, (int, float)) and not isinstance(accuracy, bool)
        if not is_number or not 0 <= accuracy <= 1:
            raise ConfigurationError(
                f"The accuracy of {name!r} must be a fraction between 0 and 1, not {accuracy!r}."
            )
    return {name: float(accuracy) for name, accuracy in given.items()}


def members_difference(
    saved: Sequence[tuple[str, str]], here: Sequence[tuple[str, str]]
) -> str | None:
    """Return how the members of a saved mux differ from those of this one; None where they do not.

    Args:
        saved, here: (name, model) of each.

    >>> members_difference([("a", "openai/a"), ("b", "openai/b")], [("a", "openai/c")])
    "'a' was openai/a when the mux was saved and is openai/c here; 'b' (openai/b) is not here: ..."
    """
    then, now = dict(saved), dict(here)
    changed = [
        f"{name!r} was {model} when the mux was saved and is {now[name]} here"
        for name, model in saved
        if name in now and now[name] != model
    ]
    gone = [_not_there(name, model, "here") for name, model in saved if name not in now]
    new = [_not_there(name, model, "in the saved mux") for name, model in here if name not in then]
    if changed or gone or new:
        told = "; ".join((*changed, *gone, *new))
        return f"{told}: load it into a mux of the saved members, or tune or compile this one."
    if list(saved) != list(here):
        names = ", ".join(name for name, _ in saved)
        return (
            "The saved mux has the same members in another order: load it into a mux of them in "
            f"the same order ({names})."
        )
    return None


def _not_there(name: str, model: str, where: str) -> str:
    shown = repr(name) if name == model else f"{name!r} ({model})"
    return f"{shown} is not {where}"
