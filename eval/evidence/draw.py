"""Draw a task's questions into a bank, greedily and sampled, with log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dspy
from rich.console import Console

from dspy_mux import SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from programs.tasks import Task, task

from ..compare.draw import grouped_by
from ..compare.pools import PoolOptions

#: The splits whose questions are drawn; those of "train" are the programs' demos.
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class DrawOptions:
    """What is drawn before a bank is measured.

    Attributes:
        task, file: the questions, as `programs.tasks.task` takes them.
        limit: the first questions of validation and test together; None for all.
        k, temperature: of the sampled draws; one more draw is greedy.
    """

    task: str
    file: Path | None
    pool: PoolOptions
    limit: int | None
    k: int
    temperature: float
    num_threads: int = 8


def draw(options: DrawOptions, bank: str, console: Console) -> None:
    """Make the draws that the bank lacks.

    Raises:
        ConfigurationError: an unknown task or member, or a file that does not fit.
        BankError, MuxError: as `collect` raises them; draws are kept.
    """
    asked = task(options.task, file=options.file)
    members = options.pool.load().for_task(asked.name)
    with_bank = SampleBank(bank)
    try:
        for k, temperature in ((1, 0.0), (options.k, options.temperature)):
            mux = SLMMux(
                asked.program(),
                members,
                k=k,
                temperature=temperature,
                equivalence=asked.equivalence,
                logprobs=True,
            )
            for split, examples in _questions(asked, options.limit):
                console.print(
                    f"{asked.name}, {split}: {len(examples)} questions × {len(members)} members × "
                    f"{k} draws at temperature {temperature:g}",
                    style="dim",
                    markup=False,
                    highlight=False,
                )
                collect(
                    mux,
                    examples,
                    asked.metric,
                    with_bank,
                    dataset=asked.name,
                    k=k,
                    fields={"split": split},
                    num_threads=options.num_threads,
                    console=console,
                )
    finally:
        with_bank.close()


def _questions(asked: Task, limit: int | None) -> list[tuple[str, Sequence[dspy.Example]]]:
    """Return each split's questions, those of one sub-task together."""
    left, parts = limit, list[tuple[str, Sequence[dspy.Example]]]()
    for split in SPLITS:
        if left == 0:
            break
        examples = asked.examples(split, limit=left)
        left = None if left is None else left - len(examples)
        parts.append((split, grouped_by(examples, asked.context)))
    return parts
