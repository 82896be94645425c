"""Read the draws of a JSONL file, one a line, as a record."""

from __future__ import annotations

import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from ..errors import ConfigurationError, DataError
from ..sampling.causes import NO_CAUSE
from ..voting.evidence import FIGURES
from ..voting.tally import ABSTAINED
from . import temperatures
from .answer_classes import AnswerClasses
from .files import json_lines
from .places import columns_of, placed, places, text_of
from .record import MISSING, MemberInfo, Record
from .rows import Heats, Row, check_rows
from .temperatures import Temperature

#: A member's draws of one temperature.
_Member: TypeAlias = tuple[str, float | None]


def read_jsonl(
    path: str | os.PathLike[str],
    *,
    dataset: str | None = None,
    temperature: Temperature | None = None,
) -> Record:
    """Read draws from a `.jsonl` or `.jsonl.gz` file of one draw a line.

    >>> import tempfile
    >>> from dspy_mux import read_jsonl
    >>> with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
    ...     print(
    ...         '{"question_id": "q0", "model": "a", "answer": "4", "correct": true}',
    ...         '{"question_id": "q0", "model": "a", "answer": "5", "correct": false}',
    ...         sep="\\n",
    ...         file=file,
    ...         flush=True,
    ...     )
    ...     record = read_jsonl(file.name)
    >>> record.votes.tolist(), record.scores.tolist()
    ([[[0, 1]]], [[[1.0, 0.0]]])

    A line has `question_id`, `model`, `answer`, and `correct` or `score`. An answer of "" or null
    is an abstention. Two answers are equal where their text is, or where their `answer_class` is.
    A row without `draw` is the member's next one. `calls`, `prompt_tokens`, `completion_tokens`
    and `cost` are what the draw took. `answer_logprob`, `answer_tokens`, `text_logprob`,
    `lowest_logprob`, `temperature`, `finish_reason` and `stated_probability` are evidence
    (`dspy_mux.voting.evidence.Evidence`); `token_logprobs`, a list of the answer's tokens, stands
    for the first two. All other keys belong to the question.

    Args:
        dataset: which `dataset` of several in the file.
        temperature: the draws of this temperature alone, or "each" for a member of each
            temperature ("small@0", "small@0.5"). Needed where a member has draws of several.

    Raises:
        ConfigurationError: there are several datasets or temperatures and none is named, or not
            the one named.
        DataError: the file or a line cannot be read or understood (the message names the line), a
            draw is repeated, draws of one member are by several programs, or there are no draws.
    """
    temperatures.check_temperature(temperature)
    reader = _read(path, dataset, None if temperature == "each" else temperature)
    if temperature is None:
        temperatures.refuse_several(str(path), reader.temperatures())
    return reader.record(apart=lambda member: temperature == "each")


def jsonl_temperatures(
    path: str | os.PathLike[str], *, dataset: str | None = None
) -> dict[str, list[float | None]]:
    """Return member → the temperatures of its draws, from the lowest up; None for unknown.

    Raises:
        ConfigurationError, DataError: as `read_jsonl`.
    """
    known = _read(path, dataset, None).temperatures()
    return {member: temperatures.in_order(values) for member, values in known.items()}


class FileInfo(MemberInfo):
    """What a file holds of one member; `causes` counts its abstentions by their causes."""

    causes: dict[str, int]


def jsonl_info(path: str | os.PathLike[str], *, dataset: str | None = None) -> list[FileInfo]:
    """Return `Record.info` of a file; members of several temperatures have an entry for each.

    Raises:
        ConfigurationError, DataError: as `read_jsonl`.
    """
    reader = _read(path, dataset, None)
    known = reader.temperatures()
    rows = reader.record(apart=lambda member: len(known[member]) > 1).info()
    return [
        {**row, "causes": dict(causes.most_common())}
        for row, causes in zip(rows, reader.causes, strict=True)
    ]


def _read(path: str | os.PathLike[str], dataset: str | None, temperature: float | None) -> _Reader:
    reader, heats = _Reader(str(path), temperature), Heats()
    datasets: dict[str, int] = {}

    def selected() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in json_lines(path):
            name = str(row.get("dataset") or "")
            datasets[name] = datasets.get(name, 0) + 1
            if name == dataset or (dataset is None and len(datasets) == 1):
                yield number, row

    for row in check_rows(selected(), str(path)):
        heats.see(row)
        reader.add(row)
    if dataset is None and len(datasets) > 1:
        raise ConfigurationError(
            f"{path} holds several datasets: choose one of {', '.join(sorted(datasets))} with "
            "--dataset."
        )
    if dataset is not None and dataset not in datasets:
        known = ", ".join(sorted(filter(None, datasets))) or (
            "rows that name none" if datasets else "no rows"
        )
        raise ConfigurationError(f"{path} has no dataset {dataset!r}; it has {known}.")
    if heated := heats.found():
        # Only now it is known with which draws those of unknown temperature go.
        reader = _Reader(str(path), temperature)
        for row in check_rows(selected(), str(path), heated=heated):
            reader.add(row)
    return reader


class _Reader:
    """Gathers rows into the arrays of a record.

    Args:
        source: the file, for messages.
        temperature: that of the rows to keep; None for all.
    """

    def __init__(self, source: str, temperature: float | None):
        self.source, self.temperature = source, temperature
        self.questions: dict[str, int] = {}
        self.names: list[str] = []
        self.members: dict[_Member, int] = {}
        self.others: set[float | None] = set()  # temperatures of rows left out
        self.programs: list[str] = []
        self.causes: list[Counter[str]] = []
        self.fields: list[dict[str, str | None]] = []
        self.classes = AnswerClasses()
        self.places: list[tuple[int, int, int]] = []
        self.votes: list[int] = []
        self.scores: list[float] = []
        # Arrays hold a million numbers without an object for each.
        self.spent = {name: array("d") for name in ("calls", "tokens", "cost")}
        self.evidence = {name: array("d") for name in FIGURES}

    def add(self, row: Row) -> None:
        # Rows left out too: an answer has one class in all records of a file.
        question = self.questions.setdefault(row.key, len(self.questions))
        if question == len(self.fields):
            self.names.append(row.question)
            self.fields.append({key: text_of(value) for key, value in row.fields().items()})
        answer_class = self.classes.classify(question, row)
        if self.temperature is not None and row.temperature != self.temperature:
            self.others.add(row.temperature)
            return
        member = self.members.setdefault((row.member, row.temperature), len(self.members))
        if member == len(self.programs):
            self.programs.append(row.program)
            self.causes.append(Counter())
        if self.programs[member] != row.program:
            raise DataError(
                f"{self.source} holds draws of {row.member!r} by several programs, which never "
                "mix: import it into a bank, where --program chooses one."
            )
        self.places.append((question, member, row.draw))
        self.votes.append(ABSTAINED if answer_class is None else answer_class)
        unscored = 0.0 if row.answer is None else float("nan")
        self.scores.append(unscored if row.answer is None or row.score is None else row.score)
        raw, evidence = row.raw, row.evidence
        if row.answer is None:
            self.causes[member][str(raw.get("cause") or NO_CAUSE)] += 1
        self.spent["calls"].append(_number(raw.get("calls")))
        self.spent["tokens"].append(
            _number(raw.get("prompt_tokens")) + _number(raw.get("completion_tokens"))
        )
        self.spent["cost"].append(_number(raw.get("cost")))
        for name, values in self.evidence.items():
            values.append(_number(getattr(evidence, name)))

    def temperatures(self) -> dict[str, set[float | None]]:
        """Return member → the temperatures of its draws."""
        known: dict[str, set[float | None]] = {}
        for member, temperature in self.members:
            known.setdefault(member, set()).add(temperature)
        return known

    def record(self, apart: Callable[[str], bool]) -> Record:
        """Return the record.

        Args:
            apart: whether a member's draws of each temperature are those of a member of its own.
        """
        if not self.votes:
            if self.temperature is not None and self.others:
                raise temperatures.unknown(self.source, self.temperature, self.others)
            raise DataError(f"{self.source} holds no draws: collect some first.")
        members = tuple(
            temperatures.at(name, temperature) if apart(name) else name
            for name, temperature in self.members
        )
        temperatures.refuse_alike(self.source, members)
        question, member, draw = np.array(self.places, dtype=np.int64).T
        asked, question = np.unique(question, return_inverse=True)
        at, shape = places(question, member, draw, len(members), self.source)
        votes = np.full(shape, MISSING, np.int16 if max(self.votes) < 2**15 else np.int32)
        scores = np.zeros(shape, np.float32)
        votes[at] = self.votes
        scores[at] = self.scores
        evidence = {
            name: placed(np.array(values), at, shape) for name, values in self.evidence.items()
        }
        return Record(
            members=members,
            questions=tuple(self.names[position] for position in asked),
            votes=votes,
            scores=scores,
            fields=columns_of([self.fields[position] for position in asked]),
            source=self.source,
            calls=placed(np.array(self.spent["calls"]), at, shape),
            tokens=placed(np.array(self.spent["tokens"]), at, shape),
            cost=placed(np.array(self.spent["cost"]), at, shape),
            evidence={name: values for name, values in evidence.items() if values is not None},
        )


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
