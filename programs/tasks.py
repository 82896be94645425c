"""Find a task by name: its program, examples and metric.

gsm8k = task("gsm8k", file=Path("gsm8k_test.jsonl.gz"))
mux = SLMMux(gsm8k.program(), lms=[…])
dspy.Evaluate(devset=gsm8k.examples("test", limit=100), metric=gsm8k.metric)(mux)
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import dspy

from dspy_mux.answers.equivalence import AnswerKind
from dspy_mux.errors import ConfigurationError

#: The tasks' names; the module of the same name makes each by its `task(file)`.
TASKS = ("everyday", "gsm8k", "math500", "gpqa", "humaneval", "word_pairs", "reasoning_gym")


@dataclass(frozen=True)
class Task:
    """What a comparison of methods needs of a task.

    Attributes:
        name: as `task` takes it, such as "gsm8k" or "reasoning_gym:basic_arithmetic".
        program: makes the DSPy program: a typed `answer`, and few-shot demos from no test set.
        examples: `(split=None, *, seed=0, limit=None)` → the first `limit` examples of "train",
            "validation" or "test"; of all for None. Each has its inputs marked, the gold `answer`
            and a stable `question_id`. A split that the source lacks is a ConfigurationError; not
            every source has training examples.
        metric: `(example, prediction, trace=None)` → whether the answer is right, or its share of
            being right; 1 or more counts as right.
        equivalence: when two answers are the same, for `SLMMux(equivalence=…)`; None for the
            answer field's own kind.
        context: the field of the examples that names a sub-task (category, subject, level), or
            None.
    """

    name: str
    program: Callable[[], dspy.Module]
    examples: Callable[..., list[dspy.Example]]
    metric: Callable[..., bool | float]
    equivalence: AnswerKind | None = None
    context: str | None = None


def task(name: str, *, file: Path | None = None) -> Task:
    """Return the task of a name.

    Args:
        name: one of `TASKS`; "reasoning_gym:NAME" is one of reasoning-gym's own tasks,
            "reasoning_gym" a mixture of short ones.
        file: a local file with the columns of the task's release, instead of the hub's release.

    Raises:
        ConfigurationError: an unknown name, or a file for a task that makes its own questions.

    >>> task("everyday").context
    'category'
    """
    module, colon, part = name.partition(":")
    if module not in TASKS or (colon and module != "reasoning_gym"):
        close = get_close_matches(name, TASKS, n=1)
        raise ConfigurationError(
            f"There is no task {name!r}{f', perhaps {close[0]!r}' if close else ''}: "
            f"choose one of {', '.join(TASKS)}, or reasoning_gym:NAME."
        )
    make = importlib.import_module(f"programs.{module}").task
    made: Task = make(file, part) if colon else make(file)
    return made


def takes_no_file(name: str, file: Path | None) -> None:
    """Raise ConfigurationError if a file is given to a task that has its own questions."""
    if file is not None:
        raise ConfigurationError(
            f"{name} has its own questions and reads no file: leave {str(file)!r} out."
        )
