"""Whether a pool asks its members as a bank has recorded it: what differs, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import PoolMismatch
from ..mux.slm_mux import SLMMux
from ..text import shortened
from .fingerprint import fingerprint_member
from .selection import Described

#: Parts of a description (`fingerprint_member`), in words.
_WORDS = {
    "module": "the program's class",
    "adapter": "the adapter",
    "temperature": "the temperature",
    "model": "the model",
    "extract": "extract",
    "answer": "how answers are compared",
}
_LONGEST = 80
_CLASS = re.compile(r"<class '([^']*)'>")


def check_settings(mux: SLMMux, recorded: Mapping[str, Described], pool: str) -> list[str]:
    """Check that members would be asked as they were when their draws were recorded.

    Args:
        recorded: member → the program that its draws are by.
        pool: what the mux is built from, for messages.

    Returns:
        The members of which the bank does not know how they were asked, as for imported draws.

    Raises:
        PoolMismatch: the pool lacks a member, or asks it in another way; the message says in which.
    """
    unknown = []
    for name, described in recorded.items():
        if name not in mux.pool.names:
            raise PoolMismatch(
                f"{pool} has no member {name!r}, whose draws are recorded; it has "
                f"{', '.join(mux.pool.names)}. Add it, or name the members to choose from."
            )
        fingerprint, ours = fingerprint_member(mux, mux.pool.names.index(name))
        if fingerprint == described.fingerprint:
            continue
        different = list(
            _differences(described.description, json.loads(json.dumps(ours, sort_keys=True)))
        )
        if "predictors" not in described.description:
            unknown.append(name)
        elif not different:
            different = ["what the program is made of"]
        if different:
            raise PoolMismatch(
                f"{pool} asks {name!r} in another way than was recorded. What differs: "
                f"{'; '.join(different)}. Change the pool file, --task or --type, or collect again "
                "with these."
            )
    return unknown


def _differences(recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between two descriptions, as far as both say it."""
    if "predictors" not in recorded:  # imported draws: the model is a name that their file gave
        recorded = {"temperature": recorded["temperature"]} if "temperature" in recorded else {}
    same_fields = recorded.get("predictors") == ours.get("predictors")
    for name in recorded:
        if name == "answer" and not same_fields:  # it follows from the fields
            continue
        mine, theirs = ours.get(name), recorded[name]
        if mine == theirs:
            continue
        if name == "predictors":
            yield from _predictors(theirs, mine)
        elif name == "settings":
            yield from _settings(theirs, mine)
        elif name in _WORDS:
            yield _unequal(_WORDS[name], theirs, mine)
    if "predictors" in recorded and recorded.get("code") != ours.get("code"):
        yield "the program's code"


def _settings(recorded: Mapping[str, Any], ours: Mapping[str, Any] | None) -> Iterator[str]:
    mine = ours or {}
    for name in dict.fromkeys((*recorded, *mine)):
        if recorded.get(name) != mine.get(name):
            yield _unequal(name, recorded.get(name), mine.get(name))


def _predictors(recorded: Any, ours: Any) -> Iterator[str]:
    if not isinstance(ours, list) or len(recorded) != len(ours):
        yield _unequal("the program's steps", len(recorded), len(ours or ()))
        return
    for theirs, mine in zip(recorded, ours, strict=True):
        for part in ("inputs", "outputs"):
            if theirs.get(part) != mine.get(part):
                yield _unequal(f"the program's {part}", *_fields(theirs[part], mine[part]))
        if theirs.get("instructions") != mine.get("instructions"):
            yield "the program's instructions"
        if theirs.get("demos") != mine.get("demos"):
            yield "the program's demos"


def _fields(recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields that one of two sides lacks or has of another type, as each has them."""
    for side, other in ((recorded, ours), (ours, recorded)):
        yield ", ".join(
            f"{name}: {_type(parts)}" for name, parts in side.items() if other.get(name) != parts
        )


def _type(parts: list[Any]) -> str:
    described = f" ({parts[1]})" if len(parts) > 1 and parts[1] and "${" not in parts[1] else ""
    short = _CLASS.sub(r"\1", str(parts[0])).removeprefix("typing.").removeprefix("builtins.")
    return f"{short}{described}"


def _unequal(what: str, recorded: object, ours: object) -> str:
    theirs, mine = (shortened(_said(value), _LONGEST) for value in (recorded, ours))
    return what if theirs == mine else f"{what} ({theirs} recorded, {mine} here)"


def _said(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value in (None, "") else str(value)
