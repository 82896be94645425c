"""Import draws into a bank and export them: JSONL, Parquet, and the paper's result files.

Parquet needs the `parquet` extra. The paper's reference implementation writes result files.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError, DataError, StorageError
from ..sampling.causes import NO_CAUSE
from ..text import whole
from .answer_classes import AnswerClasses
from .evidence import values_of
from .files import json_lines, parquet, parquet_rows
from .fingerprint import fingerprint_inputs
from .question_rows import put_questions
from .rows import Heat, Heats, Row, check_rows
from .sample_bank import SampleBank
from .temperatures import shown
from .unnumbered import Unnumbered

_BATCH = 20_000


@dataclass(frozen=True)
class Imported:
    """The outcome of an import.

    Attributes:
        added: draws that the bank did not have.
        already: draws that it had, which stay as they were.
    """

    added: int
    already: int


def import_file(
    bank: SampleBank, path: str | os.PathLike[str], *, dataset: str | None = None
) -> Imported:
    """Add a file's draws to a bank. Draws that are there already stay as they are.

    `.jsonl`, `.jsonl.gz` and `.parquet` hold one draw a row, as for `read_jsonl`; `.json` is a
    result file of the reference implementation. Rows without `draw` are further draws, numbered
    behind those recorded, unless the file is there already: a file that was imported before adds
    nothing, and one that has grown at its end adds its new rows. Nothing is written unless every
    row is understood.

    >>> import tempfile
    >>> from dspy_mux import SampleBank
    >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
    ...     line = '{"question_id": "q0", "model": "a", "answer": "4", "correct": true}'
    ...     print(line, file=file, flush=True)
    ...     bank = SampleBank(tempfile.mkdtemp() + "/bank.sqlite")
    ...     import_file(bank, file.name), import_file(bank, file.name)
    (Imported(added=1, already=0), Imported(added=0, already=1))

    Args:
        dataset: the dataset of rows that name none; "default" where this is None.

    Raises:
        ConfigurationError: the file's ending is unknown.
        DataError: the file cannot be read; a row (the message names it) is not understood; or a
            question id is that of another question, in the file or in the bank's dataset: one of
            another `question`, `problem` or `query`, or of another right answer (`gold`, `target`,
            `ground_truth`, …: `statement.STATED`). Import such a file under another dataset.
        MissingExtra: Parquet without pyarrow.
        StorageError: the bank cannot be written.
    """
    name = str(path)
    dataset = dataset or "default"
    noun = "Line"
    rows: Callable[[], Iterable[tuple[int, dict[str, Any]]]] = partial(json_lines, path)
    if name.endswith(".parquet"):
        noun, rows = "Row", partial(enumerate, _parquet_rows(Path(path)), 1)
    elif name.endswith(".json"):
        noun, rows = "Sample", partial(enumerate, list(_reference_rows(Path(path))), 1)
    elif not name.endswith((".jsonl", ".jsonl.gz")):
        raise ConfigurationError(
            f"{name!r} is not a bank file: import .jsonl, .jsonl.gz, .parquet, or a reference "
            "result file (.json)."
        )
    return _import(bank, lambda heated: check_rows(rows(), name, noun, dataset, heated), name)


def export_file(
    bank: SampleBank, path: str | os.PathLike[str], *, dataset: str | None = None
) -> int:
    """Write a bank's draws to `.jsonl` or `.parquet`, one a row; return the number of rows.

    A row holds its question's fields too; those with a name that the draw uses, such as a gold
    `answer`, under `question_fields`. Parquet holds these and `outputs`, the fields of the
    prediction, as JSON text.

    Raises:
        ConfigurationError: the ending is neither, the file exists, its folder does not, or the
            bank has no such dataset.
        DataError: the bank cannot be read, or is empty.
        StorageError: the file cannot be written.
    """
    target = Path(path)
    if os.path.lexists(target):
        raise ConfigurationError(f"{str(path)!r} is there already: name a new file.")
    if target.suffix not in (".jsonl", ".parquet"):
        raise ConfigurationError(f"{str(path)!r} must end in .jsonl or .parquet.")
    if not os.path.isdir(target.parent):
        raise ConfigurationError(
            f"There is no folder {str(target.parent)!r} to write {target.name!r} into."
        )
    with closing(bank.rows(dataset=dataset)) as rows:
        first = next(rows, None)
        if first is None:
            raise DataError(f"The bank {bank.name} holds no draws yet.")
        if target.suffix == ".parquet":
            return _write_parquet([first, *rows], target)
        with _replacing(target) as part, part.open("w", encoding="utf-8") as file:
            return len(
                [
                    file.write(json.dumps(row, ensure_ascii=True) + "\n")
                    for row in chain([first], rows)
                ]
            )


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A file beside the target that replaces it once it is whole.

    Raises:
        StorageError: it cannot be written.
    """
    part = target.with_name(target.name + ".part")
    try:
        yield part
        part.replace(target)
    except OSError as error:
        raise StorageError(
            f"{str(target)!r} cannot be written: {error.strerror or error}."
        ) from error
    finally:
        with suppress(OSError):  # it may not have been made
            part.unlink(missing_ok=True)


class _Contents:
    """The programs and questions of a file, and how its unnumbered draws continue."""

    def __init__(self, source: str):
        self.source = source
        self.made_by: dict[tuple[str, str], float | None] = {}  # program → its temperature
        self.asked: dict[str, dict[str, tuple[str, str, dict[str, Any]]]] = {}
        self.unnumbered = Unnumbered()
        self.heats = Heats()

    def see(self, row: Row) -> None:
        self.heats.see(row)
        temperature = self.made_by.setdefault((row.member, row.program), row.temperature)
        if row.temperature is not None:
            if temperature not in (None, row.temperature):
                raise DataError(
                    f"{self.source} has draws of {row.member!r} by the program {row.program!r} at "
                    f"the temperatures {shown(temperature)} and {shown(row.temperature)}: leave "
                    "their question_fingerprint out, or name a program for each."
                )
            self.made_by[row.member, row.program] = row.temperature
        asked = self.asked.setdefault(row.dataset, {})
        if row.key not in asked:
            asked[row.key] = (_fingerprint(row), row.question, row.fields())
        self.unnumbered.see(row)

    def check(self) -> None:
        if not self.made_by:
            raise DataError(f"{self.source} holds no draws.")
        for asked in self.asked.values():
            if len({key for key, _, _ in asked.values()}) < len(asked):
                raise DataError(
                    f"{self.source} has rows of one question with its question_fingerprint, and "
                    "rows without it."
                )

    def add_programs(self, bank: SampleBank) -> dict[tuple[str, str], int]:
        """Return (member, program) → its id."""
        described = [
            (
                member,
                program,
                {
                    "imported": Path(self.source).name,
                    "model": member,
                    **({} if temperature is None else {"temperature": temperature}),
                },
            )
            for (member, program), temperature in self.made_by.items()
        ]
        return dict(zip(self.made_by, bank.add_programs(described), strict=True))

    def add_questions(self, bank: SampleBank) -> dict[tuple[str, str], int]:
        """Return (dataset, key) → its id."""
        questions: dict[tuple[str, str], int] = {}
        with bank.writing() as connection:
            for name, asked in self.asked.items():
                rows = list(asked.values())
                ids = put_questions(bank.database, connection, name, rows, self.source)
                questions.update({(name, key): at for key, at in zip(asked, ids, strict=True)})
        return questions


def _import(
    bank: SampleBank, rows: Callable[[Mapping[Heat, float]], Iterable[Row]], source: str
) -> Imported:
    """Import rows in passes: nothing is written before all are understood, nor held at once."""
    heated: Mapping[Heat, float] = {}
    while True:
        contents = _Contents(source)
        for row in rows(heated):
            contents.see(row)
        if heated or not (heated := contents.heats.found()):
            break
    contents.check()
    questions, programs = contents.add_questions(bank), contents.add_programs(bank)
    classes = AnswerClasses()
    for known in bank.answers.all(list(questions.values())):
        classes.learn(known.question, known.answer, known.answer_class)
    there = bank.drawn(list(programs.values()), list(questions.values()))
    count, already, rest = 0, 0, iter(rows(heated))
    unnumbered = contents.unnumbered
    with ExitStack() as stack:
        # Unnumbered rows are written all at once: half a file could not be recognised.
        together = stack.enter_context(bank.writing()) if unnumbered else None
        if together is not None:
            unnumbered.start(together, programs.values())
        while batch := list(islice(rest, _BATCH)):
            values = []
            for row in batch:
                question = questions[row.dataset, row.key]
                program = programs[row.member, row.program]
                draw = row.draw if row.has_number else unnumbered.number(row, question, program)
                if draw is None or (program, question, draw) in there:
                    already += 1
                if draw is not None:
                    answer_class = classes.classify(question, row)
                    values.append(_values(row, question, program, draw, answer_class))
            with bank.writing() if together is None else nullcontext(together) as connection:
                bank.add(connection, values)
            count += len(batch)
        if together is not None:
            unnumbered.finish(together, bank.database)
    return Imported(count - already, already)


def _values(
    row: Row, question: int, program: int, draw: int, answer_class: int | None
) -> dict[str, Any]:
    raw = row.raw
    usable = answer_class is not None
    cause = raw.get("cause")
    return {
        "question": question,
        "program": program,
        "draw": draw,
        "answer": json.dumps(raw["answer"]) if usable else None,
        "answer_class": answer_class,
        "score": row.score if usable else None,
        "cause": None if usable else cause if isinstance(cause, str) else NO_CAUSE,
        "outputs": row.outputs,
        "calls": raw.get("calls"),
        "prompt_tokens": raw.get("prompt_tokens"),
        "completion_tokens": row.evidence.completion_tokens,
        "seconds": raw.get("seconds"),
        "cost": raw.get("cost"),
        "created": raw.get("created") or time.time(),
        **values_of(row.evidence),
    }


def _fingerprint(row: Row) -> str:
    """Return the question's fingerprint as exported, else that of its id."""
    exported: str | None = row.raw.get("question_fingerprint")
    return exported or fingerprint_inputs({"question_id": row.question})


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if value is not None or key == "answer"}
        for row in parquet_rows(path)
    ]


def _write_parquet(rows: list[dict[str, Any]], target: Path) -> int:
    arrow = parquet()
    cells = [{whole(key): _cell(value) for key, value in row.items()} for row in rows]
    names = dict.fromkeys(key for row in cells for key in row)
    columns = {name: [row.get(name) for row in cells] for name in names}
    # A column may hold answers of several types; as text they all fit.
    for name, values in columns.items():
        if len({type(value) for value in values if value is not None}) > 1:
            columns[name] = [
                None if value is None else value if isinstance(value, str) else json.dumps(value)
                for value in values
            ]
    with _replacing(target) as part:
        arrow.parquet.write_table(arrow.table(columns), part)
    return len(rows)


def _cell(value: Any) -> Any:
    """Return a value for Parquet: structures and huge integers as JSON, text as UTF-8."""
    if isinstance(value, (dict, list)) or (
        isinstance(value, int) and not -(2**63) <= value < 2**63
    ):
        return json.dumps(value)
    return whole(value) if isinstance(value, str) else value


def _reference_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        model, responses = str(result["model"]), list(result["responses"])
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r}.") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} is not a result file of the reference implementation (model, "
            "responses)."
        ) from error
    for number, response in enumerate(responses, 1):
        try:
            yield from _reference_samples(model, response)
        except (StopIteration, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"Response {number} of {str(path)!r} lacks its question or its samples."
            ) from error


def _reference_samples(model: str, response: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("problem", "question", "prompt")
    text = next(str(response[name]) for name in names if response.get(name))
    question = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    rows = []
    for sample in response["samples"]:
        usage = sample.get("token_usage") or {}
        rows.append(
            {
                "question_id": question,
                "question": text,
                "model": model,
                "answer": sample.get("extracted_answer"),
                "correct": sample.get("is_correct"),
                "text": sample.get("model_response"),
                "gold": response.get("answer"),
                "prompt_tokens": usage.get("prompt_tokens"),
                "completion_tokens": usage.get("completion_tokens"),
            }
        )
    return rows
