"""Where a task's rows come from: a local file that the user names, else the Hugging Face hub; and how they are parted.

A file ends in `.jsonl`, `.json` (a list of objects), `.csv` or `.parquet`, and all but Parquet may be gzipped (`.gz`). Its columns
are those of the task's well-known release.
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
from typing import IO, Any, Literal, TypeVar

import dspy

from dspy_mux.bank.rows import json_lines, parquet_rows
from dspy_mux.errors import ConfigurationError

Split = Literal["train", "validation", "test"]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Row:
    """One row of a task's release.

    Attributes:
        place: where it stands, as the start of a sentence: "Line 3 of gsm8k.jsonl".
        columns: its values by column.
    """

    place: str
    columns: Mapping[str, Any]

    def text(self, column: str) -> str:
        """The text of a column, a number as it is written. Raises ConfigurationError where there is none."""
        if column not in self.columns:
            raise ConfigurationError(
                f"{self.place} lacks the column {column!r}; it has {', '.join(map(str, self.columns))}."
            )
        value = self.columns[column]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(column, "which must be text")
        return value

    def fault(self, column: str, what: str) -> ConfigurationError:
        """The error that says what is wrong with a column; `what` ends its sentence."""
        return ConfigurationError(
            f"{self.place} has {self.columns.get(column)!r:.80} in the column {column!r}, {what}."
        )


@dataclass(frozen=True)
class Hub:
    """A task's release on the Hugging Face hub.

    Attributes:
        path, config: as `datasets.load_dataset` takes them.
        test: the release's split that the task's questions come from.
        train: the release's split for training, where it has one.
        gated: whether one must accept its terms and log in.
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
    """A split's examples, or those of all splits in the order train, validation, test.

    A file is the task's test set: a fifth of it is "validation", the rest "test". From the hub it is the same, except where the
    release has a training split too: then a fifth of that is "validation", its rest "train", and the test split "test". A hash of
    seed and question id orders the rows before they are parted, so the first `limit` are a fair sample and a row added later moves
    few of the others. A question that stands there twice with the same answer counts once.

    Args:
        task: the task's name, for messages.
        make: row → example with its inputs marked, `question_id` and `answer`; raises ConfigurationError for a row that is none.
        hub: where the release is when no file is given.
        split: "train", "validation", "test", or None for all.
        seed: selects the split.
        limit: at most this many examples, from the front.
        file: a local file with the release's columns.

    Raises:
        ConfigurationError: a split that the source lacks, a limit below 1, or a source that cannot be read or understood.
    """
    if file is not None:
        parts = _halves(_unique(read_rows(file), make), "test", seed, str(file))
    elif hub.train is None:
        parts = _halves(_unique(hub_rows(hub, hub.test), make), "test", seed, hub.path)
    else:
        names = ("train", "validation", "test")
        check(task, names, split, limit)
        parts = (
            {"test": ordered(_unique(hub_rows(hub, hub.test), make), seed)}
            if split in ("test", None)
            else {}
        )
        if split != "test":
            parts |= _halves(_unique(hub_rows(hub, hub.train), make), "train", seed, hub.path)
        parts = {name: parts[name] for name in names if name in parts}
    return front(task, parts, split, limit)


def front(
    task: str, splits: Mapping[str, Sequence[_Item]], split: str | None, limit: int | None
) -> list[_Item]:
    """The first `limit` items of a split, or of all in their order. Raises ConfigurationError as `check` does."""
    check(task, tuple(splits), split, limit)
    chosen = (
        splits[split] if split is not None else [item for part in splits.values() for item in part]
    )
    return list(chosen[:limit])


def check(task: str, splits: Sequence[str], split: str | None, limit: int | None) -> None:
    """Raises ConfigurationError for a split that is not one of `splits`, or a limit below 1."""
    if split is not None and split not in splits:
        raise ConfigurationError(
            f"{task} has no split {split!r}: choose one of {', '.join(splits)}."
        )
    if limit is not None and limit < 1:
        raise ConfigurationError(
            f"limit is {limit}: give a number of examples of at least 1, or None for all."
        )


def ordered(questions: Sequence[dspy.Example], seed: int) -> list[dspy.Example]:
    """Examples in the order of a hash of seed and question id."""
    return sorted(
        questions,
        key=lambda example: hashlib.sha256(f"{seed}:{example.question_id}".encode()).digest(),
    )


def question_id(task: str, text: str) -> str:
    """A stable id of a question that its release gives none: the task's name and a hash of the text."""
    return f"{task}-{hashlib.sha256(text.strip().encode()).hexdigest()[:12]}"


def _halves(
    questions: Sequence[dspy.Example], rest: str, seed: int, source: str
) -> dict[str, list[dspy.Example]]:
    """A fifth as "validation", the others under the name `rest`."""
    fifth = len(questions) // 5
    if not fifth:
        raise ConfigurationError(
            f"{source} has {len(questions)} questions: at least 5 are needed, for a fifth are kept for validation."
        )
    shuffled = ordered(questions, seed)
    parts = {"validation": shuffled[:fifth], rest: shuffled[fifth:]}
    return parts if rest == "test" else dict(reversed(parts.items()))


def _unique(rows: Iterator[Row], make: Callable[[Row], dspy.Example]) -> list[dspy.Example]:
    found: dict[str, tuple[dspy.Example, Row]] = {}
    for row in rows:
        example = make(row)
        first, at = found.setdefault(example.question_id, (example, row))
        if first.answer != example.answer:
            raise ConfigurationError(
                f"{row.place} asks the question of {at.place[0].lower()}{at.place[1:]} with another answer."
            )
    return [example for example, _ in found.values()]


# ------------------------------------------------------------------------------------------------ a local file


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a local file.

    Raises:
        ConfigurationError: there is no such file, its name says no known format, or it cannot be read as that format.
    """
    suffix = Path(file.name.removesuffix(".gz")).suffix.lower()
    reader = _READERS.get(suffix)
    if reader is None or (suffix == ".parquet" and file.name.endswith(".gz")):
        raise ConfigurationError(
            f"{str(file)!r} is of no known format: give a file in .jsonl, .json, .csv (each also .gz) or .parquet."
        )
    if not file.is_file():
        raise ConfigurationError(f"There is no file {str(file)!r}.")
    what = "Line" if suffix == ".jsonl" else "Row"
    for number, columns in reader(file):
        yield Row(f"{what} {number} of {file}", columns)


def _json(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with _opened(file) as stream:
            told = json.load(stream)
    except (OSError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{file} cannot be read as JSON ({str(error).splitlines()[0]}); a file of one object a line is named .jsonl."
        ) from error
    if not isinstance(told, list):
        raise ConfigurationError(f"{file} must hold a list of objects, one a question.")
    for number, row in enumerate(told, 1):
        if not isinstance(row, dict):
            raise ConfigurationError(f"Row {number} of {file} is no JSON object.")
        yield number, row


def _csv(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with _opened(file) as stream:
            for number, row in enumerate(csv.DictReader(stream, restkey="", strict=True), 1):
                if "" in row and isinstance(row[""], list):
                    raise ConfigurationError(
                        f"Row {number} of {file} has more values than there are columns."
                    )
                yield number, row
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError(
            f"{file} cannot be read as CSV after row {number}: {str(error).splitlines()[0]}."
        ) from error


def _parquet(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    return iter(enumerate(parquet_rows(file), 1))


_READERS: dict[str, Callable[[Path], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".jsonl": json_lines,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _opened(file: Path) -> IO[str]:
    # utf-8-sig: spreadsheet programs write a byte order mark.
    if file.name.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


# ------------------------------------------------------------------------------------------------ the hub


def hub_rows(hub: Hub, split: str) -> Iterator[Row]:
    """The rows of a split of a release on the Hugging Face hub (the `datasets` extra).

    Raises:
        ConfigurationError: `datasets` is not installed, or the hub does not give the release.
    """
    try:
        import datasets
    except ImportError as error:
        raise ConfigurationError(
            f"{hub.path} comes from the Hugging Face hub, for which `datasets` is not installed: "
            "pip install 'dspy-mux[datasets]', or name a local file with --file."
        ) from error
    from httpx import HTTPError

    try:
        table = datasets.load_dataset(hub.path, hub.config, split=split)
    except (OSError, ValueError, HTTPError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        login = (
            f"accept the terms at https://huggingface.co/datasets/{hub.path} and run `hf auth login`, or "
            if hub.gated
            else ""
        )
        raise ConfigurationError(
            f"{hub.path} could not be read from the Hugging Face hub ({reason}): {login}name a local file with --file."
        ) from error
    for number, columns in enumerate(table, 1):
        yield Row(f"Row {number} of {hub.path} ({split})", columns)
