"""A task as the user writes it: a module with a program, examples and a metric.

    # mytask.py
    def program():                       # a signature, or a dspy.Module
        return "question -> answer: float"

    def examples(split=None):            # `split` and `limit` are yours to take or leave out
        return [dspy.Example(question="2 + 2?", answer=4).with_inputs("question"), …]

    def metric(example, prediction, trace=None):
        return prediction.answer == example.answer

    splits = ("train", "test")           # optional: the names that `split` may have

`examples()` returns all examples, `examples(split="train")` those of a split. A field such as a
category is recorded with each question, and may be the context of the calibrated rule; a mux that
is to use it needs it among the inputs.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from ..errors import ConfigurationError
from .questions import check_example, named_type

_PARTS = ("program", "examples", "metric")
_UNKNOWN = object()


@dataclass(frozen=True)
class TaskModule:
    """A task's parts, checked as far as they can be without being called.

    Attributes:
        name: its module's.
        splits: the names of its splits; None where it does not say.
    """

    name: str
    make_program: Callable[[], Any]
    make_examples: Callable[..., Iterable[dspy.Example]]
    metric: Callable[..., float | bool]
    splits: Sequence[str] | None = None

    def program(self) -> str | type[dspy.Signature] | dspy.Module:
        """Return the task's program.

        Raises:
            ConfigurationError: it is neither a signature nor a module.
        """
        made = self.make_program()
        is_signature = isinstance(made, type) and issubclass(made, dspy.Signature)
        if not (is_signature or isinstance(made, (str, dspy.Module))):
            raise ConfigurationError(
                f"program() of the task {self.name!r} must return a signature or a dspy.Module, "
                f"not {named_type(made)}."
            )
        return made

    def examples(self, split: str | None = None, limit: int | None = None) -> list[dspy.Example]:
        """Return the first `limit` examples of a split, or of all for None.

        Raises:
            ConfigurationError: the task has no such split, or returns something else.
        """
        if split is not None and self.splits is not None and split not in self.splits:
            raise ConfigurationError(self._no_split(split, self.splits))
        found = self._made(split, limit)
        if isinstance(found, (str, Mapping)) or not isinstance(found, Iterable):
            raise ConfigurationError(
                f"examples() of the task {self.name!r} must return a list of dspy.Example, "
                f"not {named_type(found)}."
            )
        examples = list(itertools.islice(found, limit))
        for at, example in enumerate(examples, 1):
            check_example(example, f"Example {at} of the task {self.name!r}")
        if not examples:
            which = "" if split is None else f" in the split {split!r}"
            raise ConfigurationError(f"The task {self.name!r} has no examples{which}.")
        return examples

    def _made(self, split: str | None, limit: int | None) -> Any:
        takes = inspect.signature(self.make_examples).parameters.values()
        any_name = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes)
        names = {p.name for p in takes if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        positional = [p for p in takes if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        keywords = {"limit": limit} if limit is not None and ("limit" in names or any_name) else {}
        if "split" in names or any_name:
            keywords["split"] = split  # type: ignore[assignment]
        elif positional and positional[0].name != "limit":
            return self._by_split(lambda: self.make_examples(split, **keywords), split)
        elif split is not None:
            raise ConfigurationError(
                f"examples() of the task {self.name!r} takes no split, so --split {split} cannot "
                "be: write examples(split), or leave the split out."
            )
        return self._by_split(lambda: self.make_examples(**keywords), split)

    def _by_split(self, make: Callable[[], Any], split: str | None) -> Any:
        try:
            made = make()
            if isinstance(made, Iterator):  # a generator looks its split up when it begins
                made = itertools.chain(list(itertools.islice(made, 1)), made)
            return made
        except KeyError as error:
            if error.args != (split,):
                raise
            if split is None:
                raise ConfigurationError(
                    f"examples(None) of the task {self.name!r} must return the examples of all "
                    "splits: name one with --split, or let the task do so."
                ) from error
            raise ConfigurationError(self._no_split(split, self.splits or ())) from error

    def _no_split(self, split: str, known: Sequence[str]) -> str:
        has = f": it has {', '.join(known)}" if known else ""
        return f"The task {self.name!r} has no split {split!r}{has}."


def load_task(name: str) -> TaskModule:
    """Import the user's task module; the current folder is searched first.

    Raises:
        ConfigurationError: there is no such module, or it is not a task; the message says which
            part is wrong. What the module itself raises is raised as it is.
    """
    is_name = all(part.isidentifier() for part in name.split("."))
    if not is_name or (name.endswith(".py") and os.path.isfile(name)):
        raise _is_no_name(name)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name.endswith(".py"):
            raise _is_no_name(name) from error
        raise ConfigurationError(
            f"There is no task module {name!r} to import from here ({error})."
        ) from error
    lacking = [part for part in _PARTS if not hasattr(module, part)]
    if lacking:
        raise ConfigurationError(
            f"The module {name!r} is not a task: it lacks {', '.join(lacking)}."
        )
    for part in _PARTS:
        if not callable(getattr(module, part)):
            raise ConfigurationError(
                f"{part} of the task {name!r} must be a function, "
                f"not {named_type(getattr(module, part))}."
            )
    if not _accepts(module.program, 0):
        raise ConfigurationError(f"program() of the task {name!r} must need no argument.")
    if not _accepts(module.metric, 2):
        raise ConfigurationError(
            f"metric of the task {name!r} must take (example, prediction, trace=None), as in DSPy."
        )
    splits = getattr(module, "splits", None)
    if not isinstance(splits, (list, tuple)):
        splits = None  # something else of that name
    elif not all(isinstance(split, str) for split in splits):
        raise ConfigurationError(
            f"splits of the task {name!r} must be a list of names, not {splits!r}."
        )
    return TaskModule(
        name,
        module.program,
        module.examples,
        module.metric,
        None if splits is None else tuple(splits),
    )


def _is_no_name(name: str) -> ConfigurationError:
    """Return the error for a path, or another text, in place of a module's name."""
    path = os.path.relpath(name) if os.path.isabs(name) else os.path.normpath(name)
    parts = re.split(r"[/\\.]", path.removesuffix(".py"))
    if all(part.isidentifier() for part in parts):
        ending = ", without .py" if name.endswith(".py") else ""
        meant = f"write {'.'.join(parts)}{ending}"
    else:
        meant = "name the task's module, such as programs.everyday"
    return ConfigurationError(f"{name!r} is not a module name: {meant}.")


def _accepts(function: Callable[..., Any], arguments: int) -> bool:
    """Return whether a function can be called with so many arguments by position."""
    try:
        inspect.signature(function).bind(*[_UNKNOWN] * arguments)
    except TypeError:
        return False
    except ValueError:  # a built-in that does not say
        return True
    return True
