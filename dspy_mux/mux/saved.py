"""What a mux saves beside its predictors: its members, accuracies and rule, and the checks when they are loaded again.

A saved mux is data and may come from a stranger: it is validated before anything in it is used, holds no key and no address, and
names code only by words that are known here.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pydantic
from dspy.predict.parameter import Parameter
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import Self

from ..adapters.formats import adapter_name
from ..errors import ConfigurationError, PoolMismatch, first_mistake
from ..sampling.members import MOST_DRAWS, Member, check_members
from ..voting.ballot import OfMembers, Rule
from ..voting.calibrated import Calibrated
from ..voting.early_stopping import Budgeted
from ..voting.rules import RULES

#: In which order a mux draws; `SLMMux` tells what they mean.
Schedule = Literal["full", "frugal", "hedged"]

#: Settings of an LM that shape its draws and can hold no secret; other settings of an LM are not saved.
SAVED_OPTIONS = (
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "top_k",
    "min_p",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "repeat_penalty",
    "reasoning_effort",
)


#: Rules that are saved whole; any other is saved by its name alone.
_SAVED_RULES: dict[str, type[Any]] = {**RULES, "calibrated": Calibrated, "budgeted": Budgeted}


class SavedProgram(BaseModel):
    """A program of one signature, as text from which it can be built again."""

    module: Literal["predict", "chain_of_thought"]
    signature: str


class SavedMember(BaseModel):
    """A member: what draws are made of, without the key and the address of its server."""

    model_config = ConfigDict(strict=True)

    name: str
    model: str
    k: int = Field(ge=1, lt=MOST_DRAWS)
    temperature: float = Field(ge=0, allow_inf_nan=False)
    adapter: str | None = None
    own_server: bool = False
    options: dict[str, Any] = {}


class Choices(BaseModel):
    """What a method leaves to its user beside the pool, such as a number of rounds; saved, and restored."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def read(cls, values: Mapping[str, Any], whose: str) -> Self:
        """`values`, validated; raises ConfigurationError with a sentence that begins with `whose`."""
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise ConfigurationError(f"{whose} {first_mistake(error)}") from error


class SavedPool(BaseModel):
    """The state of a mux, as its JSON file holds it under `pool`."""

    model_config = ConfigDict(strict=True)

    method: str = "slm_mux"
    choices: dict[str, Any] = {}
    program: SavedProgram | None
    members: list[SavedMember] = Field(min_length=1)
    accuracies: dict[str, float] = {}
    rule: dict[str, Any]
    equivalence: str
    answer_field: str
    extract: Literal["lm"] | None = None
    timeout: float | None = Field(default=None, gt=0, le=threading.TIMEOUT_MAX)
    schedule: Schedule = "full"

    @classmethod
    def read(cls, state: Any) -> SavedPool:
        """`state`, validated.

        Raises:
            ConfigurationError: it is no saved pool, or a damaged one; the sentence says where.
        """
        try:
            return cls.model_validate(state)
        except pydantic.ValidationError as error:
            raise ConfigurationError(
                f"The saved mux {first_mistake(error).rstrip('.')}: it is damaged or another version's, save it again."
            ) from error


@dataclasses.dataclass
class Settings:
    """What shapes a mux's answers beside its members: all of it is saved and restored."""

    extract: Literal["lm"] | None = None
    timeout: float | None = None
    schedule: Schedule = "full"


class PoolState(Parameter):
    """The pool of a mux. A DSPy parameter, so that a mux inside a larger program saves and loads too."""

    def __init__(
        self,
        members: list[Member],
        rule: Rule | None,
        *,
        method: str,
        choices: Choices,
        accuracies: Mapping[str, float] | None,
        settings: Settings,
        equivalence: str,
        answer_field: str,
        program: dict[str, str] | None,
    ):
        self.members, self.rule, self.settings, self.program = members, rule, settings, program
        self.method, self.choices = method, choices
        self.equivalence, self.answer_field = equivalence, answer_field
        self.accuracies = checked_accuracies(accuracies, self.names)

    @property
    def names(self) -> list[str]:
        return [member.label for member in self.members]

    def reset(self) -> None:
        """Optimizers reset demos and instructions; the pool stays."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        rule: Any = self.rule
        told = (
            {}
            if rule is None
            else dataclasses.asdict(rule)
            if type(rule) in _SAVED_RULES.values()
            else {"name": rule.name}
        )
        return {
            "method": self.method,
            "choices": self.choices.model_dump(),
            "program": self.program,
            "members": [_saved(member) for member in self.members],
            "accuracies": dict(self.accuracies),
            "rule": told,
            "equivalence": self.equivalence,
            "answer_field": self.answer_field,
            **dataclasses.asdict(self.settings),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        saved = SavedPool.read(state)
        if saved.method != self.method:
            raise PoolMismatch(
                f"What was saved is of the method {saved.method!r}, this is {self.method!r}: load it into the class that saved it."
            )
        theirs = [(entry.name, entry.model) for entry in saved.members]
        ours = [(member.label, member.lm.model) for member in self.members]
        if theirs != ours:
            raise PoolMismatch(
                f"The saved mux has the members {_listed(theirs)}, this one {_listed(ours)}: load it into a mux of the same "
                "members in the same order."
            )
        for entry, member in zip(saved.members, self.members, strict=True):
            if entry.adapter != adapter_name(member.adapter):
                raise PoolMismatch(
                    f"The saved mux talks to its member {entry.name!r} through the adapter {entry.adapter or 'default'!r}, this "
                    f"one through {adapter_name(member.adapter) or 'default'!r}: load it into a mux with the same adapters."
                )
        if saved.equivalence != self.equivalence:
            raise PoolMismatch(
                f"The saved mux compares answers by {saved.equivalence!r}, this one by {self.equivalence!r}: load it into a mux "
                "with the same answer type and equivalence."
            )
        if saved.answer_field != self.answer_field:
            raise PoolMismatch(
                f"The saved mux compares the field {saved.answer_field!r}, this one {self.answer_field!r}: build this one with "
                f"answer_field={saved.answer_field!r}."
            )
        rule = None if self.rule is None else self._saved_rule(dict(saved.rule), self.rule)
        choices = type(self.choices).read(saved.choices, "The saved state")
        members = check_members(
            [
                dataclasses.replace(member, k=entry.k, temperature=entry.temperature)
                for member, entry in zip(self.members, saved.members, strict=True)
            ]
        )
        accuracies = checked_accuracies(saved.accuracies, self.names)
        check_rule(rule, members)
        self.accuracies, self.rule, self.members, self.choices = accuracies, rule, members, choices
        self.settings = Settings(saved.extract, saved.timeout, saved.schedule)

    def _saved_rule(self, saved: dict[str, Any], ours: Rule) -> Rule:
        name = saved.pop("name", None)
        if name in _SAVED_RULES:
            try:
                rule: Rule = pydantic.TypeAdapter(_SAVED_RULES[name]).validate_python(saved)
            except pydantic.ValidationError as error:
                raise ConfigurationError(
                    f"The rule of the saved mux {first_mistake(error)}"
                ) from error
            return rule
        if name != ours.name:
            raise PoolMismatch(
                f"The saved mux uses the rule {name!r}, which is not one of ours: load it into a mux built with that rule object."
            )
        return ours


#: What DSPy saves of a predictor.
_OF_A_PREDICTOR = {"traces", "train", "demos", "signature", "fields", "lm"}


def check_predictors(state: Mapping[str, Any]) -> None:
    """Check the saved predictors of a mux before DSPy loads them: it sets whatever attributes stand there.

    Raises:
        ConfigurationError: one has more than its demos and its signature, such as a language model or settings of its own, which
            could lead to another server.
    """
    for name, saved in state.items():
        if name in ("metadata", "pool") or name.endswith(".pool"):
            continue
        own = sorted(set(saved) - _OF_A_PREDICTOR) if isinstance(saved, Mapping) else []
        if not isinstance(saved, Mapping) or own or saved.get("lm") is not None:
            told = own[0] if own else "lm"
            raise ConfigurationError(
                f"The saved mux holds {told!r} for its predictor {name!r}, which no mux has: do not trust it."
            )


def check_rule(rule: Rule | None, members: Sequence[Member]) -> None:
    """Raises ConfigurationError where the rule was made for other members or draws: nothing is drawn that it cannot judge."""
    if isinstance(rule, OfMembers):
        rule.check_members([(member.label, member.k or 1) for member in members])


def checked_accuracies(
    accuracies: Mapping[str, float] | None, names: Sequence[str]
) -> dict[str, float]:
    """`accuracies` as a dict of floats.

    Raises:
        ConfigurationError: one names no member, or is no fraction between 0 and 1.
    """
    for name, accuracy in (accuracies or {}).items():
        if name not in names:
            raise ConfigurationError(
                f"accuracies names {name!r}, which is no member of the pool ({', '.join(names)})."
            )
        if (
            isinstance(accuracy, bool)
            or not isinstance(accuracy, (int, float))
            or not 0 <= accuracy <= 1
        ):
            raise ConfigurationError(
                f"The accuracy of {name!r} must be a fraction between 0 and 1, not {accuracy!r}."
            )
    return {name: float(accuracy) for name, accuracy in (accuracies or {}).items()}


def _saved(member: Member) -> dict[str, Any]:
    settings = member.lm.kwargs
    return {
        "name": member.name,
        "model": member.lm.model,
        "k": member.k,
        "temperature": member.temperature,
        "adapter": adapter_name(member.adapter),
        "own_server": any(settings.get(key) for key in ("api_base", "base_url")),
        "options": {
            name: settings[name]
            for name in SAVED_OPTIONS
            if settings.get(name) is not None and _is_json(settings[name])
        },
    }


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _listed(members: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({model})" if name != model else name for name, model in members)
