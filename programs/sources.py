"""Read a task's rows from a local file or the Hugging Face hub, and divide them into splits.

A file ends in `.jsonl`, `.json` (a list of objects), `.csv` or `.parquet`; all but Parquet may be
gzipped (`.gz`). Its columns are those of the task's well-known release.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, TypeVar

import dspy

from dspy_mux.bank.files import json_lines, parquet_rows
from dspy_mux.errors import ConfigurationError, DataError, MissingExtra
from dspy_mux.text import first_line

Split = Literal["train", "validation", "test"]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Row:
    """One row of a task's release.

    Attributes:
        place: where it is, as the start of a sentence: "Line 3 of gsm8k.jsonl".
        columns: its values by column.
    """

    place: str
    columns: Mapping[str, Any]

    def text(self, column: str) -> str:
        """Return the text of a column, or a number as it is written.

        Raises:
            DataError: the column is missing, blank or not text.
        """
        if column not in self.columns:
            known = ", ".join(map(str, self.columns))
            raise DataError(f"{self.place} lacks the column {column!r}; it has {known}.")
        value = self.columns[column]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(column, "which must be text")
        return value

    def fault(self, column: str, reason: str) -> DataError:
        """Return the error for a column's value; `reason` ends its sentence."""
        return DataError(
            f"{self.place} has {self.columns.get(column)!r:.80} in the column {column!r}, {reason}."
        )


@dataclass(frozen=True)
class Hub:
    """A task's release on the Hugging Face hub.

    Attributes:
        path, config: as `datasets.load_dataset` takes them.
        test: the release's split that the task's questions come from.
        train: the release's split for training, where it has one.
        gated: whether you must accept its terms and log in.
    """

    path: str
    config: str | None = None
    test: str = "test"
    train: str | None = None
    gated: bool = False


def examples(
    task: str,
    make: Callable[[Row], dspy.Example],
    hub: Hub,
    split: Split | None = None,
    *,
    seed: int = 0,
    limit: int | None = None,
    file: Path | None = None,
) -> list[dspy.Example]:
    """Return a split's examples, or those of all splits in the order train, validation, test.

    A file is the task's test set: a fifth of it is "validation", the rest "test". The same holds
    for the hub, unless the release has a training split too: then a fifth of that is "validation",
    its rest "train", and the test split "test". A hash of seed and question id orders the rows
    first, so the first `limit` are a fair sample and a row added later moves few of the others. A
    question that occurs twice with the same answer counts once.

    Args:
        task: the task's name, for messages.
        make: row → example with its inputs marked, `question_id` and `answer`; raises DataError
            for an unusable row.
        hub: where the release is if no file is given.
        split: "train", "validation", "test", or None for all.
        seed: selects the split.
        limit: at most this many examples, from the front.
        file: a local file with the release's columns.

    Raises:
        ConfigurationError: a split that the source lacks, or a limit below 1.
        DataError: a source that cannot be read or understood.
        MissingExtra: the hub is needed and `datasets` is not installed.
    """
    if file is not None:
        parts = _halves(_unique(read_rows(file), make), "test", seed, str(file))
    elif hub.train is None:
        parts = _halves(_unique(hub_rows(hub, hub.test), make), "test", seed, hub.path)
    else:
        names = ("train", "validation", "test")
        check(task, names, split, limit)
        parts = {}
        if split in ("test", None):
            parts["test"] = ordered(_unique(hub_rows(hub, hub.test), make), seed)
        if split != "test":
            parts |= _halves(_unique(hub_rows(hub, hub.train), make), "train", seed, hub.path)
        parts = {name: parts[name] for name in names if name in parts}
    return front(task, parts, split, limit)


def front(
    task: str, splits: Mapping[str, Sequence[_Item]], split: str | None, limit: int | None
) -> list[_Item]:
    """Return the first `limit` items of a split, or of all splits in their order.

    Raises:
        ConfigurationError: an unknown split, or a limit below 1.
    """
    check(task, tuple(splits), split, limit)
    if split is not None:
        return list(splits[split][:limit])
    return [item for part in splits.values() for item in part][:limit]


def check(task: str, splits: Sequence[str], split: str | None, limit: int | None) -> None:
    """Raise ConfigurationError for a split that is not one of `splits`, or a limit below 1."""
    if split is not None and split not in splits:
        raise ConfigurationError(
            f"{task} has no split {split!r}: choose one of {', '.join(splits)}."
        )
    if limit is not None and limit < 1:
        raise ConfigurationError(f"limit is {limit}: give at least 1 example, or None for all.")


def ordered(questions: Sequence[dspy.Example], seed: int) -> list[dspy.Example]:
    """Return examples in the order of a hash of seed and question id."""
    return sorted(
        questions,
        key=lambda example: hashlib.sha256(f"{seed}:{example.question_id}".encode()).digest(),
    )


def question_id(task: str, text: str) -> str:
    """Return a stable id for a question without one: the task's name and a hash of the text."""
    return f"{task}-{hashlib.sha256(text.strip().encode()).hexdigest()[:12]}"


def _halves(
    questions: Sequence[dspy.Example], rest: str, seed: int, source: str
) -> dict[str, list[dspy.Example]]:
    """Divide questions into a fifth for "validation", and the others under the name `rest`."""
    fifth = len(questions) // 5
    if not fifth:
        raise DataError(
            f"{source} has {len(questions)} questions: at least 5 are needed, "
            "because a fifth is kept for validation."
        )
    shuffled = ordered(questions, seed)
    parts = {"validation": shuffled[:fifth], rest: shuffled[fifth:]}
    return parts if rest == "test" else dict(reversed(parts.items()))


def _unique(rows: Iterator[Row], make: Callable[[Row], dspy.Example]) -> list[dspy.Example]:
    """Return one example for each question."""
    found: dict[str, tuple[dspy.Example, Row]] = {}
    for row in rows:
        example = make(row)
        first, at = found.setdefault(example.question_id, (example, row))
        if first.answer != example.answer:
            place = at.place[0].lower() + at.place[1:]
            raise DataError(f"{row.place} asks the question of {place} with another answer.")
    return [example for example, _ in found.values()]


# ------------------------------------------------------------------------------------------------
# Local files

#: A row's number and its values by column.
_Numbered: TypeAlias = "tuple[int, dict[str, Any]]"


def read_rows(file: Path) -> Iterator[Row]:
    """Yield the rows of a local file.

    Raises:
        ConfigurationError: the file does not exist, or its name has an unknown ending.
        DataError: the file cannot be read as its format.
    """
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None or (suffix == ".parquet" and file.name.endswith(".gz")):
        raise ConfigurationError(
            f"{str(file)!r} has an unknown format: "
            "give a file in .jsonl, .json, .csv (each also .gz) or .parquet."
        )
    if not file.is_file():
        raise ConfigurationError(f"There is no file {str(file)!r}.")
    unit = "Line" if suffix == ".jsonl" else "Row"
    for number, columns in reader(file):
        yield Row(f"{unit} {number} of {file}", columns)


def _json(file: Path) -> Iterator[_Numbered]:
    try:
        with _opened(file) as stream:
            rows = json.load(stream)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise DataError(
            f"{file} cannot be read as JSON ({first_line(error)}); "
            "name a file of one object per line .jsonl."
        ) from error
    if not isinstance(rows, list):
        raise DataError(f"{file} must hold a list of objects, one for each question.")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"Row {number} of {file} is not a JSON object.")
        yield number, row


def _csv(file: Path) -> Iterator[_Numbered]:
    number = 0
    try:
        with _opened(file) as stream:
            for number, row in enumerate(csv.DictReader(stream, restkey="", strict=True), 1):
                if "" in row and isinstance(row[""], list):
                    raise DataError(f"Row {number} of {file} has more values than columns.")
                yield number, row
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{file} cannot be read as CSV after row {number}: {first_line(error)}."
        ) from error


def _parquet(file: Path) -> Iterator[_Numbered]:
    return iter(enumerate(parquet_rows(file), 1))


_READERS: dict[str, Callable[[Path], Iterator[_Numbered]]] = {
    ".jsonl": json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _opened(file: Path) -> IO[str]:
    # utf-8-sig, because spreadsheet programs write a byte order mark.
    if file.name.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


# ------------------------------------------------------------------------------------------------
# The hub


def hub_rows(hub: Hub, split: str) -> Iterator[Row]:
    """Yield the rows of a release's split on the Hugging Face hub (the `datasets` extra).

    Raises:
        MissingExtra: `datasets` is not installed.
        DataError: the release cannot be read from the hub.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra(
            f"{hub.path} comes from the Hugging Face hub, for which `datasets` is not installed: "
            "pip install 'dspy-mux[datasets]', or name a local file with --file."
        ) from error
    from httpx import HTTPError

    try:
        table = datasets.load_dataset(hub.path, hub.config, split=split)
    except (OSError, ValueError, HTTPError, datasets.exceptions.DatasetsError) as error:
        reason = first_line(error).rstrip(".")
        login = (
            f"accept the terms at https://huggingface.co/datasets/{hub.path} "
            "and run `hf auth login`, or "
            if hub.gated
            else ""
        )
        raise DataError(
            f"{hub.path} could not be read from the Hugging Face hub ({reason}): "
            f"{login}name a local file with --file."
        ) from error
    for number, columns in enumerate(table, 1):
        yield Row(f"Row {number} of {hub.path} ({split})", columns)
