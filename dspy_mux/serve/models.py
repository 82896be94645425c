"""What is served under which name: each mux, and each of its members alone."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from functools import cached_property

import pydantic

from ..errors import ConfigurationError
from ..mux.ensemble import Ensemble
from ..mux.field_models import input_model, output_model
from ..mux.slm_mux import SLMMux
from ..sampling.members import check_members
from ..voting.rules import rule_of
from .chat import Chat, ChatKind


class ServedModel:
    """A mux under a name.

    Args:
        name: as clients ask for it.
        mux: of a program, or of `chat_mux`.
        member: the one member that it has, where it is one's alone.
        chat_barred: why it cannot be served for conversations instead; None if it can.

    Attributes:
        created: when it was loaded, in seconds since 1970.
        is_chat: whether it takes conversations as they are.
    """

    def __init__(
        self,
        name: str,
        mux: Ensemble,
        member: str | None = None,
        chat_barred: str | None = None,
    ):
        self.name, self.mux, self.member = name, mux, member
        self.chat_barred = chat_barred
        self.created = int(time.time())
        self.is_chat = isinstance(mux.programs[0], Chat)
        self._at: dict[float, Ensemble] = {}

    @property
    def mux_name(self) -> str:
        """The name of the mux that it is, or is a member of."""
        return self.name if self.member is None else self.name[: -len(self.member) - 1]

    @property
    def draws(self) -> int:
        """How many draws a question takes at most."""
        return sum(member.k or 1 for member in self.mux.members)

    @property
    def is_tuned(self) -> bool:
        """Whether its figures hold for its own temperatures alone."""
        return is_fitted(self.mux) or self.mux.pool.settings.threshold is not None

    @cached_property
    def inputs(self) -> type[pydantic.BaseModel]:
        """The program's inputs, as a model that validates them."""
        return input_model(self.mux.programs[0])

    @cached_property
    def outputs(self) -> type[pydantic.BaseModel]:
        """The program's outputs."""
        return output_model(self.mux.programs[0])

    def at_temperature(self, temperature: float) -> Ensemble:
        """Return the mux with draws at this temperature; one of each member at 0."""
        if temperature not in self._at:
            if len(self._at) >= 16:
                self._at.clear()
            copy = self.mux.deepcopy()
            copy.pool.members = check_members(
                [
                    dataclasses.replace(
                        member, temperature=temperature, k=member.k if temperature else 1
                    )
                    for member in copy.pool.members
                ]
            )
            self._at[temperature] = copy
        return self._at[temperature]


def is_fitted(mux: Ensemble) -> bool:
    """Return whether a mux's rule, or what its confidence means, was learned from labels."""
    return bool(getattr(mux.pool.rule, "members", ())) or mux.pool.scale is not None


def bars_chat(mux: Ensemble) -> str | None:
    """Return why a program's mux cannot take conversations, as a sentence; None where it can."""
    if is_fitted(mux):
        return (
            "The saved mux learned from its program's answers what its confidence means, which "
            "says nothing of conversations."
        )
    escalation = getattr(mux, "escalation", None)  # baselines have none
    if escalation is not None and escalation.member is None:
        return "A mux that escalates to a program cannot take conversations."
    return None


def served_models(muxes: Mapping[str, Ensemble]) -> dict[str, ServedModel]:
    """Return what is served: each mux by its name, each member alone as `NAME/MEMBER`.

    Raises:
        ConfigurationError: there is no mux, one is no mux, or two things would have one name.
    """
    if not muxes:
        raise ConfigurationError("There is no mux to serve.")
    models: dict[str, ServedModel] = {}
    for name, mux in muxes.items():
        for model in _of_mux(name, mux):
            if model.name in models:
                raise ConfigurationError(f"Two models would be called {model.name!r}.")
            models[model.name] = model
    return models


def _of_mux(name: str, mux: Ensemble) -> Iterator[ServedModel]:
    if not isinstance(mux, Ensemble):
        raise ConfigurationError(
            f"Only muxes and baselines are served, and {name!r} is a {type(mux).__name__}."
        )
    if not name or not name.isprintable() or any(sign in name for sign in " ?#%"):
        raise ConfigurationError(f"{name!r} cannot be a model's name: use letters, digits and .-_/")
    barred = bars_chat(mux)
    yield ServedModel(name, mux, chat_barred=barred)
    if isinstance(mux, SLMMux):
        for member in mux.pool.names:
            yield ServedModel(f"{name}/{member}", alone(mux, member), member, barred)


def alone(mux: SLMMux, member: str) -> SLMMux:
    """Return a mux of one member: its own draws, of which the most frequent answer counts."""
    copy = mux.deepcopy()
    copy.pool.rule, copy.pool.scale = rule_of("consistency"), None
    copy.pool.settings = dataclasses.replace(
        copy.pool.settings, threshold=None, otherwise="flag", escalates_to=None, schedule="full"
    )
    copy.escalation = None
    return copy.subset([member])


def kind_name(model: ServedModel) -> str:
    """Return how its answers are compared, in a word."""
    kind = model.mux.kind
    return kind.base.name if isinstance(kind, ChatKind) else kind.name
