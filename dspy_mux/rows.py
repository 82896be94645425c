"""A recorded draw as a plain row, as JSONL and Parquet files hold it: what is in it, and what makes it one."""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigurationError

#: Draws are numbered below this; arrays hold a place for each number up to the highest.
MOST_DRAWS = 10_000
#: Keys of a row that belong to the draw; all others belong to its question.
OF_A_DRAW = frozenset(
    {"model", "member", "draw", "answer", "answer_class", "correct", "score", "text", "cause", "prompt", "program", "outputs"}
    | {"calls", "prompt_tokens", "completion_tokens", "seconds", "cost", "created", "question_fingerprint"}
)
_NUMBERS = frozenset({"calls", "prompt_tokens", "completion_tokens", "seconds", "cost", "created"})


class Row(NamedTuple):
    """A row that was checked.

    Attributes:
        answer: the text by which answers are compared; None for an abstention.
        same_as: the `answer_class` given, as text; answers of one question that share it are the same.
        score: None where the row has none.
        told: the whole row.
    """

    question: str
    member: str
    draw: int
    answer: str | None
    same_as: str | None
    score: float | None
    told: dict[str, Any]

    def fields(self) -> dict[str, Any]:
        """What the row tells of its question."""
        return {key: value for key, value in self.told.items() if key not in OF_A_DRAW and not isinstance(value, (dict, list))}


def answer_text(answer: Any) -> str | None:
    """The text by which recorded answers are compared; None for what is no answer."""
    if answer is None:
        return None
    text = answer if isinstance(answer, str) else json.dumps(answer, sort_keys=True)
    return text.strip() or None


def checked(rows: Iterable[tuple[int, dict[str, Any]]], source: str, what: str = "Line") -> Iterator[Row]:
    """Rows, each given with its number, checked and in order; a row without `draw` is its member's next one.

    Raises:
        ConfigurationError: a row lacks something, holds something else than it should, or repeats a draw.
    """
    seen: set[tuple[str, str, str, str, int]] = set()
    following: dict[tuple[str, str, str], int] = {}
    for number, row in rows:
        try:
            made = _row(row, following)
        except ValueError as error:
            raise ConfigurationError(f"{what} {number} of {source} {error}.") from error
        unit = (str(row.get("dataset", "")), made.question, made.member)
        place = (*unit, str(row.get("program", "")), made.draw)
        if place in seen:
            raise ConfigurationError(
                f"{what} {number} of {source} repeats draw {made.draw} of {made.member!r} for question {made.question!r}."
            )
        seen.add(place)
        following[unit] = made.draw + 1
        yield made


def json_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSONL file, gzipped or not; raises ConfigurationError where a line is none."""
    opener = gzip.open if str(path).endswith(".gz") else open
    number = 0
    try:
        with opener(Path(path), "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise ConfigurationError(f"Line {number} of {path} is no JSON: {str(error).splitlines()[0]}.") from error
                if not isinstance(row, dict):
                    raise ConfigurationError(f"Line {number} of {path} is no JSON object.")
                yield number, row
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no bank {str(path)!r}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no UTF-8 text after line {number}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{path} cannot be read after line {number}: {str(error).splitlines()[0]}.") from error


def parquet() -> Any:
    """pyarrow with its Parquet reader; raises ConfigurationError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError("Parquet needs pyarrow, which is not installed: pip install 'dspy-mux[parquet]'.") from error
    return pyarrow


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file; raises ConfigurationError where it cannot be read as one."""
    arrow = parquet()
    try:
        rows: list[dict[str, Any]] = arrow.parquet.read_table(path).to_pylist()
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file {str(path)!r}.") from error
    except (OSError, arrow.ArrowException) as error:
        raise ConfigurationError(f"{str(path)!r} is no Parquet file: {str(error).splitlines()[0]}.") from error
    return rows


def _row(row: dict[str, Any], following: dict[tuple[str, str, str], int]) -> Row:
    """Raises ValueError with the end of a sentence about the row."""
    names = row.get("question_id"), row.get("model", row.get("member"))
    for key, value in zip(("question_id", "model"), names, strict=True):
        if not isinstance(value, (str, int)) or isinstance(value, bool) or not _is_text(str(value)):
            raise ValueError(f"needs a {key}")
    if "answer" not in row:
        raise ValueError("has no answer")
    question, member = str(names[0]), str(names[1])
    draw = row.get("draw", following.get((str(row.get("dataset", "")), question, member), 0))
    if isinstance(draw, bool) or not isinstance(draw, int) or not 0 <= draw < MOST_DRAWS:
        raise ValueError(f"has the draw {draw!r}, which must be a whole number from 0 to {MOST_DRAWS - 1}")
    score = row.get("correct", row.get("score"))
    if score is not None and not isinstance(score, (int, float)):
        raise ValueError(f"has the score {score!r}, which must be a number or true or false")
    for key in _NUMBERS & row.keys():
        value = row[key]
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise ValueError(f"has {key} {value!r}, which must be a number")
    if not isinstance(row.get("dataset", ""), (str, type(None))):
        raise ValueError(f"has the dataset {row['dataset']!r}, which must be text")
    given = row.get("answer_class")
    return Row(
        question=question,
        member=member,
        draw=draw,
        answer=answer_text(row["answer"]),
        same_as=None if given is None else str(given),
        score=None if score is None or math.isnan(float(score)) else float(score),
        told=row,
    )


def _is_text(value: str) -> bool:
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:  # half a character
        return False
    return True
