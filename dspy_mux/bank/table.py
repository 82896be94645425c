"""The record of a bank's table of draws."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import sqlalchemy as sa

from ..sampling.members import MOST_DRAWS
from ..voting.evidence import FIGURES
from ..voting.tally import ABSTAINED, Floats
from .places import columns_of, placed, places, text_of
from .record import MISSING, Record
from .storage.faults import HIGHEST_SCORE, MOST_CLASSES
from .storage.schema import EVIDENCE, EVIDENCE_SINCE, draws

#: Stands for NULL while draws are read: no class, score, count, price or logarithm is as low.
_NULL = -1e300
#: The columns that are figures.
_EVIDENCE = tuple(column for column in EVIDENCE if column.name in FIGURES)


def read_table(connection: sa.Connection, where: sa.ColumnElement[bool], version: int) -> Floats:
    """Return the numbers of the draws, as `record_from_table` takes them.

    Args:
        version: the bank's; older banks have no evidence, and fewer columns.
    """
    # A number for NULL, so that a million rows run straight into an array within seconds.
    columns = (
        *(draws.c.question, draws.c.program, draws.c.draw),
        *(
            sa.func.coalesce(column, sa.literal(_NULL, sa.Float))
            for column in (
                *(draws.c.answer_class, draws.c.score, draws.c.calls, draws.c.prompt_tokens),
                *(draws.c.completion_tokens, draws.c.cost),
                *(_EVIDENCE if version >= EVIDENCE_SINCE else ()),
            )
        ),
    )
    rows = connection.execution_options(yield_per=10_000).execute(sa.select(*columns).where(where))
    table = np.fromiter(chain.from_iterable(rows), np.float64).reshape(-1, len(columns))
    table[table == _NULL] = np.nan
    return table


def record_from_table(
    table: Floats, asked: Sequence[Any], chosen: Mapping[int, str], name: str
) -> Record:
    """Return the record of a bank's table of draws.

    Args:
        table: [D, 9 or 14]: question, program, draw, answer class, score, calls, prompt tokens,
            completion tokens, cost, and the columns of `_EVIDENCE`; NaN for unknown.
        asked: the dataset's questions (id, name, fields, fingerprint), ordered by id.
        chosen: program → member.
        name: the bank's.

    Raises:
        ValueError: there is a number that no bank holds.
    """
    figures = (
        {column.name: table[:, at] for at, column in enumerate(_EVIDENCE, 9)}
        if (table.shape[1] > 9)
        else {}
    )
    numbers, draw, answer_class = table[:, 3:], table[:, 2], np.nan_to_num(table[:, 3])
    if np.isinf(numbers).any() or not (
        ((draw >= 0) & (draw < MOST_DRAWS)).all()
        and ((answer_class >= 0) & (answer_class < MOST_CLASSES)).all()
        and (np.abs(np.nan_to_num(table[:, 4])) < HIGHEST_SCORE).all()
        and (table[:, :3] == np.floor(table[:, :3])).all()
        and all(_is_right(name, values) for name, values in figures.items())
    ):
        raise ValueError("a number is out of range")
    members = list(dict.fromkeys(chosen.values()))
    position = {program: members.index(member) for program, member in chosen.items()}
    ids = np.array([row.id for row in asked])
    drawn = np.isin(ids, table[:, 0])
    asked, ids = [row for row, keep in zip(asked, drawn, strict=True) if keep], ids[drawn]
    at, shape = places(
        np.searchsorted(ids, table[:, 0].astype(np.int64)),
        np.array([position[program] for program in table[:, 1].astype(np.int64).tolist()]),
        table[:, 2].astype(np.int64),
        len(members),
        f"The bank {name}",
    )
    # Older banks have counts below 0 where a server said so.
    figures["completion_tokens"] = np.where(table[:, 7] < 0, np.nan, table[:, 7])
    abstained = np.isnan(table[:, 3])
    votes = np.full(shape, MISSING, np.int32)
    votes[at] = np.where(abstained, ABSTAINED, np.nan_to_num(table[:, 3]))
    scores = np.zeros(shape, np.float32)
    scores[at] = np.where(abstained, 0.0, table[:, 4])
    fields = [
        {key: text_of(value) for key, value in json.loads(row.fields).items()} for row in asked
    ]
    return Record(
        members=tuple(members),
        questions=tuple(row.name for row in asked),
        votes=votes,
        scores=scores,
        fields=columns_of(fields),
        keys=tuple(row.fingerprint for row in asked),
        calls=placed(table[:, 5], at, shape),
        tokens=placed(table[:, 6] + table[:, 7], at, shape),
        cost=placed(table[:, 8], at, shape),
        evidence={
            figure: values
            for figure in FIGURES
            if figure in figures and (values := placed(figures[figure], at, shape)) is not None
        },
        source=f"The bank {name}",
    )


def _is_right(figure: str, values: Floats) -> bool:
    """Whether no value is one that a figure cannot have; NaN is unknown."""
    wrong = values > 0 if figure.endswith("_logprob") else values < 0
    return not wrong.any()
