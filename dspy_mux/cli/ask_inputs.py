"""What a question is made of: a program's inputs, as somebody types them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from ..errors import ConfigurationError, DataError

if TYPE_CHECKING:
    import dspy


class InputFields:
    """The inputs of a program, some of which are given once for all questions.

    Args:
        given: texts by name.
        of_rule: an input that only the mux's rule reads; questions may have it.

    Attributes:
        open: the names of those that each question has to say.

    Raises:
        ConfigurationError: a given input is none of the program's, or has no such value.
    """

    def __init__(self, program: dspy.Module, given: Mapping[str, str], of_rule: str | None = None):
        from ..mux.field_models import input_model

        self._model = input_model(program)
        fields = self._model.model_fields
        self._kinds: dict[str, Any] = {name: info.annotation for name, info in fields.items()}
        self._of_rule = None if of_rule in fields else of_rule
        if self._of_rule is not None:
            self._kinds[self._of_rule] = str
        unknown = [name for name in given if name not in self._kinds]
        if unknown:
            raise ConfigurationError(
                f"The program has no input {unknown[0]!r}; it takes {', '.join(self._kinds)}."
            )
        self._given = {name: self._value(name, text) for name, text in given.items()}
        required = [name for name, info in fields.items() if info.is_required()]
        self.open = [name for name in required if name not in given]
        if not required and not given:
            self.open = list(fields)

    def of_question(self, text: str) -> dict[str, Any]:
        """Return the inputs of a question that is one text.

        Raises:
            ConfigurationError: more than one input is open, or none, or it cannot be that text.
        """
        if len(self.open) != 1:
            raise ConfigurationError(
                f"The program takes {len(self.open)} inputs ({', '.join(self.open)}), and a "
                "question is one of them: give the others with --input NAME=VALUE."
                if self.open
                else "All inputs are given with --input: leave the question out."
            )
        return self.of_texts({self.open[0]: text})

    def of_texts(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the inputs of a question, one text for each open input.

        Raises:
            ConfigurationError: an input cannot be its text.
        """
        return self._checked({name: self._value(name, text) for name, text in texts.items()})

    def of_line(self, line: str) -> dict[str, Any]:
        """Return the inputs of a question on a line: a text, or a JSON object of several inputs.

        Raises:
            DataError: several inputs are open, and it is no such object.
            ConfigurationError: an input is missing, unknown or wrong.
        """
        if len(self.open) == 1:
            return self.of_question(line)
        value = _json(line)
        if not isinstance(value, dict):
            raise DataError(f"The line is not a JSON object with {', '.join(self.open)}.")
        return self._checked(value)

    def _value(self, name: str, text: str) -> Any:
        """Return a text as the input's value: JSON, where the input is not a text itself."""
        if _is_text(self._kinds[name]):
            return text
        value = _json(text)
        return text if value is None and text.strip() != "null" else value

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Any]:
        import pydantic

        from ..mux.field_models import given_values, input_fault

        values = {**self._given, **values}
        rest = {name: values.pop(name) for name in [self._of_rule] if name in values}
        try:
            read = self._model.model_validate(values)
        except (TypeError, pydantic.ValidationError) as error:
            raise ConfigurationError(input_fault(error)) from error
        return {**given_values(read), **rest}


def parse_inputs(texts: Sequence[str]) -> dict[str, str]:
    """Parse the values of `--input`.

    Raises:
        ConfigurationError: one is not NAME=VALUE, or a name comes twice.

    >>> parse_inputs(["context=a = b", "n=3"])
    {'context': 'a = b', 'n': '3'}
    """
    given: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise ConfigurationError(f"--input takes NAME=VALUE, such as context=…, not {text!r}.")
        if name.strip() in given:
            raise ConfigurationError(f"--input names {name.strip()!r} twice.")
        given[name.strip()] = value
    return given


def _is_text(kind: Any) -> bool:
    """Return whether an input of this type is the text as it is typed."""
    if kind in (str, Any):
        return True
    either = get_origin(kind) in (Union, UnionType)
    return either and set(get_args(kind)) <= {str, type(None)}


def _json(text: str) -> Any:
    """Return the JSON value in a text; None where it holds none."""
    from pydantic_core import from_json

    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        return None
