"""Select a dataset of a bank, and one program for each member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from ..errors import ConfigurationError, DataError
from .storage.schema import draws, programs, questions, storable


class _Candidate(NamedTuple):
    """A program with draws in the dataset; `latest` is the id of its last one."""

    id: int
    member: str
    fingerprint: str
    latest: int


def select_dataset(bank: str, known: Mapping[str, int], dataset: str | None) -> str:
    """Return the dataset that was asked for, or the only one.

    Args:
        bank: its name, for messages.
        known: the bank's datasets.

    Raises:
        ConfigurationError: there is no such dataset, or there are several and none is named.
        DataError: the bank is empty.
    """
    dataset = None if dataset is None else storable(dataset)
    if dataset is None and len(known) == 1:
        return next(iter(known))
    if not known:
        raise DataError(f"The bank {bank} holds no draws yet: collect some first.")
    if dataset is None:
        raise ConfigurationError(
            f"The bank {bank} holds several datasets: choose one of {', '.join(known)} with "
            "--dataset."
        )
    if dataset not in known:
        raise ConfigurationError(
            f"The bank {bank} has no dataset {dataset!r}; it has {', '.join(known)}."
        )
    return dataset


def select_programs(
    connection: sa.Connection,
    bank: str,
    dataset: str,
    program: str | None,
    exactly: Sequence[tuple[str, str]] | None,
) -> dict[int, str]:
    """Return program id → member, one program for each member.

    Args:
        bank: its name, for messages.
        program: the start of a fingerprint, several starts by comma, or "latest"; needed where a
            member was recorded with several programs.
        exactly: only these programs, as (member, fingerprint).

    Raises:
        ConfigurationError: `program` does not select one program of each member.
    """
    by_member = _candidates(connection, dataset, exactly)
    starts: tuple[str, ...] = ("",)
    if program is not None and program != "latest":
        starts = tuple(start.strip() for start in program.split(",") if start.strip())
    every = [one for candidates in by_member.values() for one in candidates]
    if every and not any(one.fingerprint.startswith(starts) for one in every):
        raise ConfigurationError(f"The bank {bank} has no program {program!r}.")
    chosen: dict[int, str] = {}
    for member, candidates in by_member.items():
        if len(candidates) == 1:  # nothing to choose between
            matching = candidates
        elif program == "latest":
            matching = [max(candidates, key=lambda one: one.latest)]
        else:
            matching = [one for one in candidates if one.fingerprint.startswith(starts)]
        if len(matching) != 1:
            known = ", ".join(one.fingerprint[:12] for one in candidates)
            why = f"none of which starts with {program!r}" if not matching else "which never mix"
            raise ConfigurationError(
                f"The bank {bank} holds draws of {member!r} by {len(candidates)} programs "
                f"({known}), {why}: choose one by the start of its fingerprint (several, by comma, "
                "where members have their own), or 'latest'."
            )
        chosen[matching[0].id] = member
    return chosen


def _candidates(
    connection: sa.Connection, dataset: str, exactly: Sequence[tuple[str, str]] | None
) -> dict[str, list[_Candidate]]:
    """Return member → its programs that have draws in the dataset."""
    columns = programs.c.id, programs.c.member, programs.c.fingerprint
    query = (
        sa.select(*columns, sa.func.max(draws.c.id))
        .join_from(draws, programs)
        .join(questions)
        .where(questions.c.dataset == dataset)
        .group_by(*columns)
        .order_by(programs.c.id)
    )
    wanted = {(storable(member), storable(key)) for member, key in exactly or ()}
    by_member: dict[str, list[_Candidate]] = {}
    for one in map(_Candidate._make, connection.execute(query)):
        if exactly is None or (one.member, one.fingerprint) in wanted:
            by_member.setdefault(one.member, []).append(one)
    return by_member
