"""Rollouts of a mux: what `set_lm` can mean where every member keeps its own LM.

DSPy's BestOfN, Refine and SIMBA run a program again by setting the LM that they find to a copy of
it that differs in rollout and temperature. A mux takes that as a wish for fresh draws of all its
members, and refuses any other LM: it would make all members the same model.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import dspy

from ..errors import ConfigurationError
from ..sampling.keyless import KeylessLM
from ..sampling.members import Member

_IN_A_PROGRAM = "The mux of this program"
#: The functions by which DSPy collects a program's parameters.
_PARAMETER_WALK = ("named_parameters", "add_parameter")


class PoolLM(dspy.BaseLM):
    """Stands for the LMs of a whole pool: it can be copied for a rollout, and not be called."""

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(f"mux of {', '.join(names)}")

    def __call__(self, *args: Any, **settings: Any) -> NoReturn:
        raise ConfigurationError(
            f"The LM of the {self.model} stands for all its members and answers nothing itself: "
            "call the mux, or the LM of one of its members."
        )

    acall = __call__

    def __deepcopy__(self, memo: dict[int, Any]) -> PoolLM:
        return self


class TakesRollouts(dspy.Module):
    """The part of a pool that DSPy's `set_lm` and `get_lm` meet, also those of a larger program.

    They visit every module that is a parameter.
    """

    #: The LM whose rollout the pool draws by; None for the first.
    rollout: dspy.BaseLM | None = None

    @property
    def lm(self) -> dspy.BaseLM | None:
        if self.rollout is None and dspy.settings.lm is None:
            raise ConfigurationError(
                "This program contains a mux, whose members each have an LM of their own, and no "
                "other LM is configured: call dspy.configure(lm=…) first, then its copies say "
                "which rollout of the program is meant."
            )
        return self.rollout

    @lm.setter
    def lm(self, lm: dspy.BaseLM | None) -> None:
        self.take_rollout(lm, _IN_A_PROGRAM)

    def take_rollout(self, lm: dspy.BaseLM | None, whose: str, kind: str = "mux") -> None:
        """Draw by this rollout from now on; None for the first one.

        Raises:
            ConfigurationError: `lm` is no rollout of the configured LM, or of the pool.
        """
        _refuse_other_lms(lm, whose, kind)
        self.rollout = lm

    def stands_for_predictors(self) -> bool:
        """Return whether DSPy asks for parameters to set or to get their LM.

        There, a pool stands for the predictors of its members too: an LM set on them would be saved
        with them, and pickled with its key.

        Raises:
            ConfigurationError: the LM to be set is no rollout; before it is set anywhere.
        """
        frame = sys._getframe(1)
        while frame is not None and frame.f_code.co_name in _PARAMETER_WALK:
            frame = frame.f_back  # type: ignore[assignment]
        code = None if frame is None else frame.f_code
        if code is dspy.Module.set_lm.__code__:
            _refuse_other_lms(frame.f_locals.get("lm"), _IN_A_PROGRAM)
            return True
        return code is dspy.Module.get_lm.__code__

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if self.rollout is not None:
            state["rollout"] = KeylessLM(self.rollout)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        rollout = state.get("rollout")
        if isinstance(rollout, KeylessLM):  # a copy that was never a pickle
            state = {**state, "rollout": rollout.lm}
        super().__setstate__(state)

    def as_drawn(self) -> AbstractContextManager[Any]:
        """Return the context in which draws begin: they number their rollouts by its LM."""
        rollout, configured = self.rollout, dspy.settings.lm
        if rollout is None:
            return nullcontext()
        if isinstance(rollout, PoolLM) and configured is not None:
            # A rule may ask the configured LM.
            shared = ("rollout_id", "temperature")
            settings = {name: rollout.kwargs[name] for name in shared if name in rollout.kwargs}
            rollout = configured.copy(**settings)
        return dspy.context(lm=rollout)

    def drawn_from(self, member: Member) -> Member:
        """Return the member that draws.

        Within a rollout a greedy one draws at the rollout's temperature, as its own draws would all
        be the same.
        """
        temperature = None if self.rollout is None else self.rollout.kwargs.get("temperature")
        if member.temperature or not temperature:
            return member
        return dataclasses.replace(member, temperature=temperature)


def _refuse_other_lms(lm: dspy.BaseLM | None, whose: str, kind: str = "mux") -> None:
    if not (lm is None or isinstance(lm, PoolLM) or _is_rollout(lm, dspy.settings.lm)):
        raise ConfigurationError(
            f"{whose} keeps one LM per member, so set_lm would make all members the same "
            f"model: build a new {kind} with other lms instead."
        )


def _is_rollout(lm: object, of: object) -> bool:
    """Return whether an LM is another one but for its rollout and temperature."""
    if not isinstance(lm, dspy.BaseLM) or not isinstance(of, dspy.BaseLM):
        return False
    return lm.kwargs.get("rollout_id") is not None and _identity(lm) == _identity(of)


def _identity(lm: dspy.BaseLM) -> tuple[Any, ...]:
    settings = {
        name: value
        for name, value in lm.kwargs.items()
        if name not in ("rollout_id", "temperature")
    }
    return type(lm), lm.model, lm.model_type, settings
