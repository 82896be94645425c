"""Number the draws of a question so that no two of them are one: rollouts and seeds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import dspy

from .content import content
from .members import Member

#: The draws around this one, outermost first, when a mux runs inside a mux: (member, rollout id).
lineage: ContextVar[tuple[tuple[str, int], ...]] = ContextVar("dspy_mux_lineage", default=())


def first_rollout_id() -> int:
    """Return 0, or within another rollout a number that no other rollout arrives at.

    So k draws share their cache entries with the first k of more draws, a mux inside a mux draws
    anew in every outer draw, and an optimizer that asks for a fresh rollout gets one.
    """
    outer: object = lineage.get() or getattr(dspy.settings.lm, "kwargs", {}).get("rollout_id")
    if outer is None or outer == ():
        return 0
    return int.from_bytes(hashlib.sha256(repr(outer).encode()).digest()[:6], "big")


def first_seed(member: Member, inputs: Mapping[str, Any]) -> int:
    """Return the seed of a member's first draw for a question; further draws have the next ones.

    With one seed for all questions, a draw that is far out once would be so for every question.
    """
    asked = [member.label, sorted(inputs.items())]
    try:
        question = json.dumps(asked, default=content)
    except (TypeError, ValueError):  # such as keys that JSON has no form of
        question = json.dumps(content(asked))
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big")
