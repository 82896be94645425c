"""Open a mux from files: a pool file, a saved mux, or both; load a program that contains one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import dspy

from ..errors import ConfigurationError
from ..sampling.members import Member, Pool, members_of
from ..voting.ballot import Rule
from .ensemble import Ensemble
from .options import SharedOptions
from .pool_file import PoolFile, load_pool
from .program import copy_for_a_member
from .saved import SavedPool
from .saved_file import arranged, load_errors, read_json, read_saved
from .saved_rule import check_is_saved, is_saved_as
from .slm_mux import SLMMux
from .traces import mark_members

Program = TypeVar("Program", bound=dspy.Module)


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
        mux = PoolFile.load(pool).mux(accept_license=accept_license, **changes)
        mux.pool.set_k(k)
        return mux
    members = None if pool is None else load_pool(pool, accept_license=accept_license)
    return SLMMux.from_file(
        saved,
        members,
        k=k,
        escalate=_escalate_of(pool, saved, accept_license=accept_license),
        accept_license=accept_license,
        **changes,
    )


def _escalate_of(pool: Path | None, saved: Path, *, accept_license: bool) -> Member | None:
    """Return the pool file's large model where the saved mux asks for one."""
    entry = None if pool is None else PoolFile.load(pool).escalate
    if entry is None or read_saved(saved).escalates_to is None:
        return None
    return entry.member(accept_license=accept_license)


def load_program(
    program: Program,
    path: str | os.PathLike[str],
    lms: Pool | None = None,
    *,
    rule: Rule | None = None,
) -> Program:
    """Load a saved program that contains a mux, as `program.load(path)` does for any other.

    The muxes in the program may have their members in any order, and more than were saved, such as
    those that an optimizer left out.

    Args:
        program: built as the saved one was; it is changed in place, and returned.
        path: what `program.save("program.json")` wrote.
        lms: the pool to take the members from; None for those that each mux has.
        rule: an object of your own, for the muxes that were saved with it; None where the program
            is built with it.

    Raises:
        ConfigurationError: the program is not a module, or has no mux that the file holds.
        DataError: the file is missing, damaged, or holds no mux.
        PoolMismatch: a mux was saved with a member that its pool lacks, or differs otherwise; or
            none was saved with `rule`.

    >>> import tempfile
    >>> lms = {name: dspy.utils.DummyLM([{"answer": name}]) for name in ("a", "b")}
    >>> class Pipeline(dspy.Module):
    ...     def __init__(self, mux):
    ...         super().__init__()
    ...         self.mux = mux
    >>> path = tempfile.mkdtemp() + "/pipeline.json"
    >>> Pipeline(SLMMux("question -> answer", lms).subset(["b"])).save(path)
    >>> load_program(Pipeline(SLMMux("question -> answer", lms)), path).mux.pool.names
    ['b']
    """
    if not isinstance(program, dspy.Module):
        raise ConfigurationError(
            f"load_program takes a program first, an instance of dspy.Module, not {program!r}."
        )
    file = Path(path)
    content = read_json(file)
    muxes = {id(mux.pool): mux for _, mux in program.named_sub_modules(Ensemble)}
    states = {
        name: (muxes[id(part)], SavedPool.read(content[name]))
        for name, part in program.named_parameters()
        if id(part) in muxes and name in content
    }
    if not states:
        raise ConfigurationError(
            f"{str(file)!r} and this program have no mux in common: build the program as it was "
            "when it was saved, or call its own load(path)."
        )
    before = [(mux, mux.pool.members, mux.programs, mux.pool.rule) for mux, _ in states.values()]
    try:
        if rule is not None:
            _hand_in(rule, list(states.values()))
        for mux, state in states.values():
            pool = mux.members if lms is None else members_of(lms)
            _arrange(mux, arranged(state, pool, file))
        with load_errors(file):
            program.load(file)
    except BaseException:
        for mux, members, programs, own in before:
            mux.pool.members, mux.programs, mux.pool.rule = members, programs, own
            mark_members(programs)
        raise
    return program


def _hand_in(rule: Rule, states: Sequence[tuple[Ensemble, SavedPool]]) -> None:
    """Give the rule to the muxes that were saved with it."""
    saved_with_it = [mux for mux, state in states if is_saved_as(rule, state.rule)]
    if not saved_with_it:
        check_is_saved(rule, states[0][1].rule)
    for mux in saved_with_it:
        mux.pool.rule = rule


def _arrange(mux: Ensemble, members: Sequence[Member]) -> None:
    """Give a mux these members, each with its program; a new one with a copy of the first."""
    programs = dict(zip(mux.pool.names, mux.programs, strict=True))
    first = mux.programs[0]
    mux.programs = [
        programs.get(member.label) or copy_for_a_member(first, at)
        for at, member in enumerate(members)
    ]
    mark_members(mux.programs)
    mux.pool.members = list(members)
