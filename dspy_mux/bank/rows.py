"""A recorded draw as a plain row, as JSONL and Parquet files hold it: what is in it, and what makes it one."""

from __future__ import annotations

import gzip
import json
import math
import os
import reprlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from ..sampling.members import MOST_DRAWS

#: The program of rows that name none.
IMPORTED = "imported"
#: Where a row holds those fields of its question that have the name of something else in it.
QUESTION_FIELDS = "question_fields"
#: Keys of a row that belong to the draw; all others belong to its question.
OF_A_DRAW = frozenset(
    {
        "model",
        "member",
        "draw",
        "answer",
        "answer_class",
        "correct",
        "score",
        "text",
        "cause",
        "prompt",
        "program",
        "outputs",
    }
    | {
        "calls",
        "prompt_tokens",
        "completion_tokens",
        "seconds",
        "cost",
        "created",
        "question_fingerprint",
        QUESTION_FIELDS,
    }
)
#: Scores are kept in 32 bits, counts and amounts as a bank has them.
_HIGHEST_SCORE, _MOST, _GREATEST = 1e30, 10**9, 1e300
_COUNTS = ("calls", "prompt_tokens", "completion_tokens")
_AMOUNTS = ("seconds", "cost", "created")
_NAMES = ("dataset", "program", "question_fingerprint")


class Row(NamedTuple):
    """A row that was checked.

    Attributes:
        key: what makes the question one within its dataset: its fingerprint where the row has it, else its id.
        program: `IMPORTED` where the row names none.
        answer: the text by which answers are compared; None for an abstention.
        same_as: the `answer_class` given, as text; answers of one question that share it are the same.
        score: None where the row has none.
        outputs: the fields of the prediction as JSON; None where the row has none.
        apart: fields of the question that the row holds under `QUESTION_FIELDS`.
        told: the whole row.
    """

    dataset: str
    question: str
    key: str
    member: str
    program: str
    draw: int
    answer: str | None
    same_as: str | None
    score: float | None
    outputs: str | None
    apart: dict[str, Any]
    told: dict[str, Any]

    def fields(self) -> dict[str, Any]:
        """What the row tells of its question; what JSON has no form for, as a date in Parquet, by its text."""
        told = {key: value for key, value in self.told.items() if key not in OF_A_DRAW} | self.apart
        told = {key: value for key, value in told.items() if not isinstance(value, (dict, list))}
        return {
            key: value if value is None or isinstance(value, (str, int, float)) else str(value)
            for key, value in told.items()
        }


class Classes:
    """The answers' classes within their questions, numbered as they are met.

    Answers that rows call the same (`same_as`) are, and those they tell apart are not; else those of the same text are.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[int, str], int] = {}
        self._next: dict[int, int] = {}
        self._given: dict[tuple[int, str], tuple[int, str]] = {}  # as what rows called a text

    def know(self, question: int, answer: Any, answer_class: int) -> None:
        """An answer that has its class already."""
        self._of.setdefault((question, str(answer_text(answer))), answer_class)
        self._next[question] = max(self._next.get(question, 0), answer_class + 1)

    def of(self, question: int, row: Row) -> int | None:
        """The class of a row's answer; None for an abstention."""
        if row.answer is None:
            return None
        text = (question, row.answer)
        given = text if row.same_as is None else (question, f"\0{row.same_as}")
        found = self._of.get(given)
        if found is None and self._given.get(text, given) == given:
            found = self._of.get(text)
        if found is None:
            found = self._next.get(question, 0)
            self._next[question] = found + 1
        self._of.setdefault(text, found)
        self._of.setdefault(given, found)
        self._given.setdefault(text, given)
        return found


def laid_out(fields: Mapping[str, Any], drawn: dict[str, Any]) -> dict[str, Any]:
    """The row of a draw: the fields of its question, and what is its own. Where both have a name, the row's is the draw's."""
    apart = {
        name: value
        for name, value in fields.items()
        if name in OF_A_DRAW
        or (name in drawn and value not in (None, "") and str(value) != drawn[name])
    }
    beside = {name: value for name, value in fields.items() if name not in apart}
    return {**beside, **drawn, **({QUESTION_FIELDS: apart} if apart else {})}


def answer_text(answer: Any) -> str | None:
    """The text by which recorded answers are compared; None for what is no answer."""
    if answer is None or (isinstance(answer, float) and math.isnan(answer)):
        return None
    text = answer if isinstance(answer, str) else json.dumps(answer, sort_keys=True)
    return text.strip() or None


def checked(
    rows: Iterable[tuple[int, dict[str, Any]]], source: str, what: str = "Line", dataset: str = ""
) -> Iterator[Row]:
    """Rows, each given with its number, checked and in order; a row without `draw` is its member's next one.

    Args:
        dataset: that of rows which name none.

    Raises:
        ConfigurationError: a row lacks something, holds something else than it should, or repeats a draw.
    """
    seen: set[tuple[str, str, str, str, int]] = set()
    following: dict[tuple[str, str, str, str], int] = {}
    for number, row in rows:
        try:
            made = _row(row, following, dataset)
        except ValueError as error:
            raise ConfigurationError(f"{what} {number} of {source} {error}.") from error
        unit = (made.dataset, made.key, made.member, made.program)
        place = (*unit, made.draw)
        if place in seen:
            raise ConfigurationError(
                f"{what} {number} of {source} repeats draw {made.draw} of {_shown(made.member)} for question "
                f"{_shown(made.question)}."
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
                    raise ConfigurationError(
                        f"Line {number} of {path} is no JSON: {_first_line(error)}."
                    ) from error
                if not isinstance(row, dict):
                    raise ConfigurationError(f"Line {number} of {path} is no JSON object.")
                yield number, row
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no bank {str(path)!r}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is no UTF-8 text after line {number}.") from error
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(
            f"{path} cannot be read after line {number}: {_first_line(error)}."
        ) from error


def parquet() -> Any:
    """pyarrow with its Parquet reader; raises ConfigurationError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigurationError(
            "Parquet needs pyarrow, which is not installed: pip install 'dspy-mux[parquet]'."
        ) from error
    return pyarrow


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file; raises ConfigurationError where it cannot be read as one."""
    arrow = parquet()
    try:
        rows: list[dict[str, Any]] = arrow.parquet.read_table(path).to_pylist()
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no file {str(path)!r}.") from error
    except (OSError, arrow.ArrowException) as error:
        raise ConfigurationError(
            f"{str(path)!r} is no Parquet file: {_first_line(error)}."
        ) from error
    except (
        ArithmeticError,
        TypeError,
        ValueError,
    ) as error:  # such as text that is none, or a time before all years
        raise ConfigurationError(
            f"{str(path)!r} holds values that cannot be read: {_first_line(error)}."
        ) from error
    return rows


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _row(row: dict[str, Any], following: dict[tuple[str, str, str, str], int], dataset: str) -> Row:
    """Raises ValueError with the end of a sentence about the row."""
    names = row.get("question_id"), row.get("model", row.get("member"))
    for key, value in zip(("question_id", "model"), names, strict=True):
        if not isinstance(value, (str, int)) or isinstance(value, bool) or not _is_text(str(value)):
            raise ValueError(f"needs a {key} that is text or a whole number")
    for key in _NAMES:
        value = row.get(key)
        if value is not None and not (isinstance(value, str) and _is_text(value)):
            raise ValueError(f"has the {key} {_shown(value)}, which must be text")
    question, member, dataset = str(names[0]), str(names[1]), row.get("dataset") or dataset
    identity = row.get("question_fingerprint") or question
    program = row.get("program") or IMPORTED
    draw = row.get("draw", following.get((dataset, identity, member, program), 0))
    if isinstance(draw, bool) or not isinstance(draw, int) or not 0 <= draw < MOST_DRAWS:
        raise ValueError(
            f"has the draw {_shown(draw)}, which must be a whole number from 0 to {MOST_DRAWS - 1}"
        )
    score = _score(row)
    if score is not None and (not isinstance(score, (int, float)) or abs(score) > _HIGHEST_SCORE):
        raise ValueError(f"has the score {_shown(score)}, which must be a number or true or false")
    for key in _COUNTS:
        value = row.get(key)
        if value is not None and not (
            _is_number(value) and 0 <= value < _MOST and value == int(value)
        ):
            raise ValueError(f"has {key} {_shown(value)}, which must be a whole number")
    for key in _AMOUNTS:
        value = row.get(key)
        if value is not None and not (_is_number(value) and abs(value) < _GREATEST):
            raise ValueError(f"has {key} {_shown(value)}, which must be a number")
    return Row(
        dataset=dataset,
        question=question,
        key=identity,
        member=member,
        program=program,
        draw=draw,
        answer=_answer(row),
        same_as=_same_as(row.get("answer_class")),
        score=None if score is None or math.isnan(float(score)) else float(score),
        outputs=_outputs(row),
        apart=_apart(row),
        told=row,
    )


def _score(row: dict[str, Any]) -> Any:
    """A bank's export has `score`; others have `correct` too, which is the verdict where it is one, and no number of an option."""
    correct, score = row.get("correct"), row.get("score")
    ours = "question_fingerprint" in row and "score" in row
    return score if ours or (score is not None and not isinstance(correct, bool)) else correct


def _outputs(row: dict[str, Any]) -> str | None:
    """The fields of the prediction, else the response's text as one."""
    outputs = _object(row.get("outputs"))
    if outputs is None:
        return json.dumps({"text": row["text"]}) if isinstance(row.get("text"), str) else None
    try:
        return json.dumps(outputs, default=str)
    except (ValueError, RecursionError) as error:
        raise ValueError("has outputs that are nested too deeply") from error


def _apart(row: dict[str, Any]) -> dict[str, Any]:
    told = row.get(QUESTION_FIELDS)
    apart = {} if told is None else _object(told)
    if apart is None:
        raise ValueError(f"has {QUESTION_FIELDS} {_shown(told)}, which must be an object")
    return apart


def _object(value: Any) -> dict[str, Any] | None:
    """An object, or one as JSON text, which is how Parquet holds it; None for all else."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _answer(row: dict[str, Any]) -> str | None:
    if "answer" not in row:
        raise ValueError("has no answer")
    try:
        return answer_text(row["answer"])
    except (TypeError, ValueError, RecursionError) as error:  # from Parquet, or nested too deeply
        raise ValueError(
            f"has the answer {_shown(row['answer'])}, which JSON has no form for"
        ) from error


def _same_as(given: Any) -> str | None:
    if given is not None and not isinstance(given, (str, int, float)):
        raise ValueError(f"has the answer_class {_shown(given)}, which must be a number or text")
    return None if given is None else str(given)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A value for a message: one short line, however long or deep it is."""
    return reprlib.repr(value)


def _is_text(value: str) -> bool:
    """Whether every file and database can hold it: no half a character, no NUL."""
    if value.isascii():
        return "\0" not in value
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False
