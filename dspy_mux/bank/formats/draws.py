"""What readers of formats share: texts, log-probabilities, ids, and a choice among scores."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ...errors import ConfigurationError, DataError, MuxError
from ...text import first_line, shortened

#: What a row is called in messages: a number, or the name that its file gives it.
Place: TypeAlias = int | str


class Fault(ValueError):
    """What is wrong with a part of a file: the end of a sentence that begins with its place."""


@dataclass
class Context:
    """What a reader knows beside the file.

    Attributes:
        path: the file's.
        noun: what messages call a part of the file.
        score: which of several scores to read; None for the first.
        read_by_type: whether the texts are read by a type, which needs no answers of the file.
        notes: what to tell the user, once each.
    """

    path: str
    noun: str
    score: str | None = None
    read_by_type: bool = False
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Tell the user something, once."""
        self.notes.setdefault(text)

    @contextmanager
    def reading(self, place: Place) -> Iterator[None]:
        """Name the part of the file that is read in errors about what it holds.

        Raises:
            DataError: in place of what the reader raises where the part is not as it expects.
        """
        try:
            yield
        except MuxError:  # it says itself what is wrong
            raise
        except Fault as error:
            raise DataError(f"{self.noun} {place} of {self.path} {error}.") from error
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            why = f"{type(error).__name__}: {shortened(first_line(error), 200)}"
            raise DataError(
                f"{self.noun} {place} of {self.path} is not as the format has it ({why}): lay it "
                "out with --map."
            ) from error


def choose_score(
    context: Context, scores: Mapping[str, Any], name: str | None
) -> tuple[str, Any] | None:
    """Return the score to read, (name, value): the one that is named, else the first.

    Raises:
        ConfigurationError: none has the name.
    """
    if not scores:
        return None
    if name is None:
        name = next(iter(scores))
        if len(scores) > 1:
            context.note(
                f"scores are those of {name!r}; --score chooses another of {listed(scores)}"
            )
    elif name not in scores:
        raise ConfigurationError(f"{context.path} has no score {name!r}; it has {listed(scores)}.")
    return name, scores[name]


def listed(names: Iterable[object]) -> str:
    """Return a file's names for a message: one line, however many and long they are."""
    return shortened(" ".join(", ".join(map(str, names)).split()), 200)


def question_key(content: object) -> str:
    """Return an id of a question that the file identifies by its content alone.

    >>> question_key("2 + 2?") == question_key("2 + 2?")
    True
    """
    text = content if isinstance(content, str) else json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def message_text(content: object) -> str | None:
    """Return the text of a chat message's content: a text, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [
            part if isinstance(part, str) else part.get("text")
            for part in content
            if isinstance(part, (str, Mapping))
        ]
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join(texts) if texts else None
    return None


def last_user_text(messages: Sequence[object]) -> str | None:
    """Return what the last message of a user says."""
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return message_text(message.get("content"))
    return None


def scalars(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a question's field can hold."""
    return {
        str(name): value for name, value in fields.items() if isinstance(value, (str, int, float))
    }


def filled(**columns: Any) -> dict[str, Any]:
    """Return the columns that have a value."""
    return {name: value for name, value in columns.items() if value is not None}


def text_logprobs(tokens: Iterable[object]) -> dict[str, float]:
    """Return the columns of a text's log-probabilities, given one for each token.

    Nothing where one is missing or is none.
    """
    values: list[float] = []
    for token in tokens:
        value = token.get("logprob") if isinstance(token, Mapping) else token
        if not isinstance(value, (int, float)) or not -1e12 < value <= 1e-3:
            return {}
        values.append(value)
    if not values:
        return {}
    return {"text_logprob": min(0.0, math.fsum(values)), "lowest_logprob": min(0.0, *values)}


#: Why a generation ended, as tools call it → as OpenAI's servers do.
_FINISHED = {
    "max_tokens": "length",
    "model_length": "length",
    "max_output_tokens": "length",
    "end_turn": "stop",
    "eos": "stop",
    "endoftext": "stop",
}


def finish(reason: object) -> dict[str, str]:
    """Return the columns of why a generation ended.

    >>> finish("max_tokens"), finish("unknown")
    ({'finish_reason': 'length'}, {})
    """
    if not isinstance(reason, str) or reason in ("", "unknown"):
        return {}
    return {"finish_reason": _FINISHED.get(reason.lower(), reason)}


def failure(reason: object) -> dict[str, Any]:
    """Return the columns of a draw that failed: no answer, and its cause."""
    if isinstance(reason, Mapping):
        reason = reason.get("message") or reason.get("error") or json.dumps(reason, default=str)
    text = str(reason or "the tool recorded an error")
    return {"answer": None, "cause": next(iter(text.strip().splitlines()), text)[:300]}


def expect(value: Any, kind: type | tuple[type, ...], name: str) -> Any:
    """Return a value of a format.

    Raises:
        Fault: it has another type.
    """
    if not isinstance(value, kind):
        shown = "nothing" if value is None else type(value).__name__
        raise Fault(f"has {shown} for {name}")
    return value
