"""The options that `SLMMux` and the baselines share, checked at construction."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import dspy
from typing_extensions import TypedDict

from ..errors import ConfigurationError
from ..sampling.draw import OnError
from .compared import AnswerField, Equivalence


class SharedOptions(TypedDict, total=False):
    """Keyword arguments that every method takes; `SLMMux` documents them.

    Constructors declare them as `**shared: Unpack[SharedOptions]`, so that editors and mypy know
    each name, and hand them to `MuxOptions`.
    """

    answer_field: AnswerField | None
    equivalence: Equivalence | None
    accuracies: Mapping[str, float] | None
    adapter: dspy.Adapter | None
    extract: Literal["lm"] | None
    timeout: float | None
    num_threads: int | None
    on_error: OnError


@dataclass(frozen=True)
class MuxOptions:
    """The options in `SharedOptions`, with their defaults.

    Raises:
        ConfigurationError: a value cannot work.
    """

    answer_field: AnswerField | None = None
    equivalence: Equivalence | None = None
    accuracies: Mapping[str, float] | None = None
    adapter: dspy.Adapter | None = None
    extract: Literal["lm"] | None = None
    timeout: float | None = None
    num_threads: int | None = None
    on_error: OnError = "raise"

    def __post_init__(self) -> None:
        if self.extract not in (None, "lm"):
            raise ConfigurationError(f"extract must be None or 'lm', not {self.extract!r}.")
        if self.on_error not in get_args(OnError):
            raise ConfigurationError(
                f"on_error must be 'raise' or 'abstain', not {self.on_error!r}."
            )
        if self.timeout is not None and not _is_timeout(self.timeout):
            raise ConfigurationError(
                f"timeout must be a number of seconds above 0, or None, not {self.timeout!r}."
            )
        threads = self.num_threads
        if threads is not None and not (isinstance(threads, int) and threads >= 1):
            raise ConfigurationError(f"num_threads must be 1 or more, or None, not {threads!r}.")
        if self.adapter is not None and not isinstance(self.adapter, dspy.Adapter):
            raise ConfigurationError(
                f"adapter must be a dspy.Adapter instance, not {type(self.adapter).__name__}."
            )


def _is_timeout(seconds: object) -> bool:
    return isinstance(seconds, (int, float)) and 0 < seconds <= threading.TIMEOUT_MAX
