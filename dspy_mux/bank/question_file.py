"""A task made of a file: questions and their right answers, in columns.

    question,answer
    What is 17 + 25?,42

The columns of the inputs are named as the program's input fields are. Any other column is recorded
with its question; one called `split` holds the question's split.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
import pydantic

from ..answers.equivalence import NO_ANSWER
from ..answers.kinds import TextKind
from ..errors import DataError
from ..mux.compared import compared
from ..text import shortened
from .answer_reading import GOLD, AnswerReading
from .files import json_lines
from .formats.containers import container_of, csv_rows, document, parquet_table
from .labels import labels_of
from .task import TaskModule

#: The column that holds a question's split.
SPLIT = "split"


@dataclass(frozen=True)
class EqualsAnswer:
    """A metric: whether a prediction's answer equals the one in a column, by its type.

    >>> same = EqualsAnswer(AnswerReading.of_type("float"), "gold")
    >>> same(dspy.Example(gold="$1,200"), dspy.Prediction(answer=1200.0))
    True
    """

    reading: AnswerReading
    column: str

    def __call__(
        self, example: dspy.Example, prediction: dspy.Prediction, trace: object = None
    ) -> bool:
        right = self.reading.value(example[self.column])
        return self.reading.kind.same(prediction[self.reading.field], right)


def task_of_file(
    path: str | os.PathLike[str],
    signature: type[dspy.Signature],
    *,
    answer: str | None = None,
    source: str = "the program",
) -> TaskModule:
    """Return the task of a file of questions: CSV, JSON, JSON lines or Parquet.

    Args:
        signature: of the program. Its input fields are columns; the type of its answer says how
            answers are read, compared and scored.
        answer: the column of the right answers; None for the one called as the answer field is,
            else as `GOLD` has it.
        source: where the signature comes from, for messages.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a row without a value.
        MissingExtra: it is a Parquet file, and pyarrow is not installed.
    """
    own = compared(dspy.Predict(signature), None, None)
    field = own.label
    rows = list(_rows(path))
    columns = list(dict.fromkeys(name for _, row in rows for name in row))
    if not rows:
        raise DataError(f"{str(path)!r} holds no questions.")
    questions = _Questions(str(path), columns, list(signature.input_fields), source)
    questions.check_inputs()
    gold = questions.answer_column(answer, field)
    answer_type = signature.output_fields[field].rebuild_annotation()
    reading = AnswerReading(getattr(answer_type, "__name__", str(answer_type)), own.kind, field)
    readers = {
        name: pydantic.TypeAdapter(info.rebuild_annotation())
        for name, info in signature.input_fields.items()
    }
    examples = [questions.example(at, row, gold, reading, readers) for at, row in rows]
    names = dict.fromkeys(str(each[SPLIT]) for each in examples if SPLIT in each)
    return TaskModule(
        Path(path).name.split(".")[0],
        lambda: signature,
        _Splits(examples, questions),
        EqualsAnswer(reading, gold),
        tuple(names) if SPLIT in columns else None,
    )


def compares_numbers_as_text(task: TaskModule) -> bool:
    """Return whether all right answers of a file's task are numbers, and their type is text."""
    number = AnswerReading.of_type("float")
    answers = _compared_as_text(task)
    return bool(answers) and all(
        number.kind.key(str(answer).strip().lstrip("$€£")) is not None for answer in answers
    )


def labels_as_text(task: TaskModule) -> tuple[str, ...]:
    """Return the labels that a file's right answers seem to be while their type is text."""
    answers = _compared_as_text(task)
    texts = [answer.strip() for answer in answers if isinstance(answer, str)]
    return labels_of(texts) if len(texts) == len(answers) else ()


def _compared_as_text(task: TaskModule) -> list[Any]:
    """Return the right answers of a file's task where their type is text; none elsewhere."""
    metric = task.metric
    if not isinstance(metric, EqualsAnswer) or type(metric.reading.kind) is not TextKind:
        return []
    return [each[metric.column] for each in task.examples()]


@dataclass(frozen=True)
class _Splits:
    """The examples of a split, or all."""

    examples: Sequence[dspy.Example]
    questions: _Questions

    def __call__(self, split: str | None = None) -> list[dspy.Example]:
        if split is not None:
            self.questions.check_split()
        return [each for each in self.examples if split in (None, str(each.get(SPLIT, "")))]


@dataclass(frozen=True)
class _Questions:
    """A file's columns, and what they must hold."""

    path: str
    columns: Sequence[str]
    inputs: Sequence[str]
    source: str

    def check_inputs(self) -> None:
        """Raise DataError unless each input of the program is a column."""
        lacking = [name for name in self.inputs if name not in self.columns]
        if lacking:
            raise DataError(
                f"{self.path!r} has no column {lacking[0]!r}, which {self.source} takes as an "
                f"input; its columns are {self._listed()}. Name the columns as the inputs are: "
                "rename one of the two."
            )

    def check_split(self) -> None:
        """Raise DataError unless the file says which split its questions are in."""
        if SPLIT not in self.columns:
            raise DataError(
                f"{self.path!r} has no column {SPLIT!r} to choose by; its columns are "
                f"{self._listed()}. Leave --split out, or add one."
            )

    def answer_column(self, asked: str | None, field: str) -> str:
        """Return the column of the right answers.

        Raises:
            DataError: there is none.
        """
        names = [asked] if asked is not None else [field, *GOLD]
        for name in names:
            if name in self.columns and name not in self.inputs:
                return name
        if asked is None:
            raise DataError(
                f"{self.path!r} has no column {field!r} with the right answers; its columns are "
                f"{self._listed()}. Name theirs with --answer."
            )
        why = "is an input of the program" if asked in self.columns else "is not there"
        raise DataError(
            f"The column {asked!r} of {self.path!r} {why}; its columns are {self._listed()}."
        )

    def example(
        self,
        at: int,
        row: dict[str, Any],
        gold: str,
        reading: AnswerReading,
        readers: dict[str, pydantic.TypeAdapter[Any]],
    ) -> dspy.Example:
        """Return the example of a row.

        Raises:
            DataError: it lacks an input or the right answer, or one is not of its type.
        """
        for name in (*self.inputs, gold):
            if not str(row.get(name, "")).strip():
                raise DataError(f"Row {at} of {self.path!r} has nothing in the column {name!r}.")
        if reading.value(row[gold]) is NO_ANSWER:
            raise DataError(
                f"Row {at} of {self.path!r} has {shortened(repr(row[gold]), 80)} in the column "
                f"{gold!r}, which is no answer of the type {reading.name}: correct it, or choose "
                "another type with --type."
            )
        values = {
            name: self._input(at, name, row[name], reader) for name, reader in readers.items()
        }
        return dspy.Example({**row, **values}).with_inputs(*self.inputs)

    def _input(self, at: int, name: str, value: Any, reader: pydantic.TypeAdapter[Any]) -> Any:
        if not isinstance(value, str):
            # A number stands for its text where a text is asked for.
            texts = reader.core_schema.get("type") == "str" and isinstance(value, (int, float))
            value = str(value) if texts else value
        try:
            return reader.validate_python(value)
        except pydantic.ValidationError as error:
            raise DataError(
                f"Row {at} of {self.path!r} has {shortened(repr(value), 80)} in the column "
                f"{name!r}, and {self.source} takes another type there: "
                f"{error.errors()[0]['msg']}."
            ) from error

    def _listed(self) -> str:
        return shortened(", ".join(self.columns), 300)


def _rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row, its filled columns)."""
    container = container_of(path)
    if container == "archive":
        raise DataError(
            f"{str(path)!r} is an archive: questions are in CSV, JSON, JSON lines or Parquet."
        )
    if container == "document":
        content = document(path)
        objects = content if isinstance(content, list) else [content]
        for at, row in enumerate(objects, 1):
            if not isinstance(row, dict):
                raise DataError(
                    f"{str(path)!r} is not a list of objects, one a question, such as "
                    '[{"question": "What is 17 + 25?", "answer": 42}].'
                )
            yield at, _filled(row)
        return
    readers = {"lines": json_lines, "csv": csv_rows, "parquet": parquet_table}
    for at, row in readers[container](path):
        yield at, _filled(row)


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that have a value: tables hold NaN where they have none."""
    return {
        name: value
        for name, value in row.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }
