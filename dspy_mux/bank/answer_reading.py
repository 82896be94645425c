"""Read the answers of imported files by a type: it extracts, compares and scores them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dspy

from ..adapters.extract import answer_in
from ..answers.choose import answer_kind
from ..answers.equivalence import NO_ANSWER, AnswerKind
from ..answers.reply import CUT_OFF, CutOffText
from ..errors import ConfigurationError, MetricFailed
from ..mux.compared import compared
from ..mux.signature_text import parse_signature
from ..sampling.causes import UNUSABLE
from ..text import first_line
from .answer_classes import KindClasses
from .columns import plain
from .fingerprint import jsonable
from .rows import DRAW_KEYS, QUESTION_FIELDS, SAID, comparison_text
from .task import load_task

#: Fields of a question that hold its right answer, the surest name first. `answer` is one of those
#: that a row keeps under `QUESTION_FIELDS`.
GOLD = (
    "gold",
    "gold_answer",
    "correct_answer",
    "expected_answer",
    "expected",
    "ground_truth",
    "reference_answer",
    "target",
    "label",
    "answer",
)


@dataclass(frozen=True)
class AnswerReading:
    """How the answers of a file are read, compared and scored.

    >>> reading = AnswerReading.of_type("float")
    >>> [reading.read(text) for text in ("The answer is 18.00.", "$18", "18")]
    [18.0, 18.0, 18.0]

    Attributes:
        name: what it is called in messages, such as "float".
        kind: finds an answer in a text and compares it.
        field: the answer field's name.
        metric: scores an answer; None where an answer is right that equals the right one.
    """

    name: str
    kind: AnswerKind
    field: str = "answer"
    metric: Callable[..., Any] | None = None

    @classmethod
    def of_type(cls, text: str) -> AnswerReading:
        """Return how answers of a type are read, such as `float` or `Literal["A", "B"]`.

        Raises:
            ConfigurationError: the text is not a type, or one that `parse_signature` does not know.
        """
        try:
            signature = parse_signature(f"text -> answer: {text}")
            fields = list(signature.output_fields.items())
        except ConfigurationError as error:
            raise _not_a_type(text) from error
        if len(fields) != 1:
            raise _not_a_type(text)
        return cls(text, answer_kind(fields[0][1]))

    @classmethod
    def of_task(cls, name: str) -> AnswerReading:
        """Return how a task's answers are read: by its program's type, scored by its metric.

        Raises:
            ConfigurationError: there is no such task, or its answer is several fields.
        """
        task = load_task(name)
        program = task.program()
        template = program if isinstance(program, dspy.Module) else dspy.Predict(program)
        answer = compared(template, None, None)
        return cls(name, answer.kind, answer.label, task.metric)

    def read(self, text: str, *, whole: bool = True, cut_off: bool = False) -> Any:
        """Return the answer in a text; `NO_ANSWER` where there is none.

        Args:
            cut_off: whether the server cut it off at `max_tokens`.
        """
        return answer_in(CutOffText(text) if cut_off else text, self.field, self.kind, whole=whole)

    def value(self, said: Any) -> Any:
        """Return an answer that a file states by itself; `NO_ANSWER` where it is not usable."""
        if isinstance(said, str):
            found = self.read(said)
            return found if found is not NO_ANSWER else self._usable(said)
        if comparison_text(jsonable(said)) is None:
            return NO_ANSWER
        return self._usable(said)

    def _usable(self, value: Any) -> Any:
        return NO_ANSWER if self.kind.key(value) is None else value


def _not_a_type(text: str) -> ConfigurationError:
    return ConfigurationError(
        f"{text!r} is not a type of answers: name one such as float, int, str, bool, MathAnswer, "
        'Literal["A", "B"] or list[str].'
    )


@dataclass(frozen=True)
class _Read:
    """What was read of a row: its answer, as JSON has it, and its score."""

    answer: Any
    score: float | None
    cause: str | None


class AnswerReader:
    """Reads the answers of one file's rows, each once, however often the file is read.

    Attributes:
        classes: of the answers.
        unread: rows with a text, or an answer, of which no answer could be read.
        scored: rows that were scored here.
    """

    def __init__(self, reading: AnswerReading, source: str, noun: str):
        self.reading, self.source, self.noun = reading, source, noun
        self.values: dict[str, Any] = {}  # by the text by which answers are compared
        self.classes = KindClasses(reading.kind, self.values)
        self.unread = self.scored = 0
        self._known: list[_Read] = []

    def rows(
        self, rows: Iterable[tuple[int | str, dict[str, Any]]]
    ) -> Iterator[tuple[int | str, dict[str, Any]]]:
        """Yield (place, row) with the answers that were read.

        Raises:
            MetricFailed: the metric raised.
        """
        for at, (place, row) in enumerate(rows):
            if at == len(self._known):
                self._known.append(self._read(place, plain(row)))
            read = self._known[at]
            said = comparison_text(jsonable(row.get("answer")))
            changed = {**row, "answer": read.answer, SAID: said}
            if read.cause is not None:
                changed.setdefault("cause", read.cause)
            if read.score is not None:
                changed["score"] = read.score
                changed.pop("correct", None)
            yield place, changed

    def _read(self, place: int | str, row: Mapping[str, Any]) -> _Read:
        text, said = row.get("text"), row.get("answer")
        cut_off = row.get("finish_reason") == "length"
        if isinstance(text, str) and text.strip():
            value = self.reading.read(text, cut_off=cut_off)
        else:
            value = self.reading.value(said)
        if value is NO_ANSWER:
            given = bool(text) or comparison_text(jsonable(said)) is not None
            self.unread += given
            return _Read(None, None, (CUT_OFF if cut_off else UNUSABLE) if given else None)
        # None is an answer where the type admits it, and an abstention in a row.
        answer = "None" if value is None else jsonable(value)
        self.values.setdefault(str(comparison_text(answer)), value)
        score = self._score(place, row, value)
        self.scored += score is not None
        return _Read(answer, score, None)

    def _score(self, place: int | str, row: Mapping[str, Any], value: Any) -> float | None:
        """Return the score of an answer; None to leave the row's own."""
        metric = self.reading.metric
        own = row.get("score", row.get("correct"))
        if metric is None and own is not None:
            return None
        fields = _fields(row)
        gold = self._gold(fields)
        if gold is NO_ANSWER:
            return None
        if metric is None:
            return float(self.reading.kind.same(value, gold))
        example = dspy.Example(**{**fields, self.reading.field: gold})
        prediction = dspy.Prediction(**{self.reading.field: value})
        try:
            score = float(metric(example, prediction))
            if not math.isfinite(score):
                raise ValueError(f"the score is {score}")
        except Exception as error:
            raise MetricFailed(
                f"The metric of {self.reading.name} raised {type(error).__name__}: "
                f"{first_line(error)} on {self.noun.lower()} {place} of {self.source}; nothing was "
                "imported."
            ) from error
        return score

    def _gold(self, fields: Mapping[str, Any]) -> Any:
        for name in GOLD:
            if (said := fields.get(name)) not in (None, ""):
                value = self.reading.value(said)
                if value is NO_ANSWER and self.reading.metric is not None:
                    return said  # such as the tests of a program
                return value
        return NO_ANSWER


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a row's question."""
    apart = row.get(QUESTION_FIELDS)
    beside = {name: value for name, value in row.items() if name not in DRAW_KEYS}
    return {**beside, **(apart if isinstance(apart, dict) else {})}
