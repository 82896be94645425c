"""llama.cpp's own sampling options, which no call of DSPy carries: they belong to an engine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from ..errors import ConfigurationError, first_mistake

#: llama.cpp reads nested parentheses recursively: a hundred thousand end the process.
_DEEPEST = 200
_LITERALS = re.compile(r'"(?:\\.|[^"\\])*"?|\[(?:\\.|[^\]\\])*\]?|#.*')


class EngineOptions(BaseModel):
    """Options of a local model, beside those that every `dspy.LM` takes.

    Attributes:
        min_p: tokens less probable than this share of the most probable one are not drawn; 0 to 1,
            llama.cpp's own is 0.05.
        repeat_penalty: divides the score of tokens that were drawn lately; 1 is off.
        grammar: a GBNF grammar that each answer follows.
        ignore_eos: answers go on to `max_tokens`.
        chat_template_kwargs: variables of the chat template, such as `{"enable_thinking": False}`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    min_p: float | None = Field(default=None, ge=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    grammar: str | None = Field(default=None, min_length=1, max_length=2**16)
    ignore_eos: bool | None = None
    chat_template_kwargs: dict[str, JsonValue] | None = Field(default=None, min_length=1)

    @field_validator("grammar")
    @classmethod
    def _check_depth(cls, grammar: str | None) -> str | None:
        depth = deepest = 0
        for character in _LITERALS.sub("", grammar or ""):
            depth += (character == "(") - (character == ")")
            deepest = max(deepest, depth)
        if deepest > _DEEPEST:
            raise ValueError(f"it has {deepest} parentheses within one another, {_DEEPEST} may be")
        return grammar

    @field_validator("chat_template_kwargs")
    @classmethod
    def _check_thinking(cls, variables: dict[str, JsonValue] | None) -> object:
        if not isinstance((variables or {}).get("enable_thinking", True), bool):
            raise ValueError("enable_thinking is True or False")
        return variables

    @classmethod
    def read(cls, values: Mapping[str, object], whose: str) -> EngineOptions:
        """Validate `values`.

        Raises:
            ConfigurationError: an unknown name or a wrong value; the message begins with `whose`.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(f"{whose} {first_mistake(error, OPTIONS)}") from error

    def given(self) -> dict[str, Any]:
        """Return the options that are set, as llama.cpp takes them."""
        return self.model_dump(exclude_none=True)

    def label(self) -> str:
        """Return what follows the model's name where it has options: "?min_p=0.1".

        DSPy's cache and the banks know a model by its name alone, so models whose options differ
        must have different ones. Texts and tables are given as hashes.
        """
        parts = []
        for name, value in self.given().items():
            text = json.dumps(value, sort_keys=True)
            if isinstance(value, (str, dict)):
                text = hashlib.sha256(text.encode()).hexdigest()[:8]
            parts.append(f"{name}={text}")
        return f"?{'&'.join(parts)}" if parts else ""


#: The options' names.
OPTIONS = tuple(EngineOptions.model_fields)
