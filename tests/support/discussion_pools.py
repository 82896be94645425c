"""Pools whose members answer by a script of rounds: what a member says depends on what it is
shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dspy

from tests.support.scripted import everything, scripted_lm

QA = dspy.Signature("question -> answer")


def speaker(
    name: str, alone: Any, briefed: Any = None, marker: str = "previous_answers", **settings: Any
) -> dspy.LM:
    """Answers `alone` where nothing is shown to it, and `briefed` (the same by default) where the
    field `marker` is."""

    def reply(prompt: str, draw: int) -> Any:
        value = briefed if briefed is not None and f"[[ ## {marker} ## ]]" in prompt else alone
        value = value(prompt, draw) if callable(value) else value
        return {"answer": value} if isinstance(value, str) else value

    return scripted_lm(name, reply, shown=everything, **settings)


def prompts(lm: dspy.LM) -> list[str]:
    return [everything(request) for request in lm.engine.requests]


def after(prompt: str, field: str) -> str:
    """What stands under a field's marker in the last place where it stands."""
    return prompt.rpartition(f"[[ ## {field} ## ]]\n")[2].partition("\n\n")[0].strip()


def drawing(*answers: Any) -> Callable[[str, int], Any]:
    """The answers of draw 0, 1, …"""
    return lambda _, draw: answers[min(draw, len(answers) - 1)]
