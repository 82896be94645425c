"""One draw of one model: what a program gives without any method."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import dspy
from typing_extensions import Unpack

from ..errors import ConfigurationError
from ..mux.options import SharedOptions
from ..mux.saved import checked_accuracies
from ..mux.slm_mux import SLMMux
from ..sampling.members import Member, Pool, build_pool


class OneMember(SLMMux):
    """The base of what draws from one member of a pool."""

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        member: str | None,
        k: int,
        temperature: float,
        **shared: Unpack[SharedOptions],
    ):
        pool = build_pool(lms, k=k, temperature=temperature, adapter=None)
        accuracies = checked_accuracies(shared.get("accuracies"), [each.label for each in pool])
        chosen = _chosen(pool, member, accuracies, type(self).__name__)
        shared["accuracies"] = {
            name: value for name, value in accuracies.items() if name == chosen.label
        }
        super().__init__(
            program, [chosen], k=k, temperature=temperature, rule="self_consistency", **shared
        )


class SingleModel(OneMember):
    """One draw of one member.

    Args:
        member: whose, where the pool has several; by default the one of the highest of the `accuracies`.
        temperature: of the draw.
        program, lms and the other arguments: as for `SLMMux`.

    Raises:
        ConfigurationError: several members, and neither `member` nor `accuracies` says which.
    """

    method: ClassVar[str] = "single_model"

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        member: str | None = None,
        temperature: float = 0.3,
        **shared: Unpack[SharedOptions],
    ):
        super().__init__(program, lms, member=member, k=1, temperature=temperature, **shared)
        self.pool.members = [dataclasses.replace(self.members[0], k=1)]


def _chosen(
    members: list[Member], name: str | None, accuracies: dict[str, float], method: str
) -> Member:
    names = [member.label for member in members]
    if name is None and len(members) > 1:
        known = [each for each in names if each in accuracies]
        if not known:
            raise ConfigurationError(
                f"{method} draws from one member: name it with member= (one of {', '.join(names)}), or give the accuracies that "
                "say which is best."
            )
        name = max(known, key=accuracies.__getitem__)
    if name is not None and name not in names:
        raise ConfigurationError(
            f"member={name!r} is not a member of the pool ({', '.join(names)})."
        )
    return members[0] if name is None else members[names.index(name)]
