"""Reuse the draws that a bank has of the same questions in other datasets, without a call."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import dspy
import sqlalchemy as sa

from ..answers.equivalence import NO_ANSWER
from ..mux.slm_mux import SLMMux
from .answer_classes import number_together
from .answers import Answered
from .fingerprint import describe_comparison, fingerprint_member
from .listing import FAILED
from .questions import questions_of
from .sample_bank import SampleBank
from .storage.schema import draws, programs, questions, storable
from .writer import OutputTypes

_AT_ONCE = 100

#: (program, draw) → its row.
_Draws: TypeAlias = dict[tuple[int, int], Any]


def reuse_draws(
    mux: SLMMux, examples: Sequence[dspy.Example], bank: SampleBank, *, dataset: str, k: int
) -> int:
    """Copy draws of these examples from other datasets into one that lacks them.

    They are of a question with the same inputs, and of a member of the same name, asked in the same
    way (`fingerprint_member`). What failed with an error is not copied, nor is a score of which
    the metric is unknown.

    Args:
        k: of each member, as many of its first draws.

    Returns:
        How many draws were copied.

    Raises:
        BankError: the bank cannot be read or written.
    """
    if not bank.exists():
        return 0
    with bank.writing():
        pass  # it upgrades an older bank
    asked = {one.key: one for one in questions_of(examples)}
    ours = {fingerprint_member(mux, at)[0]: name for at, name in enumerate(mux.pool.names)}
    copied, keys, ids = 0, list(asked), dict[str, int]()
    for at in range(0, len(keys), _AT_ONCE):
        sources = _sources(bank, dataset, keys[at : at + _AT_ONCE], ours, k)
        if sources and not ids:  # all of them, in their order
            rows = [(one.key, one.name, one.fields) for one in asked.values()]
            ids = dict(zip(keys, bank.add_questions(dataset, rows), strict=True))
        if sources:
            copied += _copy(mux, bank, {ids[key]: rows for key, rows in sources.items()})
    return copied


def _sources(
    bank: SampleBank, dataset: str, keys: Sequence[str], ours: dict[str, str], k: int
) -> dict[str, _Draws]:
    """Return question (its fingerprint) → (program, draw) → the row of such a draw elsewhere."""
    query = (
        sa.select(
            draws, questions.c.fingerprint, programs.c.member, programs.c.fingerprint.label("of")
        )
        .join(questions, draws.c.question == questions.c.id)
        .join(programs, draws.c.program == programs.c.id)
        .where(
            (questions.c.dataset != storable(dataset))
            & questions.c.fingerprint.in_(list(keys))
            & programs.c.fingerprint.in_(list(ours))
            & (draws.c.draw < k)
            & ~FAILED
        )
        .order_by(draws.c.id)
    )
    found: dict[str, _Draws] = {}
    with bank.database.reading() as connection:
        for row in connection.execute(query):
            if row.member == storable(ours[row.of]):
                found.setdefault(row.fingerprint, {}).setdefault((row.program, row.draw), row)
    return found


def _copy(mux: SLMMux, bank: SampleBank, into: Mapping[int, _Draws]) -> int:
    """Copy the draws that questions lack; answers' classes are numbered with those there.

    Args:
        into: question (its id) → draws of it elsewhere.
    """
    ids = list(into)
    while True:
        there = bank.drawn([program for rows in into.values() for program, _ in rows], ids)
        with bank.database.reading() as connection:
            last, recorded = bank.answers.latest(connection, ids)
            comparisons = bank.answers.comparisons(connection)
        known: dict[int, list[Answered]] = {}
        for one in recorded:
            known.setdefault(one.question, []).append(one)
        moved, renumbered = [], {}
        for question, rows in into.items():
            new = [row for at, row in rows.items() if (at[0], question, at[1]) not in there]
            values, changed = _numbered(mux, question, new, known.get(question, []), comparisons)
            moved += values
            renumbered.update(changed)
        with bank.writing() as connection:
            if bank.answers.came_after(connection, ids, last):
                continue  # another process recorded some meanwhile
            bank.answers.renumber(connection, renumbered)
            bank.add(connection, moved)
        return len(moved)


def _numbered(
    mux: SLMMux,
    question: int,
    new: Sequence[Any],
    known: Sequence[Answered],
    comparisons: Mapping[int, list[str] | None],
) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Return the rows of draws that are new to a question, and other classes of those there."""
    restore, ours = OutputTypes(mux).answer, describe_comparison(mux)
    classes, changed = number_together(
        mux.kind,
        [
            (one, restore(one.answer))
            for one in known
            if comparisons.get(one.program) in (None, ours)
        ],
        [(row.program, row.draw, _answer(row, restore)) for row in new],
        max([-1, *(one.answer_class for one in known)]) + 1,
    )
    return [_moved(row, question, mine) for row, mine in zip(new, classes, strict=True)], changed


def _answer(row: Any, restore: Callable[[Any], Any]) -> Any:
    return NO_ANSWER if row.answer is None else restore(json.loads(row.answer))


def _moved(row: Any, question: int, answer_class: int | None) -> dict[str, Any]:
    values = {column.name: row._mapping[column] for column in draws.c if column is not draws.c.id}
    if row.answer is not None and row.scored_by is None:
        values["score"] = None  # an imported one: by any metric, and any right answer
    return {**values, "question": question, "answer_class": answer_class}
