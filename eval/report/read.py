"""Read the rows of a run for the report: per task the questions, and each method's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
from typing_extensions import NotRequired

from dspy_mux import SampleBank
from dspy_mux.bank.record import Record

from ..groupthink.measure import Turn
from ..runs.folder import Run
from ..runs.schema import MUX, VALIDATION


class NotInTheRun(Exception):
    """The run lacks what a part of the report needs; the message stands in its place."""


class RowAnswer(TypedDict):
    """One distinct answer of a ballot."""

    group: int
    answer: Any  # a program's answer may be of any type
    count: int
    score: float


class RowBallot(TypedDict):
    """A member's ballot in a row.

    `votes` holds the group of each draw, None for an abstention; `probabilities` the probability of
    each draw's answer, where it is known.
    """

    member: str
    votes: Sequence[int | None]
    answers: Sequence[RowAnswer]
    abstentions: Mapping[str, int]
    probabilities: NotRequired[Sequence[float | None]]


class ReportTurn(Turn):
    """A turn with what the judges of multi-agent verification said of it."""

    cause: str | None
    approvals: Mapping[str, bool] | None
    unjudged: NotRequired[Mapping[str, str]]


@dataclass(frozen=True)
class Question:
    """A question; `subtask` is the value of the task's context field, "" where there is none."""

    id: str
    inputs: Mapping[str, Any]
    gold: Any
    subtask: str


@dataclass(frozen=True)
class Answered:
    """A method's answer: a row of `results.jsonl` without what belongs to the question.

    Attributes:
        escalated: whether the large model was asked, in vain or not.
        pool_score: of the pool's own answer; None where no large model may be asked.
    """

    score: float
    answer: Any
    member: str | None
    confidence: float | None
    tie_break: str | None
    cause: str | None
    calls: int
    ballots: Sequence[RowBallot]
    turns: Sequence[ReportTurn]
    escalated: bool = False
    pool_score: float | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Answered:
        return cls(**{name: row[name] for name in cls.__dataclass_fields__ if name in row})

    @property
    def right(self) -> bool:
        """Whether the score reaches 1."""
        return self.score >= 1

    @property
    def outcome(self) -> str:
        """ "right", "wrong" or "no answer", in every chart and in the list of questions."""
        return "no answer" if self.answer is None else "right" if self.right else "wrong"


@dataclass
class TaskAnswers:
    """One task of a run.

    Attributes:
        k: draws per member.
        methods: id → the method as the manifest declares it, in the order of the table; methods
            without rows are left out.
        answers: method id → question id → the method's answer.
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
        """Return a method's answers.

        Raises:
            NotInTheRun: the method has none.
        """
        if method not in self.answers:
            raise NotInTheRun(f"The run has no answers of the method {method}.")
        return self.answers[method]

    @property
    def mux(self) -> dict[str, Answered]:
        return self.of(MUX)

    @cached_property
    def record(self) -> Record:
        """The pool's draws, k or more of each member, of reported and of validation questions.

        Raises:
            NotInTheRun: the run's folder holds no bank.
            MuxError: the bank has nothing that fits the run.
        """
        if self.bank is None or not self.bank.exists():
            raise NotInTheRun(
                "The draws are in a bank outside the run's folder, which the report does not read."
            )
        record = self.bank.record(dataset=self.name, program="latest")
        # A bank may hold more questions than this run asked.
        splits = record.fields.get("split", (None,) * len(record.questions))
        ours = [
            part == VALIDATION or name in self.questions
            for name, part in zip(record.questions, splits, strict=True)
        ]
        return record.rows(np.flatnonzero(ours)).of(self.members, self.k)[0]


def read(run: Run) -> list[TaskAnswers]:
    """Return the tasks of a run that have answers, in the order of the manifest."""
    manifest = run.manifest
    declared = {method["id"]: method for method in manifest["methods"]}
    bank = SampleBank(run.bank) if run.bank.exists() else None
    tasks: dict[str, TaskAnswers] = {}
    for declared_task in manifest["tasks"]:
        members = tuple(member["name"] for member in manifest["pool"])
        name, context = declared_task["name"], declared_task["context"]
        tasks[name] = TaskAnswers(
            name, manifest["split"], manifest["k"], members, context, declared, bank=bank
        )
    for row in run.rows():
        if (task := tasks.get(row["task"])) is None or row["method"] not in declared:
            continue
        question = row["question_id"]
        subtask = "" if row["context"] is None else str(row["context"])
        task.questions.setdefault(question, Question(question, row["inputs"], row["gold"], subtask))
        task.answers.setdefault(row["method"], {})[question] = Answered.from_row(row)
    return [_in_order(task) for task in tasks.values() if task.questions]


def _in_order(task: TaskAnswers) -> TaskAnswers:
    """Order the methods as the manifest does: discussion methods are answered in any order."""
    answers = {
        method: task.answers.pop(method) for method in task.methods if method in task.answers
    }
    task.answers.update(answers)
    return task
