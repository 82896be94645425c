"""Read a user's file of questions: which columns, how many rows, and what kind the answers are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ...text import shortened

_QUESTION = ("question", "prompt", "input", "query", "problem", "text")
_ANSWER = ("answer", "label", "output", "solution")
#: Questions that show how to answer, and how many there must be for each of them.
_MOST_SHOWN, _ASKED_PER_SHOWN = 3, 10


@dataclass(frozen=True)
class Questions:
    """A CSV file of questions with their right answers.

    Attributes:
        columns: all of them, in the file's order.
        question, answer: the columns that hold these.
        rows: how many have both; others are left out.
        left_out: the numbers of those that lack one of them, from 1.
        first: the first question and its answer.
        labels: the answers, where they are a few labels; empty otherwise.
        numbers: whether all answers are numbers.
        splits: the values of a column "split", empty without one.
    """

    path: Path
    delimiter: str
    columns: tuple[str, ...]
    question: str
    answer: str
    rows: int
    left_out: tuple[int, ...]
    first: tuple[str, str]
    labels: tuple[str, ...] = ()
    numbers: bool = False
    splits: tuple[str, ...] = ()

    @property
    def shown(self) -> int:
        """How many questions are for showing models how to answer: few, of answers in words."""
        words = not (self.labels or self.numbers)
        return min(_MOST_SHOWN, self.rows // _ASKED_PER_SHOWN) if words else 0


def read_questions(path: Path) -> Questions:
    """Read a CSV file with a header, as spreadsheets write it.

    Raises:
        DataError: it cannot be read, or has no column of questions or of answers.
    """
    from ...bank.answer_reading import GOLD
    from ...bank.formats.containers import csv_head, csv_rows
    from ...bank.labels import are_numbers, labels_of
    from ...bank.question_file import SPLIT

    delimiter, columns = csv_head(path)
    rows = dict(csv_rows(path))
    question, answer = _column(columns, _QUESTION), _column(columns, (*_ANSWER, *GOLD))
    if question is None or answer is None:
        raise DataError(f"{str(path)!r} has {_lacking(columns, question, answer)}")
    names = (question.strip(), answer.strip())
    pairs = {at: tuple(row.get(name, "").strip() for name in names) for at, row in rows.items()}
    full = [pair for pair in pairs.values() if all(pair)]
    if not full:
        raise DataError(f"{str(path)!r} has no row with a question and an answer.")
    answers = [given for _, given in full]
    splits = {row.get(SPLIT, "") for row in rows.values()} if SPLIT in columns else {""}
    return Questions(
        path=path,
        delimiter=delimiter,
        columns=tuple(columns),
        question=question,
        answer=answer,
        rows=len(full),
        left_out=tuple(at for at, pair in pairs.items() if not all(pair)),
        first=(full[0][0], full[0][1]),
        labels=labels_of(answers),
        numbers=are_numbers(answers),
        splits=tuple(sorted(splits)) if all(split.strip() for split in splits) else (),
    )


def _column(columns: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the column of the best known name; None where no column has one."""
    names = {column.strip().lower(): column for column in reversed(columns)}
    return next((names[name] for name in known if name in names), None)


def _lacking(columns: Sequence[str], question: str | None, answer: str | None) -> str:
    """Return which columns a file lacks, which it has, and what to do."""
    listed = shortened(", ".join(repr(column.strip()) for column in columns if column.strip()), 300)
    if question is None and answer is None:
        return (
            f"no columns 'question' and 'answer'; its columns are {listed}. Rename the one of the "
            "questions 'question', and the one of the right answers 'answer'."
        )
    name, of = ("question", "questions") if question is None else ("answer", "right answers")
    return f"no column {name!r}; its columns are {listed}. Rename the one of the {of} {name!r}."
