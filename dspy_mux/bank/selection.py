"""Select a dataset of a bank, and one program for each member."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from ..errors import ConfigurationError, DataError
from . import temperatures
from .storage.schema import draws, programs, questions, storable
from .temperatures import Temperature


class _Candidate(NamedTuple):
    """A program with draws in the dataset.

    Attributes:
        latest: the id of its last draw.
        temperature: of its draws; None for unknown.
    """

    id: int
    member: str
    fingerprint: str
    latest: int
    temperature: float | None


class Described(NamedTuple):
    """A program: its fingerprint, and the description that it is of (`fingerprint_member`)."""

    fingerprint: str
    description: Mapping[str, Any]


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
    temperature: Temperature | None,
) -> dict[int, str]:
    """Return program id → member, one program for each member.

    Args:
        bank: its name, for messages.
        program: the start of a fingerprint, several starts by comma, or "latest"; needed where a
            member was recorded with several programs.
        exactly: only these programs, as (member, fingerprint).
        temperature: only programs of this temperature; "each" for a member of each temperature.

    Raises:
        ConfigurationError: `program` and `temperature` do not select one program of each member.
    """
    wanted = exactly and {(storable(member), storable(key)) for member, key in exactly}
    every = [
        one
        for one in _candidates(connection, dataset)
        if wanted is None or (one.member, one.fingerprint) in wanted
    ]
    if temperature is not None and temperature != "each":
        known = [one.temperature for one in every]
        every = [one for one in every if one.temperature == temperature]
        if known and not every:
            raise temperatures.unknown(f"The bank {bank}", temperature, known)
    starts: tuple[str, ...] = ("",)
    if program is not None and program != "latest":
        starts = tuple(start.strip() for start in program.split(",") if start.strip())
    if every and not any(one.fingerprint.startswith(starts) for one in every):
        raise ConfigurationError(f"The bank {bank} has no program {program!r}.")
    by_member: dict[tuple[str, float | None], list[_Candidate]] = {}
    for one in every:
        at = one.temperature if temperature == "each" else None
        by_member.setdefault((one.member, at), []).append(one)
    chosen: dict[int, str] = {}
    for (member, at), candidates in by_member.items():
        if len(candidates) == 1:  # nothing to choose between
            matching = candidates
        elif program == "latest":
            matching = [max(candidates, key=lambda one: one.latest)]
        else:
            matching = [one for one in candidates if one.fingerprint.startswith(starts)]
        if len(matching) != 1:
            raise _undecided(bank, member, program, candidates, matching)
        chosen[matching[0].id] = temperatures.at(member, at)
    temperatures.refuse_alike(f"The bank {bank}", list(chosen.values()))
    return chosen


def described(connection: sa.Connection, chosen: Mapping[int, str]) -> dict[str, Described]:
    """Return member → its program, of the programs that `select_programs` chose."""
    query = sa.select(programs.c.id, programs.c.fingerprint, programs.c.description)
    rows = connection.execute(query.where(programs.c.id.in_(list(chosen))))
    found = {row.id: Described(row.fingerprint, json.loads(row.description)) for row in rows}
    return {member: found[program] for program, member in chosen.items()}


def _undecided(
    bank: str,
    member: str,
    program: str | None,
    candidates: Sequence[_Candidate],
    matching: Sequence[_Candidate],
) -> ConfigurationError:
    """Return the error that several programs of a member match, or none does."""
    several = {one.temperature for one in matching}
    if len(several) == len(matching) and len(several) > 1:
        return temperatures.several(f"The bank {bank}", member, several)
    known = ", ".join(one.fingerprint[:12] for one in candidates)
    why = f"none of which starts with {program!r}" if not matching else "which never mix"
    return ConfigurationError(
        f"The bank {bank} holds draws of {member!r} by {len(candidates)} programs "
        f"({known}), {why}: choose one by the start of its fingerprint (several, by comma, "
        "where members have their own), or 'latest'."
    )


def recorded_temperatures(connection: sa.Connection, dataset: str) -> dict[str, list[float | None]]:
    """Return member → the temperatures of its draws, from the lowest up; None for unknown."""
    known: dict[str, set[float | None]] = {}
    for one in _candidates(connection, dataset):
        known.setdefault(one.member, set()).add(one.temperature)
    return {member: temperatures.in_order(values) for member, values in known.items()}


def temperature_of(description: str) -> float | None:
    """Return the temperature that a program's description (JSON) holds; None for unknown."""
    value = json.loads(description).get("temperature")
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else float(value)


def _candidates(connection: sa.Connection, dataset: str) -> list[_Candidate]:
    """Return the programs that have draws in the dataset, in order."""
    latest = (
        sa.select(draws.c.program, sa.func.max(draws.c.id).label("latest"))
        .join(questions)
        .where(questions.c.dataset == dataset)
        .group_by(draws.c.program)
        .subquery()
    )
    query = sa.select(
        *(programs.c.id, programs.c.member, programs.c.fingerprint),
        latest.c.latest,
        programs.c.description,
    )
    rows = connection.execute(query.join(latest).order_by(programs.c.id))
    return [_Candidate(*row[:-1], temperature_of(row.description)) for row in rows]
