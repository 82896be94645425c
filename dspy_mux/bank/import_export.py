"""Draws in and out of a bank: JSONL, Parquet (the `parquet` extra), and the paper's reference implementation's result files."""

from __future__ import annotations

import hashlib
import json
import os
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ..errors import BankError, ConfigurationError
from ..sampling.abstention import NO_ANSWER
from ..sampling.members import MOST_DRAWS
from ..text import whole
from .fingerprint import fingerprint_inputs
from .rows import Classes, Row, answer_text, checked, json_lines, parquet, parquet_rows
from .sample_bank import SampleBank
from .storage.schema import draws

_BATCH = 20_000


@dataclass(frozen=True)
class Imported:
    """What came of a file.

    Attributes:
        added: draws that the bank had not; already: those that it had, which stay as they were.
    """

    added: int
    already: int


def import_file(
    bank: SampleBank, path: str | os.PathLike[str], *, dataset: str | None = None
) -> Imported:
    """Add a file's draws to a bank. Draws that are there already stay as they are.

    `.jsonl`, `.jsonl.gz` and `.parquet` hold one draw a row, as `read_jsonl` takes them; `.json` is a result file of the reference
    implementation. Rows without `draw` are further draws, numbered behind those recorded, unless the bank has the same answers from
    a file of theirs already. Nothing is written unless every row is understood.

    Args:
        dataset: the name in the bank, for rows that name none; "default" else.

    Raises:
        ConfigurationError: no such file, or rows that are not understood, with the line.
        BankError: the bank cannot be written.
    """
    name = str(path)
    dataset = dataset or "default"
    if name.endswith((".jsonl", ".jsonl.gz")):
        return _import(bank, lambda: checked(json_lines(path), name, dataset=dataset), name)
    if name.endswith(".parquet"):
        rows = _parquet_rows(Path(path))
        return _import(bank, lambda: checked(enumerate(rows, 1), name, "Row", dataset), name)
    if name.endswith(".json"):
        samples = list(_reference_rows(Path(path)))
        return _import(bank, lambda: checked(enumerate(samples, 1), name, "Sample", dataset), name)
    raise ConfigurationError(
        f"{name!r} is no bank file: import .jsonl, .jsonl.gz, .parquet, or a reference result file (.json)."
    )


def export_file(
    bank: SampleBank, path: str | os.PathLike[str], *, dataset: str | None = None
) -> int:
    """Write a bank's draws, one a row, to `.jsonl` or `.parquet`; the number of rows.

    A question's fields stand beside what is the draw's; those of the same names, such as a gold `answer`, under `question_fields`.
    Parquet holds that and `outputs`, all that the program said, as JSON text.

    Raises:
        ConfigurationError: the ending is neither, the file is there already, or cannot be written.
        BankError: the bank cannot be read, or has no such dataset.
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
            raise BankError(f"The bank {bank.name} holds no draws yet.")
        if target.suffix == ".parquet":
            return _write_parquet([first, *rows], target)
        with _arriving(target) as part, part.open("w", encoding="utf-8") as file:
            return len(
                [
                    file.write(json.dumps(row, ensure_ascii=True) + "\n")
                    for row in chain([first], rows)
                ]
            )


@contextmanager
def _arriving(target: Path) -> Iterator[Path]:
    """A file beside the target, which it becomes once it is whole.

    Raises:
        ConfigurationError: it cannot be written.
    """
    part = target.with_name(target.name + ".part")
    try:
        yield part
        part.replace(target)
    except OSError as error:
        raise ConfigurationError(
            f"{str(target)!r} cannot be written: {error.strerror or error}."
        ) from error
    finally:
        with suppress(OSError):  # what could not be made is not there
            part.unlink(missing_ok=True)


def _import(bank: SampleBank, rows: Callable[[], Iterable[Row]], source: str) -> Imported:
    """Twice through the rows, so that nothing is written before all are understood and never more than a batch is in memory."""
    made_by: dict[tuple[str, str], None] = {}
    asked: dict[str, dict[str, tuple[str, str, dict[str, Any]]]] = {}
    unnumbered = Unnumbered()
    for row in rows():
        made_by.setdefault((row.member, row.program))
        of_dataset = asked.setdefault(row.dataset, {})
        if row.key not in of_dataset:
            of_dataset[row.key] = (_fingerprint(row), row.question, row.fields())
        unnumbered.see(row)
    if not made_by:
        raise ConfigurationError(f"{source} holds no draws.")
    for firsts in asked.values():
        if len({key for key, _, _ in firsts.values()}) < len(firsts):
            raise ConfigurationError(
                f"{source} has rows of one question with its question_fingerprint, and rows without it."
            )
    told = [
        (member, program, {"imported": Path(source).name, "model": member})
        for member, program in made_by
    ]
    programs = dict(zip(made_by, bank.programs_of(told), strict=True))
    questions: dict[tuple[str, str], int] = {}
    for name, firsts in asked.items():
        ids = bank.questions_of(name, list(firsts.values()))
        questions.update({(name, key): at for key, at in zip(firsts, ids, strict=True)})
    classes = Classes()
    for question, answer, answer_class in bank.known_answers(list(questions.values())):
        classes.know(question, answer, answer_class)
    there = bank.drawn(list(programs.values()), list(questions.values()))
    count, already, rest = 0, 0, iter(rows())
    with ExitStack() as stack:
        # Rows without a number are written all at once: after half of them nobody could tell what the others are.
        together = stack.enter_context(bank.writing()) if unnumbered else None
        moved = {} if together is None else unnumbered.moved(together, questions, programs)
        while batch := list(islice(rest, _BATCH)):
            values = []
            for row in batch:
                question, program = (
                    questions[row.dataset, row.key],
                    programs[row.member, row.program],
                )
                draw = row.draw if "draw" in row.told else row.draw + moved[question, program]
                already += (program, question, draw) in there
                values.append(_values(row, question, program, draw, classes.of(question, row)))
            with bank.writing() if together is None else nullcontext(together) as connection:
                bank.add(connection, values)
            count += len(batch)
    return Imported(count - already, already)


def _values(
    row: Row, question: int, program: int, draw: int, answer_class: int | None
) -> dict[str, Any]:
    told = row.told
    usable = answer_class is not None
    cause = told.get("cause")
    return {
        "question": question,
        "program": program,
        "draw": draw,
        "answer": json.dumps(told["answer"]) if usable else None,
        "answer_class": answer_class,
        "score": row.score if usable else None,
        "cause": None if usable else cause if isinstance(cause, str) else NO_ANSWER,
        "outputs": row.outputs,
        **{
            name: told.get(name)
            for name in ("calls", "prompt_tokens", "completion_tokens", "seconds", "cost")
        },
        "created": told.get("created") or time.time(),
    }


def _fingerprint(row: Row) -> str:
    """As it was exported, else of the question's id."""
    return row.told.get("question_fingerprint") or fingerprint_inputs({"question_id": row.question})


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if value is not None or key == "answer"}
        for row in parquet_rows(path)
    ]


def _write_parquet(rows: list[dict[str, Any]], target: Path) -> int:
    arrow = parquet()
    if not rows:
        raise BankError("There are no draws to export.")
    told = [{whole(key): _cell(value) for key, value in row.items()} for row in rows]
    names = dict.fromkeys(key for row in told for key in row)
    columns = {name: [row.get(name) for row in told] for name in names}
    # A column may hold answers of several types; as text they all fit.
    for name, values in columns.items():
        if len({type(value) for value in values if value is not None}) > 1:
            columns[name] = [
                None if value is None else value if isinstance(value, str) else json.dumps(value)
                for value in values
            ]
    with _arriving(target) as part:
        arrow.parquet.write_table(arrow.table(columns), part)
    return len(rows)


def _cell(value: Any) -> Any:
    """A value as Parquet can hold it: structures and numbers of more than 64 bits as JSON, text in UTF-8."""
    if isinstance(value, (dict, list)) or (
        isinstance(value, int) and not -(2**63) <= value < 2**63
    ):
        return json.dumps(value)
    return whole(value) if isinstance(value, str) else value


def _reference_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        model, responses = str(told["model"]), list(told["responses"])
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file {str(path)!r}.") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(
            f"{str(path)!r} is no result file of the reference implementation (model, responses)."
        ) from error
    for number, response in enumerate(responses, 1):
        try:
            text = next(
                str(response[key]) for key in ("problem", "question", "prompt") if response.get(key)
            )
            question = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            for sample in response["samples"]:
                usage = sample.get("token_usage") or {}
                yield {
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
        except (StopIteration, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(
                f"Response {number} of {str(path)!r} lacks its question or its samples."
            ) from error


#: Whose draws are numbered together: (dataset, question's key, member, program).
Unit = tuple[str, str, str, str]


class Unnumbered:
    """The draws of a file whose rows have no `draw`; within the file they are numbered already, in order."""

    def __init__(self) -> None:
        # Draw and hash of its answer in turn, as a file may have millions.
        self._runs: dict[Unit, array[int]] = {}
        self._highest: dict[Unit, int] = {}

    def see(self, row: Row) -> None:
        """Take note of a row of the file."""
        if "draw" not in row.told:
            self._runs.setdefault(_unit(row), array("q")).extend((row.draw, hash(row.answer)))
        elif self._runs and (unit := _unit(row)) in self._runs:
            self._highest[unit] = max(row.draw, self._highest.get(unit, 0))

    def moved(
        self,
        connection: sa.Connection,
        questions: Mapping[tuple[str, str], int],
        programs: Mapping[tuple[str, str], int],
    ) -> dict[tuple[int, int], int]:
        """(question, program) → by how much its draws without a number are moved on.

        The file is one that was imported before where each of its runs of answers is recorded, or goes on from all that is; else
        its draws are new ones.

        Args:
            connection: a transaction, the same in which they are written.
            questions: the bank's ids, by dataset and key; programs: by member and program.

        Raises:
            ConfigurationError: more draws of a member for a question than a bank numbers.
        """
        ids = {unit: (questions[unit[:2]], programs[unit[2:]]) for unit in self._runs}
        recorded = _recorded(connection, set(ids.values()))
        places = {ids[unit]: _place(run, recorded[ids[unit]]) for unit, run in self._runs.items()}
        known = {place: by for place, by in places.items() if by is not None}
        if len(known) == len(places):
            return known
        return {ids[unit]: self._behind(unit, recorded[ids[unit]]) for unit in self._runs}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def _behind(self, unit: Unit, there: Mapping[int, int]) -> int:
        if not there:
            return 0
        run = self._runs[unit]
        by = max(run[0], max(there) + 1, self._highest.get(unit, 0) + 1) - run[0]
        if run[-2] + by >= MOST_DRAWS:
            raise ConfigurationError(
                f"The bank would have more than {MOST_DRAWS} draws of {unit[2]!r} for one question: import into another one."
            )
        return by


def _unit(row: Row) -> Unit:
    return row.dataset, row.key, row.member, row.program


def _recorded(
    connection: sa.Connection, wanted: set[tuple[int, int]]
) -> dict[tuple[int, int], dict[int, int]]:
    """(question, program) → its draws with the hash of their answers."""
    recorded: dict[tuple[int, int], dict[int, int]] = {unit: {} for unit in wanted}
    query = sa.select(draws.c.question, draws.c.program, draws.c.draw, draws.c.answer)
    query = query.where(draws.c.program.in_({program for _, program in wanted}))
    for question, program, draw, answer in connection.execute(query):
        if (of_unit := recorded.get((question, program))) is not None:
            of_unit[draw] = hash(None if answer is None else answer_text(json.loads(answer)))
    return recorded


def _place(run: array[int], there: Mapping[int, int]) -> int | None:
    """By how much a run is moved on to stand where it is recorded, whole or begun; None where it is not."""
    numbered = dict(zip(run[::2], run[1::2], strict=True))
    if all(numbered.get(draw) == answer for draw, answer in there.items()):
        return 0
    for by in (draw - run[0] for draw in sorted(there) if draw >= run[0]):
        if all(there.get(draw + by) == answer for draw, answer in numbered.items()):
            return by
    return None
