"""The options that say which questions are collected, and of what type their answers are."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigurationError
from ..text import shortened, visible
from .output import say

if TYPE_CHECKING:
    from ..bank.task import TaskModule
    from ..mux.pool_file import PoolFile

AnswerType = Annotated[
    str | None,
    typer.Option(
        "--type",
        help="Type of the answer, such as float: how it is read, compared and scored. Default: "
        "that of the pool file's program.",
    ),
]


@dataclass(frozen=True)
class QuestionOptions:
    """Which questions are asked: a task's, or a file's.

    Raises:
        ConfigurationError: neither is named, or both are.
    """

    task: str | None
    file: Path | None
    answer: str | None
    type: str | None

    def __post_init__(self) -> None:
        if (self.task is None) == (self.file is None):
            raise ConfigurationError(
                "collect needs questions: name a task, such as programs.everyday, or a file of "
                "them, --file questions.csv."
                if self.task is None
                else "A task and --file both say which questions are asked: give one of them."
            )
        given = [f"--{name}" for name in ("answer", "type") if getattr(self, name) is not None]
        if self.file is None and given:
            raise ConfigurationError(
                f"{given[0]} is for --file: a task has a program and a metric of its own."
            )

    def task_over(self, pool: PoolFile, name: Path) -> TaskModule:
        """Return the task; that of a file has the pool file's program.

        Args:
            name: the pool file's.

        Raises:
            ConfigurationError: the task or the type of the answers cannot be used.
            DataError: the file cannot be read, or lacks what the program needs.
        """
        from ..bank.question_file import task_of_file
        from ..bank.task import load_task
        from ..mux.signature_text import parse_signature, retyped

        if self.task is not None:
            return load_task(self.task)
        assert self.file is not None  # one of them is given
        program = pool.program if self.type is None else retyped(pool.program, self.type)
        task = task_of_file(
            self.file,
            parse_signature(program),
            answer=self.answer,
            source=f"the program of {str(name)!r} ({shortened(pool.program, 80)})",
        )
        _say_untyped(task, program, name)
        return task


def _say_untyped(task: TaskModule, program: str, pool_file: Path) -> None:
    """Say which type the answers of a file seem to have, where they are compared as text."""
    from ..bank.labels import literal
    from ..bank.question_file import compares_numbers_as_text, labels_as_text
    from ..mux.signature_text import retyped

    if compares_numbers_as_text(task):
        say(
            "dspy-mux: the right answers are numbers, and are compared as text, so that 18 and "
            f"18.00 are two: --type float, or answer: float in the program of {pool_file}.",
            file=sys.stderr,
        )
    elif labels := labels_as_text(task):
        labelled = literal(labels)
        try:
            retyped(program, labelled)
        except ConfigurationError:  # a label with an arrow, say
            return
        say(
            f"dspy-mux: the right answers look like {len(labels)} labels, and are compared as "
            "text, so that any other reply is an answer too. Name their type here and for tune, "
            f"or in the program of {pool_file}:",
            file=sys.stderr,
        )
        # To be copied, so not wrapped.
        print(visible(f"  --type {shlex.quote(labelled)}"), file=sys.stderr)
