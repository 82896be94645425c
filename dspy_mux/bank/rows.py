"""Rows of JSONL and Parquet banks: one recorded draw each, checked, with its answer's class."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import DataError
from ..sampling.members import MOST_DRAWS
from ..voting.evidence import Evidence
from . import temperatures
from .columns import plain
from .evidence import EVIDENCE_KEYS, evidence_of, meant_column
from .statement import STATED, disagreement, shown_field, stated

#: The program of rows that name none.
IMPORTED = "imported"
#: The key under which a row holds fields of its question whose names it uses otherwise.
QUESTION_FIELDS = "question_fields"
#: The key under which a row keeps the answer of its file, where another was read by a type.
SAID = "\0said"
#: Keys of a row that belong to the draw; all others belong to its question.
DRAW_KEYS = frozenset(
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
        "calls",
        "prompt_tokens",
        "seconds",
        "cost",
        "created",
        "question_fingerprint",
        QUESTION_FIELDS,
        SAID,
        *EVIDENCE_KEYS,
    }
)
#: Scores are kept in 32 bits, counts and amounts as a bank's columns hold them.
_HIGHEST_SCORE, _MOST, _GREATEST = 1e30, 10**9, 1e300
_COUNTS = ("calls", "prompt_tokens")
_AMOUNTS = ("seconds", "cost", "created")
_NAMES = ("dataset", "program", "question_fingerprint")

#: The fields that state a question where they are not the draw's own.
_STATED = tuple(name for name in STATED if name not in DRAW_KEYS)

#: The draws that are numbered together: (dataset, question's key, member, program).
Unit = tuple[str, str, str, str]
#: The draws that share a temperature unless they say otherwise: (dataset, member, program named).
Heat = tuple[str, str, str]


class Row(NamedTuple):
    """A checked row.

    Attributes:
        key: identifies the question within its dataset: its fingerprint, else its id.
        program: `IMPORTED` where the row names none; unless a bank exported the row, with its
            temperature, as in "imported@0.5": a draw's place in a bank includes it.
        temperature: the draw's; that of the member's other draws in the file where the row says
            none and they have one; None for unknown.
        evidence: what the row itself says.
        answer: the text by which answers are compared; None for an abstention.
        same_as: the row's `answer_class` as text. Answers of one question that share it are equal.
        score: None where the row has none.
        outputs: the prediction's fields as JSON; None where the row has none.
        apart: the question's fields under `QUESTION_FIELDS`.
        raw: the whole row.
    """

    dataset: str
    question: str
    key: str
    member: str
    program: str
    temperature: float | None
    evidence: Evidence
    draw: int
    answer: str | None
    same_as: str | None
    score: float | None
    outputs: str | None
    apart: dict[str, Any]
    raw: dict[str, Any]

    @property
    def unit(self) -> Unit:
        """What the draw is numbered within."""
        return self.dataset, self.key, self.member, self.program

    @property
    def said(self) -> str | None:
        """The answer as its file has it, by which a file is known again however it is read."""
        said: str | None = self.raw.get(SAID, self.answer)
        return said

    @property
    def has_number(self) -> bool:
        """Whether the row itself says which draw it is."""
        return "draw" in self.raw

    def stated(self) -> dict[str, Any]:
        """Return the fields that state the question or its right answer."""
        return {**stated(self.raw, _STATED), **stated(self.apart)}

    def fields(self) -> dict[str, str | int | float | None]:
        """Return the question's fields; values without a JSON form, such as dates, as text."""
        own = {key: value for key, value in self.raw.items() if key not in DRAW_KEYS}
        return {
            key: value if value is None or isinstance(value, (str, int, float)) else str(value)
            for key, value in (own | self.apart).items()
            if not isinstance(value, (dict, list))
        }


class Heats:
    """Gathers the temperatures of a file's rows, to find those of rows that say none.

    A draw of unknown temperature goes with its member's other draws where these have one.
    """

    def __init__(self) -> None:
        self._known: dict[Heat, set[float | None]] = {}

    def see(self, row: Row) -> None:
        named = row.raw.get("program") or IMPORTED
        self._known.setdefault((row.dataset, row.member, named), set()).add(row.temperature)

    def found(self) -> dict[Heat, float]:
        """Return the temperature of rows that say none, where their member's others have one."""
        return {
            heat: next(value for value in known if value is not None)
            for heat, known in self._known.items()
            if len(known) == 2 and None in known
        }


def lay_out(fields: Mapping[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a draw: its question's fields beside its own.

    Fields whose names the draw uses, or could be taken to use, go under `QUESTION_FIELDS`.
    """
    apart = {
        name: value
        for name, value in fields.items()
        if name in DRAW_KEYS
        or meant_column(name)
        or (name in own and value not in (None, "") and str(value) != own[name])
    }
    beside = {name: value for name, value in fields.items() if name not in apart}
    return {**beside, **own, **({QUESTION_FIELDS: apart} if apart else {})}


def comparison_text(answer: object) -> str | None:
    """Return the text by which recorded answers are compared; None for an abstention."""
    if answer is None or (isinstance(answer, float) and math.isnan(answer)):
        return None
    text = answer if isinstance(answer, str) else json.dumps(answer, sort_keys=True)
    return text.strip() or None


def check_rows(
    rows: Iterable[tuple[int | str, dict[str, Any]]],
    source: str,
    noun: str = "Line",
    dataset: str = "",
    heated: Mapping[Heat, float] | None = None,
) -> Iterator[Row]:
    """Check numbered rows, in order; a row without `draw` is its member's next one.

    Args:
        noun: what messages call a row.
        dataset: the dataset of rows that name none.
        heated: the temperature of rows that say none, as `Heats` finds it.

    Raises:
        DataError: a row lacks something, holds a wrong value, repeats a draw, or has the question
            id of another row with another question or right answer.
    """
    seen: set[tuple[Unit, int]] = set()
    following: dict[Unit, int] = {}
    statements: dict[tuple[str, str], tuple[int | str, dict[str, Any]]] = {}
    for number, raw in rows:
        try:
            row = _check_row(plain(raw), following, dataset, heated or {})
        except ValueError as error:
            raise DataError(f"{noun} {number} of {source} {error}.") from error
        said = row.stated()
        first, known = statements.setdefault((row.dataset, row.key), (number, said))
        if said != known:
            if (name := disagreement(known, said)) is not None:
                raise DataError(
                    f"{noun} {number} of {source} has the question_id {_shown(row.question)} with "
                    f"the {shown_field(name, said)}, and {noun.lower()} {first} has it with the "
                    f"{shown_field(name, known)}: give each question an id of its own, and one "
                    "right answer."
                )
            known.update({**said, **known})
        unit = row.unit
        place = (unit, row.draw)
        if place in seen:
            raise DataError(
                f"{noun} {number} of {source} repeats draw {row.draw} of {_shown(row.member)} for "
                f"question {_shown(row.question)}."
            )
        seen.add(place)
        following[unit] = row.draw + 1
        yield row


# The functions below raise ValueError with the end of a sentence that begins with the row.


def _check_row(
    raw: dict[str, Any],
    following: Mapping[Unit, int],
    dataset: str,
    heated: Mapping[Heat, float],
) -> Row:
    question = _name(raw.get("question_id"), "question_id")
    member = _name(raw.get("model", raw.get("member")), "model")
    for key in _NAMES:
        value = raw.get(key)
        if value is not None and not (isinstance(value, str) and _is_storable(value)):
            raise ValueError(f"has the {key} {_shown(value)}, which must be text")
    _check_numbers(raw)
    dataset = raw.get("dataset") or dataset
    key = raw.get("question_fingerprint") or question
    named = raw.get("program") or IMPORTED
    evidence = evidence_of(raw)
    temperature = evidence.temperature
    if temperature is None and heated:
        temperature = heated.get((dataset, member, named))
    exported = raw.get("question_fingerprint") and raw.get("program")
    program = named if exported else temperatures.at(named, temperature)
    return Row(
        dataset=dataset,
        question=question,
        key=key,
        member=member,
        program=program,
        temperature=temperature,
        evidence=evidence,
        draw=_draw(raw, following, (dataset, key, member, program)),
        answer=_answer(raw),
        same_as=_same_as(raw.get("answer_class")),
        score=_score(raw),
        outputs=_outputs(raw),
        apart=_apart(raw),
        raw=raw,
    )


def _name(value: object, key: str) -> str:
    if isinstance(value, str):
        if _is_storable(value):
            return value
    elif isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"needs a {key} that is text or a whole number")


def _draw(raw: dict[str, Any], following: Mapping[Unit, int], unit: Unit) -> int:
    draw = raw["draw"] if "draw" in raw else following.get(unit, 0)
    if isinstance(draw, bool) or not isinstance(draw, int) or not 0 <= draw < MOST_DRAWS:
        raise ValueError(
            f"has the draw {_shown(draw)}, which must be a whole number from 0 to {MOST_DRAWS - 1}"
        )
    return draw


def _score(raw: dict[str, Any]) -> float | None:
    """Return the row's score.

    A bank's export has `score`. Other files may have `correct` too: the verdict where it is a
    boolean, else perhaps the number of an option.
    """
    correct, score = raw.get("correct"), raw.get("score")
    exported = "question_fingerprint" in raw and "score" in raw
    if not exported and (score is None or isinstance(correct, bool)):
        score = correct
    if score is None:
        return None
    if not isinstance(score, (int, float)) or abs(score) > _HIGHEST_SCORE:
        raise ValueError(f"has the score {_shown(score)}, which must be a number or true or false")
    return None if math.isnan(score) else float(score)


def _check_numbers(raw: dict[str, Any]) -> None:
    for key in _COUNTS:
        value = raw.get(key)
        if value is not None and not (
            _is_number(value) and 0 <= value < _MOST and value == int(value)
        ):
            raise ValueError(f"has {key} {_shown(value)}, which must be a whole number")
    for key in _AMOUNTS:
        value = raw.get(key)
        if value is not None and not (_is_number(value) and abs(value) < _GREATEST):
            raise ValueError(f"has {key} {_shown(value)}, which must be a number")


def _outputs(raw: dict[str, Any]) -> str | None:
    """Return the prediction's fields as JSON, else the response's text as one field."""
    outputs = _object(raw.get("outputs"))
    if outputs is None:
        return json.dumps({"text": raw["text"]}) if isinstance(raw.get("text"), str) else None
    try:
        return json.dumps(outputs, default=str)
    except (ValueError, RecursionError) as error:
        raise ValueError("has outputs that are nested too deeply") from error


def _apart(raw: dict[str, Any]) -> dict[str, Any]:
    fields = raw.get(QUESTION_FIELDS)
    apart = {} if fields is None else _object(fields)
    if apart is None:
        raise ValueError(f"has {QUESTION_FIELDS} {_shown(fields)}, which must be an object")
    return apart


def _object(value: object) -> dict[str, Any] | None:
    """Return an object, also from JSON text, as Parquet holds it; None for anything else."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def _answer(raw: dict[str, Any]) -> str | None:
    if "answer" not in raw:
        raise ValueError("has no answer")
    try:
        return comparison_text(raw["answer"])
    except (TypeError, ValueError, RecursionError) as error:  # from Parquet, or nested too deeply
        raise ValueError(
            f"has the answer {_shown(raw['answer'])}, which JSON cannot hold"
        ) from error


def _same_as(name: object) -> str | None:
    if name is not None and not isinstance(name, (str, int, float)):
        raise ValueError(f"has the answer_class {_shown(name)}, which must be a number or text")
    return None if name is None else str(name)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """Return a value for a message: one short line, however long or deep it is."""
    return reprlib.repr(value)


def _is_storable(value: str) -> bool:
    """Whether every file and database can hold the text: no lone surrogate, no NUL."""
    if value.isascii():
        return "\0" not in value
    try:
        return b"\0" not in value.encode()
    except UnicodeEncodeError:
        return False
