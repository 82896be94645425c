"""`SingleModel`: one draw of one member, a program without any method."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import dspy
from typing_extensions import Unpack

from ..errors import ConfigurationError
from ..mux.options import SharedOptions
from ..mux.saved_checks import checked_accuracies
from ..mux.slm_mux import SLMMux
from ..sampling.members import Member, Pool, build_pool


class OneMember(SLMMux):
    """The base of methods that draw from one member of the pool."""

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
        names = [candidate.label for candidate in pool]
        accuracies = checked_accuracies(shared.get("accuracies"), names)
        chosen = _chosen(pool, member, accuracies, type(self).__name__)
        shared["accuracies"] = {
            name: value for name, value in accuracies.items() if name == chosen.label
        }
        super().__init__(
            program, [chosen], k=k, temperature=temperature, rule="self_consistency", **shared
        )


class SingleModel(OneMember):
    """Return one draw of one member.

    Args:
        member: the member's name in a pool of several; by default that of the highest accuracy.
        temperature: of the draw.
        program, lms and the other arguments: as for `SLMMux`.

    Raises:
        ConfigurationError: several members, and neither `member` nor `accuracies` says which.

    >>> import dspy
    >>> lms = {name: dspy.utils.DummyLM([{"answer": name}]) for name in ("small", "tiny")}
    >>> program = dspy.Predict("question -> answer")
    >>> pred = SingleModel(program, lms, accuracies={"small": 0.8, "tiny": 0.6})(question="?")
    >>> pred.verdict.member, pred.verdict.calls
    ('small', 1)
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
        known = [label for label in names if label in accuracies]
        if not known:
            raise ConfigurationError(
                f"{method} draws from one member: name it with member= "
                f"(one of {', '.join(names)}), or give the accuracies that say which is best."
            )
        name = max(known, key=accuracies.__getitem__)
    if name is not None and name not in names:
        raise ConfigurationError(
            f"member={name!r} is not a member of the pool ({', '.join(names)})."
        )
    return members[0] if name is None else members[names.index(name)]
