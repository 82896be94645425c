"""Saved muxes: what is saved beside the predictors, and the checks when it is loaded.

A saved mux may come from a stranger. It is data: validated before use, without keys and addresses,
and it names code only by words that are known here.
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
from ..answers.equivalence import AnswerKind
from ..errors import ConfigurationError, DataError, PoolMismatch, first_mistake
from ..local import LlamaEngine
from ..sampling.draw import OnError
from ..sampling.logprobs import AskLogprobs
from ..sampling.members import MOST_DRAWS, Member, check_members
from ..voting.ballot import Rule
from ..voting.confidence import RuleScale
from .code_hash import describe_kind
from .identity import identify
from .points import OperatingPoints, load_points
from .rollout import TakesRollouts
from .saved_checks import checked_accuracies, members_difference
from .saved_rule import check_asks, check_rule, load_rule, load_scale, rule_state

#: The order in which a mux draws; `SLMMux` documents the values.
Schedule = Literal["full", "frugal", "hedged"]
#: What becomes of an answer below the threshold.
Otherwise = Literal["flag", "abstain", "escalate"]

#: Settings of an LM that shape its draws and cannot hold a secret. Other settings are not saved.
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


class SavedProgram(BaseModel):
    """A program of one signature, as text from which it can be rebuilt."""

    module: Literal["predict", "chain_of_thought"]
    signature: str


class SavedMember(BaseModel):
    """A member's model and settings, without its key and its server's address."""

    model_config = ConfigDict(strict=True)

    name: str
    model: str
    k: int = Field(ge=1, lt=MOST_DRAWS)
    temperature: float = Field(ge=0, allow_inf_nan=False)
    adapter: str | None = None
    own_server: bool = False
    options: dict[str, Any] = {}


class MethodChoices(BaseModel):
    """The arguments of a method beside the pool, such as a number of rounds; saved and restored."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @classmethod
    def read(cls, values: Mapping[str, Any], whose: str) -> Self:
        """Validate `values`.

        Raises:
            ConfigurationError: a value is wrong; the message begins with `whose`.
        """
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise ConfigurationError(f"{whose} {first_mistake(error)}") from error


class SavedPool(BaseModel):
    """The state of a mux, as its JSON file holds it under `pool`.

    Attributes:
        compares: the user's own code that compares answers; None in a file from before it was
            saved.
    """

    model_config = ConfigDict(strict=True)

    method: str = "slm_mux"
    choices: dict[str, Any] = {}
    program: SavedProgram | None
    members: list[SavedMember] = Field(min_length=1)
    accuracies: dict[str, float] = {}
    rule: dict[str, Any]
    scale: dict[str, Any] | None = None
    points: dict[str, Any] | None = None
    equivalence: str
    compares: list[str] | None = None
    answer_field: str
    extract: Literal["lm"] | None = None
    timeout: float | None = Field(default=None, gt=0, le=threading.TIMEOUT_MAX)
    schedule: Schedule = "full"
    on_error: OnError | None = None
    logprobs: AskLogprobs | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)
    otherwise: Otherwise = "flag"
    escalates_to: str | None = None

    @classmethod
    def read(cls, state: object) -> SavedPool:
        """Validate `state`.

        Raises:
            DataError: it is not a saved pool, or a damaged one; the message says where.
        """
        try:
            return cls.model_validate(state)
        except pydantic.ValidationError as error:
            raise DataError(
                f"The saved mux {first_mistake(error).rstrip('.')}: "
                "it is damaged or another version's, save it again."
            ) from error


@dataclasses.dataclass(frozen=True)
class MuxDescription:
    """What a mux is built as; loading a saved state never changes it.

    Attributes:
        method: the name of the method, such as "slm_mux".
        kind: compares answers.
        program: the program as text; None where it is not a single signature.
    """

    method: str
    kind: AnswerKind
    answer_field: str
    program: SavedProgram | None

    @property
    def compares(self) -> list[str]:
        """What the user's own code is that compares answers; empty for the built-in kinds."""
        return describe_kind(self.kind, identify)


@dataclasses.dataclass
class MuxSettings:
    """What shapes a mux's answers beside its members; saved and restored."""

    extract: Literal["lm"] | None = None
    timeout: float | None = None
    schedule: Schedule = "full"
    on_error: OnError = "raise"
    logprobs: AskLogprobs = "auto"
    threshold: float | None = None
    otherwise: Otherwise = "flag"
    escalates_to: str | None = None

    def state(self) -> dict[str, Any]:
        """Return the settings to save; some only where they are not the default."""
        state = dataclasses.asdict(self)
        if self.otherwise != "escalate":  # a mux that could, and was loaded from one that does not
            state["escalates_to"] = None
        for name in ("on_error", "logprobs", "threshold", "otherwise", "escalates_to"):
            if state[name] == getattr(type(self), name):
                del state[name]
        return state


#: Settings that can be given anew when a saved mux is opened.
_CHANGEABLE = ("extract", "timeout", "on_error", "logprobs")


class PoolState(TakesRollouts, Parameter):
    """The pool of a mux.

    It is a DSPy parameter, so that a mux inside a larger program saves and loads too.

    Attributes:
        scale: what the confidence of the rule means, where that was fitted on labels and the rule
            does not say so itself.
        points: what the threshold can be, and was chosen from; None where nothing chose it.
    """

    def __init__(
        self,
        members: list[Member],
        rule: Rule | None,
        *,
        description: MuxDescription,
        choices: MethodChoices,
        accuracies: Mapping[str, float] | None,
        settings: MuxSettings,
    ):
        super().__init__()
        self.members, self.rule = members, rule
        self.description, self.choices, self.settings = description, choices, settings
        self.accuracies = checked_accuracies(accuracies, self.names)
        self.scale: RuleScale | None = None
        self.points: OperatingPoints | None = None

    @property
    def names(self) -> list[str]:
        return [member.label for member in self.members]

    def reset(self) -> None:
        """Keep the pool: optimizers reset demos and instructions only."""
        self.take_rollout(None, "The mux")

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        description = self.description
        return {
            "method": description.method,
            "choices": self.choices.model_dump(),
            "program": description.program and description.program.model_dump(),
            "members": [_member_state(member) for member in self.members],
            "accuracies": dict(self.accuracies),
            "rule": rule_state(self.rule),
            **({} if self.scale is None else {"scale": dataclasses.asdict(self.scale)}),
            **({} if self.points is None else {"points": self.points.as_dict()}),
            "equivalence": description.kind.name,
            "compares": description.compares,
            "answer_field": description.answer_field,
            **self.settings.state(),
        }

    def load_state(self, state: Mapping[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        saved = SavedPool.read(state)
        self._check_method(saved)
        self._check_members(saved)
        self._check_answers(saved)
        rule = None if self.rule is None else load_rule(saved.rule, self.rule)
        try:
            choices = type(self.choices).read(saved.choices, "The saved state")
            accuracies = checked_accuracies(saved.accuracies, self.names)
        except ConfigurationError as error:
            raise DataError(str(error)) from error
        members = check_members(
            [
                dataclasses.replace(member, k=entry.k, temperature=entry.temperature)
                for member, entry in zip(self.members, saved.members, strict=True)
            ]
        )
        check_rule(rule, members)
        self.accuracies, self.rule, self.members, self.choices = accuracies, rule, members, choices
        self.scale = None if saved.scale is None else load_scale(saved.scale)
        self.points = None if saved.points is None else load_points(saved.points)
        self.settings = MuxSettings(
            saved.extract,
            saved.timeout,
            saved.schedule,
            saved.on_error or self.settings.on_error,
            self.settings.logprobs if saved.logprobs is None else saved.logprobs,
            saved.threshold,
            saved.otherwise,
            self._escalation_of(saved),
        )
        check_asks(self.rule, self.members, self.settings.logprobs)

    def change(self, options: Mapping[str, Any]) -> None:
        """Replace loaded settings by those of a mux's arguments that are named."""
        changes = {name: options[name] for name in _CHANGEABLE if name in options}
        self.settings = dataclasses.replace(self.settings, **changes)
        check_asks(self.rule, self.members, self.settings.logprobs)
        if options.get("accuracies") is not None:
            self._refuse_change("accuracies")
            self.accuracies = checked_accuracies(options["accuracies"], self.names)
            self.scale = None  # other accuracies break ties otherwise

    def set_k(self, k: int | None) -> None:
        """Give each member another k; None leaves it.

        Raises:
            ConfigurationError: a member cannot draw so often, or the rule was fitted, or the
                threshold chosen, for another k.
        """
        if k is not None:
            members = check_members([dataclasses.replace(member, k=k) for member in self.members])
            check_rule(self.rule, members)
            self.check_points(members)
            self.members = members

    def check_points(self, members: Sequence[Member]) -> None:
        """Raise ConfigurationError if the threshold was chosen for other members or another k."""
        if self.points is not None and self.settings.threshold is not None:
            self.points.check_members([(member.label, member.k or 1) for member in members])

    def _refuse_change(self, what: str) -> None:
        if self.points is not None and self.settings.threshold is not None:
            raise ConfigurationError(
                f"The threshold of this mux was chosen for its own {what}: compile it again with "
                "others, or leave them out."
            )

    def _escalation_of(self, saved: SavedPool) -> str | None:
        """Return what a loaded mux escalates to: what it was given, which must be the saved one."""
        if saved.escalates_to is not None and saved.escalates_to != self.settings.escalates_to:
            ours = self.settings.escalates_to
            raise PoolMismatch(
                f"The saved mux escalates to {saved.escalates_to!r}, this one to "
                f"{'nothing' if ours is None else repr(ours)}: pass it as escalate=, or as "
                "[escalate] of the pool file."
            )
        return self.settings.escalates_to

    def _check_method(self, saved: SavedPool) -> None:
        if saved.method != self.description.method:
            raise PoolMismatch(
                f"What was saved is of the method {saved.method!r}, "
                f"this is {self.description.method!r}: load it into the class that saved it."
            )

    def _check_members(self, saved: SavedPool) -> None:
        theirs = [(entry.name, entry.model) for entry in saved.members]
        ours = [(member.label, member.lm.model) for member in self.members]
        if (difference := members_difference(theirs, ours)) is not None:
            raise PoolMismatch(difference)
        for entry, member in zip(saved.members, self.members, strict=True):
            adapter = adapter_name(member.adapter)
            if entry.adapter != adapter:
                raise PoolMismatch(
                    f"The saved mux talks to its member {entry.name!r} through the adapter "
                    f"{entry.adapter or 'default'!r}, this one through {adapter or 'default'!r}: "
                    "load it into a mux with the same adapters."
                )

    def _check_answers(self, saved: SavedPool) -> None:
        ours = self.description
        if saved.equivalence != ours.kind.name:
            raise PoolMismatch(
                f"The saved mux compares answers by {saved.equivalence!r}, this one by "
                f"{ours.kind.name!r}: load it into a mux with the same answer type and "
                "equivalence."
            )
        if saved.compares is not None and saved.compares != ours.compares:
            theirs, own = (
                ", ".join(code) or f"the built-in {saved.equivalence}"
                for code in (saved.compares, ours.compares)
            )
            raise PoolMismatch(
                f"The saved mux compares answers by {theirs[:200]!r}, this one by {own!r}: build "
                "this one with the saved equivalence."
            )
        if saved.answer_field != ours.answer_field:
            raise PoolMismatch(
                f"The saved mux compares the field {saved.answer_field!r}, this one "
                f"{ours.answer_field!r}: build this one with answer_field={saved.answer_field!r}."
            )


def _member_state(member: Member) -> dict[str, Any]:
    settings = member.lm.kwargs
    engine = getattr(member.lm, "engine", None)
    own = engine.options.given() if isinstance(engine, LlamaEngine) else {}
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
        }
        | own,
    }


def _is_json(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
