"""Write a file's rows to a bank: in passes, and nothing before all are understood."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..sampling.causes import NO_CAUSE
from .answer_classes import AnswerClasses, KindClasses
from .evidence import values_of
from .fingerprint import fingerprint_inputs
from .question_rows import put_questions
from .rows import Heat, Heats, Row
from .sample_bank import SampleBank
from .temperatures import shown
from .unnumbered import Unnumbered

_BATCH = 20_000


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


def import_rows(
    bank: SampleBank,
    rows: Callable[[Mapping[Heat, float]], Iterable[Row]],
    source: str,
    by_kind: KindClasses | None = None,
) -> tuple[int, int]:
    """Import rows in passes: nothing is written before all are understood, nor held at once.

    Args:
        rows: reads the rows from their start, given the temperatures of those that say none.
        by_kind: compares the answers; None where equal texts are equal answers.

    Returns:
        The draws added, and those that the bank had.
    """
    contents, heated = _understood(rows, source, by_kind)
    questions, programs = contents.add_questions(bank), contents.add_programs(bank)
    known = bank.answers.all(list(questions.values()))
    if by_kind is not None:
        by_kind.number(questions, programs, known)
    classes = AnswerClasses(known)

    def value(row: Row, draw: int) -> dict[str, Any]:
        question, program = questions[row.dataset, row.key], programs[row.member, row.program]
        answer_class = (
            classes.classify(question, row)
            if by_kind is None
            else by_kind.classify(question, program, row)
        )
        return _values(row, question, program, draw, answer_class)

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
                place = programs[row.member, row.program], questions[row.dataset, row.key]
                draw = row.draw if row.has_number else unnumbered.number(row, place[1], place[0])
                already += draw is None or (*place, draw) in there
                if draw is not None:
                    values.append(value(row, draw))
            with bank.writing() if together is None else nullcontext(together) as connection:
                if by_kind is not None:
                    bank.answers.renumber(connection, by_kind.take_changed())
                bank.add(connection, values)
            count += len(batch)
        if together is not None:
            unnumbered.finish(together, bank.database)
    return count - already, already


def _understood(
    rows: Callable[[Mapping[Heat, float]], Iterable[Row]],
    source: str,
    by_kind: KindClasses | None,
) -> tuple[_Contents, Mapping[Heat, float]]:
    """Return what all rows hold, and the temperatures of those that say none."""
    heated: Mapping[Heat, float] = {}
    while True:
        contents = _Contents(source)
        if by_kind is not None:
            by_kind.begin()
        for row in rows(heated):
            contents.see(row)
            if by_kind is not None:
                by_kind.see(row)
        if heated or not (heated := contents.heats.found()):
            break
    contents.check()
    return contents, heated


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
