"""Read a saved mux from its file: its state, its program, its members as far as it says them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
from pydantic import ValidationError

from ..adapters.formats import ADAPTERS
from ..errors import ConfigurationError, DataError, MuxError, PoolMismatch, first_mistake
from ..local import CATALOG, OPTIONS
from ..sampling.members import Member
from .member_entry import MemberEntry
from .saved import SAVED_OPTIONS, SavedMember, SavedPool
from .signature_text import parse_signature

#: The largest saved mux that is read, in bytes.
_LONGEST = 2**26
#: The names and versions of packages that DSPy compares, and prints where they differ.
_VERSION = re.compile(r"[\w.+!-]{1,40}", re.ASCII)


def read_saved(path: Path) -> SavedPool:
    """Read the state of the pool in a saved mux.

    Raises:
        ConfigurationError: it is not a .json file.
        DataError: it is missing, damaged, or not a saved mux.
    """
    content = read_json(path)
    if "pool" not in content:
        inside = sorted(name for name in content if name.endswith(".pool"))
        if inside:
            raise ConfigurationError(
                f"{str(path)!r} is a larger program, which contains a mux at "
                f"{inside[0].removesuffix('.pool')!r}: build that program and call "
                "load_program(program, path)."
            )
        raise DataError(f"{str(path)!r} is not a saved mux: save one with mux.save('mux.json').")
    return SavedPool.read(content["pool"])


def read_json(path: Path) -> dict[str, Any]:
    """Read the JSON file of a saved mux, or of a program that contains one.

    Raises:
        ConfigurationError: it is not a .json file.
        DataError: it is missing, damaged, or saved by something else.
    """
    if path.suffix != ".json":
        raise ConfigurationError(
            f"A saved mux is a .json file, which {str(path)!r} is not: "
            "save one with mux.save('mux.json')."
        )
    try:
        content: dict[str, Any] = json.loads(read_text(path, _LONGEST))
        versions = content["metadata"]["dependency_versions"]
        if not all(_VERSION.fullmatch(part) for item in versions.items() for part in item):
            raise ValueError("DSPy would print these versions, which may hold anything")
    except FileNotFoundError as error:
        raise DataError(f"There is no saved mux {str(path)!r}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} is not a saved mux: save one with mux.save('mux.json')."
        ) from error
    return content


@contextmanager
def load_errors(path: Path) -> Iterator[None]:
    """Raise what DSPy raises while it loads a damaged file as a DataError."""
    try:
        yield
    except MuxError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        NotImplementedError,
        RecursionError,
    ) as error:
        raise DataError(
            f"{str(path)!r} is a damaged saved mux, or another version's: save it again."
        ) from error


def saved_module(state: SavedPool, path: Path) -> dspy.Module:
    """Rebuild the program of a saved mux.

    Raises:
        ConfigurationError: it is not a plain signature.
    """
    if state.program is None:
        raise ConfigurationError(
            f"The program of the saved mux {str(path)!r} is not a plain signature: "
            "load it in Python, SLMMux.from_file(path, lms, program=…)."
        )
    modules = {"predict": dspy.Predict, "chain_of_thought": dspy.ChainOfThought}
    return modules[state.program.module](parse_signature(state.program.signature))


def saved_members(state: SavedPool, path: Path, *, accept_license: bool = False) -> list[Member]:
    """Return the members of a saved mux, as far as they can be reached without more.

    That are embedded models, and hosted ones whose key is in the provider's usual variable.

    Raises:
        ConfigurationError: the file does not say where a member runs.
    """
    entries = [_member_entry(member, path) for member in state.members]
    try:
        validated = [MemberEntry.model_validate(entry) for entry in entries]
    except ValidationError as error:
        raise DataError(f"The saved mux {str(path)!r} {first_mistake(error)}") from error
    return [entry.member(accept_license=accept_license) for entry in validated]


def arranged(state: SavedPool, pool: Sequence[Member], path: Path) -> list[Member]:
    """Return the members of a saved mux out of a pool of any order, which may have more.

    They are found by name, and those without a name by their model. Each gets the saved name, k and
    temperature, and where it has no adapter the saved one.

    Raises:
        PoolMismatch: the pool lacks one.
    """
    left = list(pool)
    chosen: list[Member] = []
    for entry in state.members:
        member = _find(entry, left)
        if member is None:
            theirs = ", ".join(saved.name for saved in state.members)
            ours = ", ".join(member.label for member in pool)
            raise PoolMismatch(
                f"The saved mux has the members {theirs}, and the pool has {ours}: add "
                f"{entry.name!r} ({entry.model}) to the pool that {str(path)!r} is opened with."
            )
        left.remove(member)
        known = None if entry.adapter is None else ADAPTERS.get(entry.adapter)
        chosen.append(
            dataclasses.replace(
                member,
                name=entry.name,
                k=entry.k,
                temperature=entry.temperature,
                adapter=member.adapter or (known and known()),
            )
        )
    return chosen


def _find(entry: SavedMember, pool: Sequence[Member]) -> Member | None:
    named = [member for member in pool if member.label == entry.name]
    alike = [m for m in pool if m.name in (None, m.lm.model) and m.lm.model == entry.model]
    found = named or (alike if len(alike) == 1 else [])
    return found[0] if found else None


def _member_entry(member: SavedMember, path: Path) -> dict[str, Any]:
    kind, _, name = member.model.partition("/")
    known: tuple[str, ...] = SAVED_OPTIONS
    if kind == "local":
        # Its options follow its name; they are also saved as they were given.
        name, known = name.partition("?")[0], (*SAVED_OPTIONS, *OPTIONS)
    if member.own_server or (kind == "local" and name not in CATALOG):
        raise ConfigurationError(
            f"The saved mux {str(path)!r} does not say where its member {member.name!r} runs: "
            "pass --pool too."
        )
    if "://" in member.model or not member.model.isprintable():
        # Some providers take an address here: the question and the key would go to it.
        raise ConfigurationError(
            f"The saved mux {str(path)!r} names an address as its model, {member.model!r}: "
            "pass --pool with one that you trust."
        )
    options = {key: value for key, value in member.options.items() if key in known}
    source = {"local": name} if kind == "local" else {"model": member.model}
    return {"name": member.name, "adapter": member.adapter, "options": options, **source}


def read_text(path: Path, longest: int) -> str:
    """Read a text file of at most `longest` bytes.

    Raises:
        ValueError: the file is longer, or not UTF-8.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(longest + 1)
    if len(content) > longest:
        raise ValueError(f"it is longer than {longest // 2**10} kB")
    return content.decode("utf-8")
