"""Open a mux from files: a pool file, a saved mux, or both."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import dspy
from pydantic import ValidationError

from ..errors import ConfigurationError, DataError, MuxError, first_mistake
from ..local import CATALOG
from ..sampling.members import check_members
from .compared import answer_of_label
from .options import SharedOptions
from .pool_file import PoolFile, read_text
from .saved import SAVED_OPTIONS, SavedMember, SavedPool, check_rule
from .signature_text import parse_signature
from .slm_mux import SLMMux

#: The largest saved mux that is read, in bytes.
_LONGEST = 2**26
#: The names and versions of packages that DSPy compares, and prints where they differ.
_VERSION = re.compile(r"[\w.+!-]{1,40}", re.ASCII)


def open_mux(
    pool: Path | None,
    saved: Path | None,
    *,
    k: int | None = None,
    timeout: float | None = None,
    accept_license: bool = False,
) -> SLMMux:
    """Open the mux of a pool file, of a saved mux, or of a saved mux over a pool file's members.

    A saved mux holds no key and no address. It is enough alone when its members are embedded
    models, or hosted ones whose key is in the provider's usual environment variable.

    Args:
        pool: the pool file; None needs `saved`.
        k: replaces the files' k.
        timeout: replaces the files' timeout.
        accept_license: accept the terms of embedded weights that ask for it.

    Raises:
        DataError: a file is missing or cannot be understood.
        ConfigurationError: a setting is wrong, the files do not say how to reach a member, or the
            saved rule was fitted for another k.
        PoolMismatch: the saved mux has other members than the pool file.
    """
    changes: SharedOptions = {} if timeout is None else {"timeout": timeout}
    if saved is None:
        assert pool is not None  # the caller gives one of them
        return _with_k(PoolFile.load(pool).mux(accept_license=accept_license, **changes), k)
    state = _saved_pool(saved)
    changes["answer_field"] = answer_of_label(state.answer_field)
    source = PoolFile.load(pool) if pool is not None else _pool_file(state, saved)
    mux = source.mux(_program(state, saved), accept_license=accept_license, **changes)
    names = [member.name for member in state.members]
    if set(names) < set(mux.pool.names):
        mux = mux.subset(names)  # an optimizer may have left members of the pool out
    _load(mux, saved)
    if timeout is not None:
        mux.pool.settings.timeout = timeout
    return _with_k(mux, k)


def _load(mux: SLMMux, saved: Path) -> None:
    try:
        mux.load(saved)
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
            f"{str(saved)!r} is a damaged saved mux, or another version's: save it again."
        ) from error


def _with_k(mux: SLMMux, k: int | None) -> SLMMux:
    if k is not None:
        members = check_members([dataclasses.replace(member, k=k) for member in mux.members])
        check_rule(mux.rule, members)
        mux.pool.members = members
    return mux


def _saved_pool(path: Path) -> SavedPool:
    if path.suffix != ".json":
        raise ConfigurationError(
            f"A saved mux is a .json file, which {str(path)!r} is not: "
            "save one with mux.save('mux.json')."
        )
    try:
        content = json.loads(read_text(path, _LONGEST))
        state, versions = content["pool"], content["metadata"]["dependency_versions"]
        if not all(_VERSION.fullmatch(part) for item in versions.items() for part in item):
            raise ValueError("DSPy would print these versions, which may hold anything")
    except FileNotFoundError as error:
        raise DataError(f"There is no saved mux {str(path)!r}.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} is not a saved mux: save one with mux.save('mux.json')."
        ) from error
    return SavedPool.read(state)


def _program(state: SavedPool, path: Path) -> dspy.Module:
    if state.program is None:
        raise ConfigurationError(
            f"The program of the saved mux {str(path)!r} is not a plain signature: "
            "load it in Python, into a mux of that program."
        )
    modules = {"predict": dspy.Predict, "chain_of_thought": dspy.ChainOfThought}
    return modules[state.program.module](parse_signature(state.program.signature))


def _pool_file(state: SavedPool, path: Path) -> PoolFile:
    """Return the pool file that a saved mux amounts to."""
    entries = [_member_entry(member, path) for member in state.members]
    try:
        return PoolFile.model_validate({"members": entries})
    except ValidationError as error:
        raise DataError(f"The saved mux {str(path)!r} {first_mistake(error)}") from error


def _member_entry(member: SavedMember, path: Path) -> dict[str, Any]:
    kind, _, name = member.model.partition("/")
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
    options = {key: value for key, value in member.options.items() if key in SAVED_OPTIONS}
    source = {"local": name} if kind == "local" else {"model": member.model}
    return {"name": member.name, "adapter": member.adapter, "options": options, **source}
