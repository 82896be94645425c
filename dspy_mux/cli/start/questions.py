"""Read a user's file of questions: which columns, how many rows, and what kind the answers are."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError

_QUESTION = ("question", "prompt", "input", "query", "problem", "text")
_ANSWER = ("answer", "label", "target", "output", "expected", "solution", "gold")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,17})?")
#: More labels, longer ones, or fewer rows of each are free text.
_MOST_LABELS, _LONGEST_LABEL, _FEWEST_ROWS = 12, 40, 4


@dataclass(frozen=True)
class Questions:
    """A CSV file of questions with their right answers.

    Attributes:
        columns: all of them, in the file's order.
        question, answer: the columns that hold these.
        rows: how many have both; others are left out.
        left_out: how many lack one of them.
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
    left_out: int
    first: tuple[str, str]
    labels: tuple[str, ...] = ()
    numbers: bool = False
    splits: tuple[str, ...] = ()


def read_questions(path: Path) -> Questions:
    """Read a CSV file with a header, as spreadsheets write it, with commas, semicolons or tabs.

    Raises:
        DataError: it is missing, is not UTF-8 or CSV, or has no column of questions or answers.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            columns = tuple(reader.fieldnames or ())
            rows = list(reader)
    except FileNotFoundError as error:
        raise DataError(f"There is no file of questions {str(path)!r}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{str(path)!r} is not UTF-8 text: save it as 'CSV UTF-8'.") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{str(path)!r} cannot be read as CSV: {error}.") from error
    question, answer = _column(columns, _QUESTION), _column(columns, _ANSWER)
    if question is None or answer is None:
        raise DataError(
            f"{str(path)!r} has the columns {', '.join(columns) or 'none'}: name the one of the "
            "questions question and the one of the right answers answer."
        )
    for number, row in enumerate(rows, 1):
        if None in row:
            raise DataError(f"Row {number} of {str(path)!r} has more cells than the header.")
    pairs = [((row[question] or "").strip(), (row[answer] or "").strip()) for row in rows]
    full = [pair for pair in pairs if all(pair)]
    if not full:
        raise DataError(f"{str(path)!r} has no row with a question and an answer.")
    answers = [given for _, given in full]
    splits = {row.get("split") or "" for row in rows}
    return Questions(
        path=path,
        delimiter=delimiter,
        columns=columns,
        question=question,
        answer=answer,
        rows=len(full),
        left_out=len(rows) - len(full),
        first=full[0],
        labels=_labels(answers),
        numbers=all(map(_NUMBER.fullmatch, answers)),
        splits=tuple(sorted(splits)) if all(split.strip() for split in splits) else (),
    )


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _column(columns: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the column of the best known name; None where no column has one."""
    names = {column.strip().lower(): column for column in reversed(columns)}
    return next((names[name] for name in known if name in names), None)


def _labels(answers: Sequence[str]) -> tuple[str, ...]:
    labels = sorted(set(answers))
    alike = len({label.casefold() for label in labels}) < len(labels)
    several = 2 <= len(labels) <= _MOST_LABELS and len(answers) >= _FEWEST_ROWS * len(labels)
    short = all(len(label) <= _LONGEST_LABEL for label in labels)
    numbers = all(map(_NUMBER.fullmatch, labels))
    return tuple(labels) if several and short and not alike and not numbers else ()
