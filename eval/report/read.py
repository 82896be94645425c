"""A run's rows as the report reads them: per task the questions, and what each method answered to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dspy_mux import SampleBank
from dspy_mux.bank.record import Record

from ..runs.folder import Run
from ..runs.schema import VALIDATION
from ..tables.comparison import MUX


class NotInTheRun(Exception):
    """A part of the report that this run has nothing for; its text is the sentence that stands in its place."""


@dataclass(frozen=True)
class Question:
    """What was asked; `subtask` is the value of the task's context field, "" where there is none."""

    id: str
    inputs: Mapping[str, Any]
    gold: Any
    subtask: str


@dataclass(frozen=True)
class Answered:
    """What a method answered to a question: a row of `results.jsonl`, without what belongs to the question."""

    score: float
    answer: Any
    member: str | None
    confidence: float | None
    tie_break: str | None
    cause: str | None
    calls: int
    ballots: Sequence[Mapping[str, Any]]
    turns: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Answered:
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    @property
    def right(self) -> bool:
        return self.score >= 1

    @property
    def outcome(self) -> str:
        """As words that every chart and the list of questions use."""
        return "no answer" if self.answer is None else "right" if self.right else "wrong"


@dataclass
class TaskAnswers:
    """One task of a run.

    Attributes:
        methods: id → the method as the manifest declares it, in the order of the table; those without rows are left out.
        answers: method id → question id → what it answered.
        bank: the run's own bank.
    """

    name: str
    split: str
    k: int
    members: tuple[str, ...]
    subtask_field: str | None
    methods: Mapping[str, Mapping[str, Any]]
    questions: dict[str, Question] = field(default_factory=dict)
    answers: dict[str, dict[str, Answered]] = field(default_factory=dict)
    bank: SampleBank | None = None

    def title(self, method: str) -> str:
        return str(self.methods[method]["title"])

    def of(self, method: str) -> dict[str, Answered]:
        """A method's answers.

        Raises:
            NotInTheRun: it has none.
        """
        if method not in self.answers:
            raise NotInTheRun(f"The run has no answers of the method {method}.")
        return self.answers[method]

    @property
    def mux(self) -> dict[str, Answered]:
        return self.of(MUX)

    @cached_property
    def record(self) -> Record:
        """The draws of the pool's members, k or more of each: of the questions reported, and of those that measure the members.

        Raises:
            NotInTheRun: the run's folder holds no bank.
            MuxError: the bank has nothing that fits the run.
        """
        if self.bank is None or not self.bank.exists():
            raise NotInTheRun(
                "The draws are in a bank outside the run's folder, which the report does not read."
            )
        record = self.bank.record(dataset=self.name, program="latest")
        splits = record.fields.get(
            "split", (None,) * len(record.questions)
        )  # a bank may hold more than this run asked
        ours = [
            part == VALIDATION or name in self.questions
            for name, part in zip(record.questions, splits, strict=True)
        ]
        return record.rows(np.flatnonzero(ours)).of(self.members, self.k)[0]


def read(run: Run) -> list[TaskAnswers]:
    """The tasks of a run that have answers, in the order of the manifest."""
    manifest = run.manifest
    declared = {method["id"]: method for method in manifest["methods"]}
    bank = SampleBank(run.bank) if run.bank.exists() else None
    tasks: dict[str, TaskAnswers] = {}
    for told in manifest["tasks"]:
        members = tuple(member["name"] for member in manifest["pool"])
        name, context = told["name"], told["context"]
        tasks[name] = TaskAnswers(
            name, manifest["split"], manifest["k"], members, context, declared, bank=bank
        )
    for row in run.rows():
        if (task := tasks.get(row["task"])) is None or row["method"] not in declared:
            continue
        question = row["question_id"]
        subtask = "" if row["context"] is None else str(row["context"])
        task.questions.setdefault(question, Question(question, row["inputs"], row["gold"], subtask))
        task.answers.setdefault(row["method"], {})[question] = Answered.of(row)
    return [_in_order(task) for task in tasks.values() if task.questions]


def _in_order(task: TaskAnswers) -> TaskAnswers:
    """Methods as the manifest lists them: discussion methods are answered in any order."""
    answers = {
        method: task.answers.pop(method) for method in task.methods if method in task.answers
    }
    task.answers.update(answers)
    return task
