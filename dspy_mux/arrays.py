"""A bank's rows of numbers as the arrays of a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .record import MISSING, Record
from .tally import ABSTAINED


def record_of(table: Any, told: Sequence[Any], chosen: Mapping[int, str], source: str) -> Record:
    """The record of a table of draws.

    Args:
        table: [D, 9]: question, program, draw, answer class, score, calls, prompt and completion tokens, cost; NaN for unknown.
        told: the dataset's questions (id, name, fields, fingerprint), in the order of their ids.
        chosen: program → member.
        source: what the record is told to be of.
    """
    members = list(dict.fromkeys(chosen.values()))
    position = {program: members.index(member) for program, member in chosen.items()}
    ids = np.array([row.id for row in told])
    asked = np.isin(ids, table[:, 0])
    told, ids = [row for row, keep in zip(told, asked, strict=True) if keep], ids[asked]
    at = (
        np.searchsorted(ids, table[:, 0].astype(np.int64)),
        np.array([position[program] for program in table[:, 1].astype(np.int64).tolist()]),
        table[:, 2].astype(np.int64),
    )
    shape = (len(ids), len(members), int(at[2].max()) + 1)
    abstained = np.isnan(table[:, 3])
    votes = np.full(shape, MISSING, np.int32)
    votes[at] = np.where(abstained, ABSTAINED, np.nan_to_num(table[:, 3]))
    scores = np.zeros(shape, np.float32)
    scores[at] = np.where(abstained, 0.0, table[:, 4])
    fields = [json.loads(row.fields) for row in told]
    keys = dict.fromkeys(key for each in fields for key in each)
    return Record(
        members=tuple(members),
        questions=tuple(row.name for row in told),
        votes=votes,
        scores=scores,
        fields={key: tuple(_text(each.get(key)) for each in fields) for key in keys},
        keys=tuple(row.fingerprint for row in told),
        calls=_spent(table[:, 5], at, shape),
        tokens=_spent(table[:, 6] + table[:, 7], at, shape),
        cost=_spent(table[:, 8], at, shape),
        source=f"The bank {source}",
    )


def _spent(values: Any, at: Any, shape: tuple[int, int, int]) -> Any:
    if np.isnan(values).all():
        return None
    spent = np.full(shape, np.nan)
    spent[at] = values
    return spent


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
