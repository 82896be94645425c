"""Import draws into a bank and export them, in the formats of `formats/`.

Parquet needs the `parquet` extra.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError
from ..progress import counted
from .answer_reading import AnswerReader, AnswerReading
from .foreign_rows import ForeignRows
from .formats.inspect_export import write_logs
from .formats.layout import Layout
from .formats.recognition import ROWS, open_source
from .imported import import_rows
from .rows import Row, check_rows
from .sample_bank import SampleBank
from .written import replacing, write_parquet


@dataclass(frozen=True)
class Imported:
    """The outcome of an import.

    Attributes:
        added: draws that the bank did not have.
        already: draws that it had, which stay as they were.
        format: what the file was read as.
        compared: how answers are compared: "text", or the name of what they were read by.
        unread: answers that were read by a type and are none of it: abstentions.
        notes: what else there is to tell, such as which of several scores was read.
    """

    added: int
    already: int
    format: str = field(default="rows", compare=False, repr=False)
    compared: str = field(default="text", compare=False, repr=False)
    unread: int = field(default=0, compare=False, repr=False)
    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)


def import_file(
    bank: SampleBank,
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    layout: Layout | None = None,
    reading: AnswerReading | None = None,
) -> Imported:
    """Add a file's draws to a bank. Draws that are there already stay as they are.

    The format is found by the content: logs of Inspect, samples of lm-evaluation-harness, details
    of lighteval, runs of HELM, results of promptfoo, batches of OpenAI's and vLLM's, the paper's
    reference implementation; else rows with one draw each, as for `read_jsonl`, in JSONL, JSON
    arrays, CSV or Parquet, or as `layout` maps them. Rows without `draw` are further draws,
    numbered behind those recorded, unless the file is there already: a file that was imported
    before adds nothing, and one that has grown at its end adds its new rows. Nothing is written
    unless every row is understood.

    >>> import tempfile
    >>> from dspy_mux import SampleBank
    >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
    ...     line = '{"question_id": "q0", "model": "a", "answer": "4", "correct": true}'
    ...     print(line, file=file, flush=True)
    ...     bank = SampleBank(tempfile.mkdtemp() + "/bank.sqlite")
    ...     import_file(bank, file.name), import_file(bank, file.name)
    (Imported(added=1, already=0), Imported(added=0, already=1))

    Args:
        dataset: the dataset of rows that name none, "default" where this is None; that of all
            draws of a file in another tool's format, which else is the tool's task.
        layout: how the file is laid out, where its content does not say.
        reading: how answers are read and compared; None for the answers of the file, of which
            equal texts are equal.

    Raises:
        ConfigurationError: `layout` does not fit the file.
        DataError: the file cannot be read; a row (the message names it) is not understood; or a
            question id is that of another question, in the file or in the bank's dataset: one of
            another `question`, `problem` or `query`, or of another right answer (`gold`, `target`,
            `ground_truth`, …: `statement.STATED`). Import such a file under another dataset.
        MetricFailed: the metric of `reading` raised.
        MissingExtra: Parquet, or a log compressed by Zstandard, without pyarrow.
        StorageError: the bank cannot be written.
    """
    name, layout = str(path), layout or Layout()
    source, context = open_source(path, layout, read_by_type=reading is not None)
    foreign = ForeignRows(source, name, layout, dataset=None if source.name == ROWS else dataset)
    reader = None if reading is None else AnswerReader(reading, name, source.noun)

    unscored = 0

    def rows(heated: Mapping[Any, float]) -> Iterator[Row]:
        nonlocal unscored
        unscored = 0  # the rows come again from the first one
        found = counted(foreign.rows(), "rows")
        read = found if reader is None else reader.rows(found)
        for row in check_rows(read, name, source.noun, dataset or "default", heated):
            unscored += row.answer is not None and row.score is None
            yield row

    added, already = import_rows(bank, rows, name, None if reader is None else reader.classes)
    for note in _notes(added, already, unscored, reader):
        context.note(note)
    return Imported(
        added,
        already,
        format=source.title,
        compared=foreign.compared if reading is None else reading.name,
        unread=0 if reader is None else reader.unread,
        notes=tuple(context.notes),
    )


def _notes(added: int, already: int, unscored: int, reader: AnswerReader | None) -> Iterator[str]:
    """Yield what there is to say of a file's draws: those that were there, and their scores.

    Args:
        unscored: answers of the file that have no score now.
    """
    if already and reader is not None:
        yield (
            f"{already} draws were there already and keep the answers and scores that they have: "
            f"import the file into a new bank to have them read as {reader.reading.name}"
        )
    if not added:
        return
    if reader is not None and reader.reading.metric is None and reader.scored:
        count = f"{reader.scored} answers" if not already else "new answers"
        yield f"{count} without a score were compared with the right one"
    have = "1 answer has" if unscored == 1 else f"{unscored} answers have"
    if unscored and reader is None:
        yield (
            f"{have} no score, which replay and most verbs need: import the file "
            "into a new bank with --type, such as --type float, or --program TASK, which compare "
            "them with the right answer"
        )
    elif unscored:
        yield (
            f"{have} no score, which replay and most verbs need: the file "
            "states no right answer to compare them with, such as a column gold"
        )


def export_file(
    bank: SampleBank,
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    format: str | None = None,
) -> int:
    """Write a bank's draws to `.jsonl` or `.parquet`, one a row; return the number of rows.

    A row holds its question's fields too; those with a name that the draw uses, such as a gold
    `answer`, under `question_fields`. Parquet holds these and `outputs`, the fields of the
    prediction, as JSON text.

    Args:
        format: "inspect" writes a folder of `.eval` logs, one for each dataset, member and program,
            which Inspect's viewer shows.

    Raises:
        ConfigurationError: the ending is neither, the format is unknown, the file exists, its
            folder does not, or the bank has no such dataset.
        DataError: the bank cannot be read, or is empty.
        StorageError: the file cannot be written.
    """
    target = Path(path)
    if format not in (None, "inspect"):
        raise ConfigurationError(
            f"There is no format {format!r} to export: it is inspect, or by the file's ending."
        )
    if os.path.lexists(target):
        raise ConfigurationError(f"{str(path)!r} is there already: name a new file.")
    if format is None and target.suffix not in (".jsonl", ".parquet"):
        raise ConfigurationError(
            f"{str(path)!r} must end in .jsonl or .parquet, or be a folder of --format inspect."
        )
    if not os.path.isdir(target.parent):
        raise ConfigurationError(
            f"There is no folder {str(target.parent)!r} to write {target.name!r} into."
        )
    with closing(bank.rows(dataset=dataset)) as rows:
        first = next(rows, None)
        if first is None:
            raise DataError(f"The bank {bank.name} holds no draws yet.")
        if format == "inspect":
            return write_logs(chain([first], rows), target)
        if target.suffix == ".parquet":
            return write_parquet([first, *rows], target)
        with replacing(target) as part, part.open("w", encoding="utf-8") as file:
            return len(
                [
                    file.write(json.dumps(row, ensure_ascii=True) + "\n")
                    for row in chain([first], rows)
                ]
            )
