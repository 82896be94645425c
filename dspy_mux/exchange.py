"""Draws in and out of a bank: JSONL, Parquet (the `parquet` extra), and the paper's reference implementation's result files."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from . import fingerprint
from .bank import SampleBank
from .errors import BankError, ConfigurationError
from .record import OF_A_DRAW, json_lines

_BATCH = 20_000


def import_file(bank: SampleBank, path: str | os.PathLike[str], *, dataset: str | None = None) -> int:
    """Add a file's draws to a bank; the number of rows read. Draws that are there already stay as they are.

    `.jsonl`, `.jsonl.gz` and `.parquet` hold one draw a row, as `read_jsonl` takes them; `.json` is a result file of the reference
    implementation. Nothing is written unless every row is understood.

    Args:
        dataset: the name in the bank, for rows that name none; "default" else.

    Raises:
        ConfigurationError: no such file, or rows that are not understood, with the line.
        BankError: the bank cannot be written.
    """
    name = str(path)
    if name.endswith((".jsonl", ".jsonl.gz")):
        rows: Iterable[dict[str, Any]] = (row for _, row in json_lines(path))
    elif name.endswith(".parquet"):
        rows = _parquet_rows(Path(path))
    elif name.endswith(".json"):
        rows = _reference_rows(Path(path))
    else:
        raise ConfigurationError(
            f"{name!r} is no bank file: import .jsonl, .jsonl.gz, .parquet, or a reference result file (.json)."
        )
    return _import(bank, [_checked(row, number, name) for number, row in enumerate(rows, 1)], dataset or "default", name)


def export_file(bank: SampleBank, path: str | os.PathLike[str], *, dataset: str | None = None) -> int:
    """Write a bank's draws, one a row, to `.jsonl` or `.parquet`; the number of rows.

    Raises:
        ConfigurationError: the ending is neither, or the file is there already.
        BankError: the bank cannot be read, or has no such dataset.
    """
    target = Path(path)
    if target.exists():
        raise ConfigurationError(f"{str(path)!r} is there already: name a new file.")
    rows = bank.rows(dataset=dataset)
    if target.suffix == ".parquet":
        return _write_parquet(list(rows), target)
    if target.suffix != ".jsonl":
        raise ConfigurationError(f"{str(path)!r} must end in .jsonl or .parquet.")
    part = target.with_name(target.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        lines = [file.write(json.dumps(row, ensure_ascii=True) + "\n") for row in rows]
    part.replace(target)
    return len(lines)


def _import(bank: SampleBank, rows: list[dict[str, Any]], dataset: str, source: str) -> int:
    if not rows:
        raise ConfigurationError(f"{source} holds no draws.")
    told = {"imported": Path(source).name}
    # A row says itself which program it is of where it was exported from a bank.
    of_rows = {(str(row["model"]), str(row.get("program") or "imported")): row for row in rows}
    programs = dict(
        zip(of_rows, bank.programs_of([(member, program, {**told, "model": member}) for member, program in of_rows]), strict=True)
    )
    questions: dict[tuple[str, str], int] = {}
    by_dataset: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by_dataset.setdefault(str(row.get("dataset") or dataset), {}).setdefault(str(row["question_id"]), row)
    for name, asked in by_dataset.items():
        given = [(_key(question, row), question, _fields(row)) for question, row in asked.items()]
        questions.update(zip([(name, question) for question in asked], bank.questions_of(name, given), strict=True))
    classes: dict[tuple[int, str], int] = {}
    sizes: dict[int, int] = {}
    pending = iter(rows)
    while batch := list(islice(pending, _BATCH)):
        values = []
        for row in batch:
            question = questions[str(row.get("dataset") or dataset), str(row["question_id"])]
            program = programs[str(row["model"]), str(row.get("program") or "imported")]
            values.append(_values(row, question, program, classes, sizes))
        with bank.writing() as connection:
            bank.add(connection, values)
    return len(rows)


def _values(
    row: dict[str, Any], question: int, program: int, classes: dict[tuple[int, str], int], sizes: dict[int, int]
) -> dict[str, Any]:
    answer, given = row["answer"], row.get("answer_class")
    usable = answer is not None and answer != ""
    answer_class = None
    if usable:
        key = (question, f"\0{given}" if given is not None else json.dumps(answer, sort_keys=True))
        if key not in classes:
            classes[key] = sizes[question] = sizes.get(question, -1) + 1
        answer_class = classes[key]
    score = row.get("correct", row.get("score"))
    return {
        "question": question,
        "program": program,
        "draw": row["draw"],
        "answer": json.dumps(answer) if usable else None,
        "answer_class": answer_class,
        "score": None if score is None or not usable else float(score),
        "cause": None if usable else row.get("cause") or "no answer",
        "outputs": json.dumps({"text": row["text"]}) if isinstance(row.get("text"), str) else None,
        "calls": row.get("calls"),
        "prompt_tokens": row.get("prompt_tokens"),
        "completion_tokens": row.get("completion_tokens"),
        "seconds": row.get("seconds"),
        "cost": row.get("cost"),
        "created": row.get("created") or time.time(),
    }


def _checked(row: dict[str, Any], number: int, source: str) -> dict[str, Any]:
    model = row.get("model", row.get("member"))
    wrong = None
    if not isinstance(row.get("question_id"), (str, int)) or not isinstance(model, str):
        wrong = "needs a question_id and a model"
    elif "answer" not in row:
        wrong = "has no answer"
    elif isinstance(row.get("draw"), bool) or not isinstance(row.get("draw"), int) or row["draw"] < 0:
        wrong = f"has the draw {row.get('draw')!r}, which must be a whole number from 0"
    elif not isinstance(row.get("correct", row.get("score")), (bool, int, float, type(None))):
        wrong = "has a score that is no number"
    if wrong is not None:
        raise ConfigurationError(f"Line {number} of {source} {wrong}.")
    return {**row, "model": model}


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in OF_A_DRAW and isinstance(value, (str, int, float, bool))}


def _key(question: str, row: dict[str, Any]) -> str:
    """A question's fingerprint: as it was exported, else of its text where there is one, so that later draws of it join."""
    if isinstance(row.get("question_fingerprint"), str):
        return str(row["question_fingerprint"])
    return fingerprint.of_inputs({"question_id": question})


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError("Parquet needs pyarrow, which is not installed: pip install 'dspy-mux[parquet]'.") from error
    return pyarrow


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    arrow = _parquet()
    try:
        rows: list[dict[str, Any]] = arrow.parquet.read_table(path).to_pylist()
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file {str(path)!r}.") from error
    except (OSError, arrow.ArrowException) as error:
        raise ConfigurationError(f"{str(path)!r} is no Parquet file: {str(error).splitlines()[0]}.") from error
    for row in rows:
        yield {key: value for key, value in row.items() if value is not None or key == "answer"}


def _write_parquet(rows: list[dict[str, Any]], target: Path) -> int:
    arrow = _parquet()
    if not rows:
        raise BankError("There are no draws to export.")
    told = [{key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in row.items()} for row in rows]
    names = dict.fromkeys(key for row in told for key in row)
    columns = {name: [row.get(name) for row in told] for name in names}
    # A column may hold answers of several types; as text they all fit.
    for name, values in columns.items():
        if len({type(value) for value in values if value is not None}) > 1:
            columns[name] = [None if value is None else value if isinstance(value, str) else json.dumps(value) for value in values]
    arrow.parquet.write_table(arrow.table(columns), target)
    return len(rows)


def _reference_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        model, responses = str(told["model"]), list(told["responses"])
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file {str(path)!r}.") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"{str(path)!r} is no result file of the reference implementation (model, responses).") from error
    for number, response in enumerate(responses, 1):
        try:
            text = next(str(response[key]) for key in ("problem", "question", "prompt") if response.get(key))
            question = hashlib.sha256(text.encode()).hexdigest()[:16]
            for draw, sample in enumerate(response["samples"]):
                usage = sample.get("token_usage") or {}
                yield {
                    "question_id": question,
                    "question": text,
                    "model": model,
                    "draw": draw,
                    "answer": sample.get("extracted_answer"),
                    "correct": sample.get("is_correct"),
                    "text": sample.get("model_response"),
                    "gold": response.get("answer"),
                    "prompt_tokens": usage.get("prompt_tokens"),
                    "completion_tokens": usage.get("completion_tokens"),
                }
        except (StopIteration, KeyError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"Response {number} of {str(path)!r} lacks its question or its samples.") from error
