"""The options that `SLMMux` and the baselines share, checked at construction."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import dspy
from typing_extensions import TypedDict

from ..errors import ConfigurationError
from ..sampling.auto import check_auto
from ..sampling.draw import OnError
from ..sampling.grouped_call import Group
from ..sampling.logprobs import AskLogprobs
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
    logprobs: AskLogprobs
    group: Group


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
    logprobs: AskLogprobs = "auto"
    group: Group = "auto"

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
        check_auto("logprobs", self.logprobs, "the mux")
        check_auto("group", self.group, "the mux")
        threads = self.num_threads
        if threads is not None and not (isinstance(threads, int) and threads >= 1):
            raise ConfigurationError(f"num_threads must be 1 or more, or None, not {threads!r}.")
        if self.adapter is not None and not isinstance(self.adapter, dspy.Adapter):
            raise ConfigurationError(
                f"adapter must be a dspy.Adapter instance, not {type(self.adapter).__name__}."
            )


def check_names(kind: type, given: Iterable[str]) -> None:
    """Raise what Python raises for an unknown argument, of the class that the user called."""
    shared = [option.name for option in dataclasses.fields(MuxOptions)]
    # Not of the class: DSPy's metaclass takes any argument.
    taken = inspect.signature(kind.__init__).parameters  # type: ignore[misc]
    own = [name for name in taken if name not in ("self", "shared")]
    for name in given:
        if name not in shared:
            close = difflib.get_close_matches(name, [*own, *shared], n=1, cutoff=0.5)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"{kind.__name__}() has no argument {name!r}{meant}")


def _is_timeout(seconds: object) -> bool:
    return isinstance(seconds, (int, float)) and 0 < seconds <= threading.TIMEOUT_MAX
