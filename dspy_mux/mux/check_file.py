"""Check the members of a pool file, also where some of them cannot be built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from ..errors import ConfigurationError, LocalModelError, MissingExtra
from ..sampling.members import Member
from ..text import first_line
from .check import check_pool
from .member_check import MemberCheck
from .member_entry import MemberEntry
from .pool_file import PoolFile
from .signature_text import parse_signature

#: Seconds that one answer may take, where the file does not say.
PATIENCE_S = 60.0

#: A member, or the result of its check where it cannot be built.
Built: TypeAlias = Member | MemberCheck


def built_members(file: PoolFile, *, accept_license: bool = False) -> list[Built]:
    """Build a pool file's members and the model that it escalates to, in this order.

    Weights are fetched, and on a terminal whoever sits there is asked to accept their terms.

    Args:
        accept_license: accept the terms of embedded weights that ask for it.

    Raises:
        ConfigurationError: the settings of the file cannot work together.
    """
    entries = [*file.members, *([] if file.escalate is None else [file.escalate])]
    built = [_built(entry, accept_license=accept_license) for entry in entries]
    if not any(isinstance(one, MemberCheck) for one in built):
        file.mux(accept_license=accept_license)  # raises what asking the pool would
    return built


def check_file(
    file: PoolFile,
    built: Sequence[Built],
    *,
    question: str | Mapping[str, Any] | None = None,
    timeout: float | None = None,
    on_checked: Callable[[MemberCheck], object] = lambda check: None,
) -> list[MemberCheck]:
    """Check a pool file's members and the model that it escalates to; see `check_pool`.

    A member that cannot be built, since its key's variable is not set, say, does not keep the
    others from being asked.

    Args:
        built: the file's `built_members`.
        timeout: replaces the file's.

    Raises:
        ConfigurationError: the question does not fit the file's program.
    """
    for one in built:
        if isinstance(one, MemberCheck):
            on_checked(one)
    pool = [file.completed(one) for one in built[: len(file.members)] if isinstance(one, Member)]
    large = [one for one in built[len(file.members) :] if isinstance(one, Member)]
    checks = iter(
        check_pool(
            pool or large,
            parse_signature(file.program),
            question=question,
            temperature=file.temperature,
            escalate=large[0] if pool and large else None,
            timeout=timeout or file.timeout or PATIENCE_S,
            on_checked=on_checked,
        )
        if pool or large
        else []
    )
    found = [one if isinstance(one, MemberCheck) else next(checks) for one in built]
    return [
        dataclasses.replace(check, escalates=at >= len(file.members))
        for at, check in enumerate(found)
    ]


def _built(entry: MemberEntry, *, accept_license: bool) -> Built:
    name = entry.name or entry.local or entry.model or ""
    try:
        return entry.member(accept_license=accept_license)
    except (ConfigurationError, LocalModelError, MissingExtra) as error:
        problem = first_line(error).removeprefix(f"Member {name!r} ")
        return MemberCheck(name, entry.local or entry.model or "", problem=problem)
