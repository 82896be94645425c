"""SampleBank: recorded draws in a database, one row a draw. Storage alone: `collect.py` fills it, `replay.py` reads it.

SQLite (a path) or PostgreSQL (a URL). A draw is written once and never changed, except for its score: one that was missing is
added, and one by another metric or gold answer is replaced.
Reading never changes the bank.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from ..errors import BankError
from ..sampling.abstention import NO_FIELD, NO_PREDICTION, RESPONSE_CAUSES
from .record import Record, record_of
from .rows import laid_out
from .storage.database import Database
from .storage.schema import claims, draws, programs, questions, storable

#: A claim whose process cannot be seen from here counts as given up after this many seconds without a sign of life.
CLAIM_LASTS_S = 120.0
_AT_ONCE = 400
#: Stands for NULL while draws are read: no class, score, count or price is as low.
_NULL = -1e300
#: What the banks of all versions hold of a draw.
_OLDEST = [column for column in draws.c if column is not draws.c.scored_by]
#: What failed before a response came (`causes.is_error`).
_FAILED = (
    draws.c.outputs.is_(None)
    & draws.c.answer.is_(None)
    & draws.c.cause.is_not(None)
    & draws.c.cause.not_in(RESPONSE_CAUSES)
    & ~draws.c.cause.startswith(NO_FIELD)
    & ~draws.c.cause.startswith(NO_PREDICTION)
)
#: Owners of claims in this process that are at work. (A process that is killed may be followed by one of its number.)
_at_work: set[str] = set()


class Unscored(NamedTuple):
    """A recorded answer that has no score by the metric at hand.

    Attributes:
        outputs: the fields of its prediction, as far as they are known.
    """

    draw: int
    question: int
    answer: Any
    outputs: dict[str, Any]


class Answered(NamedTuple):
    """A recorded answer."""

    question: int
    program: int
    answer: Any
    answer_class: int


class SampleBank:
    """A bank of recorded draws.

        bank = SampleBank("runs/gsm8k.sqlite")          # or "postgresql://…"
        bank.record(dataset="gsm8k")                    # the draws as arrays

    Args:
        url: a path of an SQLite file, made when something is first written, or the URL of a PostgreSQL database.

    Raises:
        BankError: on use: it is no bank, is damaged, read-only, of a newer version, or cannot be reached.
    """

    def __init__(self, url: str | os.PathLike[str]):
        self._database = Database(url)
        self.path, self.name = self._database.path, self._database.name

    def __repr__(self) -> str:
        return f"SampleBank({self.name!r})"

    # --- reading

    def exists(self) -> bool:
        """Whether something was ever written to it."""
        return self._database.has_tables()

    def datasets(self) -> dict[str, int]:
        """Dataset → questions."""
        with self._database.reading() as connection:
            rows = connection.execute(
                sa.select(questions.c.dataset, sa.func.count()).group_by(questions.c.dataset)
            )
            return {name: count for name, count in sorted((name, count) for name, count in rows)}  # noqa: C416

    def info(self) -> list[dict[str, Any]]:
        """One entry a dataset and program: member, fingerprint, model, questions, draws, abstentions, calls, tokens and cost.

        Its `errors` are the abstentions that a retry may mend: draws that failed before a response came.
        """
        failed = sa.func.sum(sa.case((_FAILED, 1), else_=0))
        abstained = sa.func.sum(sa.case((draws.c.answer.is_(None), 1), else_=0))
        query = (
            sa.select(
                questions.c.dataset,
                programs.c.member,
                programs.c.fingerprint,
                programs.c.description,
                sa.func.count(sa.distinct(draws.c.question)),
                sa.func.count(),
                abstained,
                failed,
                sa.func.sum(draws.c.calls),
                sa.func.sum(draws.c.prompt_tokens + draws.c.completion_tokens),
                sa.func.sum(draws.c.cost),
                sa.func.max(draws.c.created),
            )
            .join_from(draws, questions)
            .join(programs)
            .group_by(
                questions.c.dataset,
                programs.c.id,
                programs.c.member,
                programs.c.fingerprint,
                programs.c.description,
            )
            .order_by(questions.c.dataset, programs.c.id)
        )
        names = (
            "dataset",
            "member",
            "program",
            "model",
            "questions",
            "draws",
            "abstentions",
            "errors",
            "calls",
            "tokens",
            "cost",
        )
        with self._database.reading() as connection:
            rows = [list(row) for row in connection.execute(query)]
        for row in rows:
            row[3] = json.loads(row[3]).get("model")
        return [dict(zip((*names, "latest"), row, strict=True)) for row in rows]

    def record(
        self,
        *,
        dataset: str | None = None,
        program: str | None = None,
        programs: Sequence[tuple[str, str]] | None = None,
    ) -> Record:
        """The draws as arrays.

        Args:
            dataset: which of several.
            program: where a member was recorded with several programs: the start of a fingerprint, several by comma where members
                have programs of their own, or "latest" for each member's last one. Draws of different programs never mix.
            programs: the very programs, as (member, fingerprint).

        Raises:
            BankError: there are no draws, or several datasets or programs of which none is named.
        """
        dataset = self._chosen_dataset(dataset)
        chosen = self._chosen_programs(dataset, program, programs)
        # A number for NULL, so that the rows can run straight into an array, a million in seconds.
        whole = (draws.c.question, draws.c.program, draws.c.draw)
        maybe = (
            draws.c.answer_class,
            draws.c.score,
            draws.c.calls,
            draws.c.prompt_tokens,
            draws.c.completion_tokens,
            draws.c.cost,
        )
        columns = (
            *whole,
            *(sa.func.coalesce(column, sa.literal(_NULL, sa.Float)) for column in maybe),
        )
        asked = sa.select(questions.c.id).where(questions.c.dataset == dataset)
        where = draws.c.program.in_(list(chosen)) & draws.c.question.in_(asked)
        with self._database.reading() as connection:
            told = connection.execute(
                sa.select(
                    questions.c.id, questions.c.name, questions.c.fields, questions.c.fingerprint
                )
                .where(questions.c.dataset == dataset)
                .order_by(questions.c.id)
            ).all()
            rows = connection.execution_options(yield_per=10_000).execute(
                sa.select(*columns).where(where)
            )
            table = np.fromiter(chain.from_iterable(rows), np.float64).reshape(-1, len(columns))
        table[table == _NULL] = np.nan
        if not len(table):
            raise BankError(f"The bank {self.name} holds no draws yet: collect some first.")
        return record_of(table, told, chosen, self.name)

    def rows(self, *, dataset: str | None = None) -> Generator[dict[str, Any], None, None]:
        """Every draw as a plain row, in the order recorded: the form of a JSONL bank."""
        query = sa.select(
            *_OLDEST,
            questions.c.dataset,
            questions.c.name,
            questions.c.fields,
            questions.c.fingerprint.label("key"),
        )
        query = (
            query.add_columns(programs.c.member, programs.c.fingerprint.label("made_by"))
            .join_from(draws, questions)
            .join(programs)
        )
        if dataset is not None:
            query = query.where(questions.c.dataset == self._chosen_dataset(dataset))
        with self._database.reading() as connection:
            for row in connection.execution_options(yield_per=5000).execute(
                query.order_by(draws.c.id)
            ):
                drawn = {
                    "dataset": row.dataset,
                    "question_id": row.name,
                    "question_fingerprint": row.key,
                    "model": row.member,
                    "program": row.made_by,
                    "draw": row.draw,
                    "answer": "" if row.answer is None else json.loads(row.answer),
                    "answer_class": row.answer_class,
                    "score": row.score,
                    "cause": row.cause,
                    "outputs": None if row.outputs is None else json.loads(row.outputs),
                    **{
                        name: getattr(row, name)
                        for name in (
                            "calls",
                            "prompt_tokens",
                            "completion_tokens",
                            "seconds",
                            "cost",
                            "created",
                        )
                    },
                }
                yield laid_out(json.loads(row.fields), drawn)

    def drawn(
        self, program_ids: Sequence[int], question_ids: Sequence[int]
    ) -> set[tuple[int, int, int]]:
        """(program, question, draw) of what is recorded already."""
        wanted = set(question_ids)
        query = sa.select(draws.c.program, draws.c.question, draws.c.draw).where(
            draws.c.program.in_(list(program_ids))
        )
        if len(wanted) <= _AT_ONCE:
            query = query.where(draws.c.question.in_(wanted))
        with self._database.reading() as connection:
            return {(p, q, d) for p, q, d in connection.execute(query) if q in wanted}

    def unscored(self, program_ids: Sequence[int], scored_by: Mapping[int, str]) -> list[Unscored]:
        """Answers to these questions that have no score, or one by another metric or gold answer.

        Args:
            scored_by: question → the fingerprint of what its answers are scored by (`fingerprint_score`). Scores of which that
                is not known, as imported ones, stay.
        """
        ours = draws.c.program.in_(list(program_ids))
        missing = draws.c.score.is_(None) & draws.c.answer.is_not(None)
        otherwise = (
            sa.select(draws.c.question, draws.c.scored_by)
            .where(ours & draws.c.scored_by.is_not(None))
            .distinct()
        )
        query = sa.select(
            draws.c.id, draws.c.question, draws.c.scored_by, draws.c.answer, draws.c.outputs
        ).order_by(draws.c.id)
        with self._database.reading() as connection:
            found = [
                row
                for row in connection.execute(query.where(ours & missing))
                if row.question in scored_by
            ]
            stale = sorted(
                {q for q, by in connection.execute(otherwise) if scored_by.get(q, by) != by}
            )
            for at in range(0, len(stale), _AT_ONCE):
                of_some = (
                    ours
                    & draws.c.scored_by.is_not(None)
                    & draws.c.question.in_(stale[at : at + _AT_ONCE])
                )
                found += (
                    row
                    for row in connection.execute(query.where(of_some))
                    if row.scored_by != scored_by[row.question]
                )
        return [
            Unscored(row.id, row.question, json.loads(row.answer), json.loads(row.outputs or "{}"))
            for row in found
        ]

    # --- writing

    def questions_of(
        self, dataset: str, rows: Sequence[tuple[str, str, Mapping[str, Any]]]
    ) -> list[int]:
        """Ids of questions given as (fingerprint, name, fields); they are added where they are new, else their fields updated."""
        values = [
            {
                "dataset": dataset,
                "fingerprint": key,
                "name": name,
                "fields": json.dumps(fields, sort_keys=True),
            }
            for key, name, fields in rows
        ]
        with self.writing() as connection:
            self._database.insert(connection, questions, values)
            query = sa.select(questions.c.fingerprint, questions.c.id, questions.c.fields).where(
                questions.c.dataset == dataset
            )
            found = {key: (question, fields) for key, question, fields in connection.execute(query)}
            for key, _, fields in rows:
                question, before = found[storable(key)]
                known = json.loads(before)
                if (now := {**known, **json.loads(json.dumps(fields))}) != known:
                    told = json.dumps(now, sort_keys=True)
                    connection.execute(
                        sa.update(questions).where(questions.c.id == question).values(fields=told)
                    )
        return [found[storable(key)][0] for key, _, _ in rows]

    def programs_of(self, rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[int]:
        """Ids of programs given as (member, fingerprint, description), which are added where they are new."""
        values = [
            {"member": m, "fingerprint": f, "description": json.dumps(d, sort_keys=True)}
            for m, f, d in rows
        ]
        with self.writing() as connection:
            self._database.insert(connection, programs, values)
            query = sa.select(programs.c.member, programs.c.fingerprint, programs.c.id)
            found = {(member, key): program for member, key, program in connection.execute(query)}
        return [found[storable(member), storable(key)] for member, key, _ in rows]

    def add(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write draws in a transaction of `writing`; a draw that is there already stays as it was."""
        self._database.insert(connection, draws, rows)

    def answers(
        self, connection: sa.Connection, question_ids: Sequence[int]
    ) -> tuple[int, list[Answered]]:
        """What is recorded for these questions, in the order recorded, and the number of the bank's last draw."""
        latest = connection.execute(sa.select(sa.func.max(draws.c.id))).scalar() or 0
        query = sa.select(draws.c.question, draws.c.program, draws.c.answer, draws.c.answer_class)
        where = draws.c.question.in_(list(question_ids)) & draws.c.answer.is_not(None)
        rows = connection.execute(query.where(where).order_by(draws.c.id))
        return latest, [
            Answered(row.question, row.program, json.loads(row.answer), row.answer_class)
            for row in rows
        ]

    def answered_since(
        self, connection: sa.Connection, question_ids: Sequence[int], latest: int
    ) -> bool:
        """Whether one of these questions has an answer that came after the draw of this number."""
        where = (
            (draws.c.id > latest)
            & draws.c.question.in_(list(question_ids))
            & draws.c.answer.is_not(None)
        )
        return connection.execute(sa.select(draws.c.id).where(where).limit(1)).first() is not None

    def comparisons(self, connection: sa.Connection) -> dict[int, Any]:
        """Program → how its answers are compared (`fingerprint_member`); None where that is not known, as for imported draws."""
        rows = connection.execute(sa.select(programs.c.id, programs.c.description))
        return {program: json.loads(description).get("answer") for program, description in rows}

    def known_answers(self, question_ids: Sequence[int]) -> list[tuple[int, Any, int]]:
        """(question, answer, class) of what is recorded for these questions, in the order recorded."""
        wanted = set(question_ids)
        query = sa.select(draws.c.question, draws.c.answer, draws.c.answer_class).where(
            draws.c.answer.is_not(None)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(draws.c.id))
            return [
                (question, json.loads(answer), its_class)
                for question, answer, its_class in rows
                if question in wanted
            ]

    def score(self, scores: Mapping[int, tuple[float, str]]) -> None:
        """Write scores, in place of older ones where there are any: draw → (score, the fingerprint of what it is by)."""
        with self.writing() as connection:
            for draw, (value, by) in scores.items():
                connection.execute(
                    sa.update(draws).where(draws.c.id == draw).values(score=value, scored_by=by)
                )

    def failures(
        self, program_ids: Sequence[int], question_ids: Sequence[int]
    ) -> dict[tuple[int, int, int], str]:
        """(program, question, draw) → cause of what failed before a response came; not what a model said, usable or not."""
        wanted = set(question_ids)
        query = sa.select(draws.c.program, draws.c.question, draws.c.draw, draws.c.cause)
        query = query.where(draws.c.program.in_(list(program_ids)) & _FAILED)
        with self._database.reading() as connection:
            return {(p, q, d): cause for p, q, d, cause in connection.execute(query) if q in wanted}

    def forget_failures(
        self, connection: sa.Connection, failed: Iterable[tuple[int, int, int]]
    ) -> None:
        """Make room, in a transaction of `writing`, for what comes in the place of failures: (question, program, draw)."""
        for question, program, draw in failed:
            this = (
                (draws.c.question == question)
                & (draws.c.program == program)
                & (draws.c.draw == draw)
            )
            connection.execute(sa.delete(draws).where(this & _FAILED))

    def claim(self, units: Sequence[tuple[int, int]], owner: str) -> list[tuple[int, int]]:
        """Those of the (question, program) pairs that are now the owner's to draw; the others are another process's."""
        now, host = time.time(), socket.gethostname()
        _at_work.add(owner)
        with self.writing() as connection:
            dead = [row for row in connection.execute(sa.select(claims)) if _gone(row, host, now)]
            for row in dead:
                connection.execute(
                    sa.delete(claims).where(
                        (claims.c.question == row.question) & (claims.c.program == row.program)
                    )
                )
            values = [
                {
                    "question": q,
                    "program": p,
                    "owner": owner,
                    "host": host,
                    "pid": os.getpid(),
                    "beat": now,
                }
                for q, p in units
            ]
            self._database.insert(connection, claims, values)
            rows = connection.execute(
                sa.select(claims.c.question, claims.c.program).where(claims.c.owner == owner)
            )
            ours = {(q, p) for q, p in rows}
        return [unit for unit in units if unit in ours]

    def beat(self, owner: str) -> None:
        """A sign of life for the owner's claims."""
        with self.writing() as connection:
            connection.execute(
                sa.update(claims).where(claims.c.owner == owner).values(beat=time.time())
            )

    def release(
        self, connection: sa.Connection, owner: str, units: Iterable[tuple[int, int]] | None = None
    ) -> None:
        """Give up the owner's claims: those on `units`, or all (then `abandon` it too, once that is written)."""
        mine = claims.c.owner == owner
        if units is None:
            connection.execute(sa.delete(claims).where(mine))
        for question, program in units or ():
            connection.execute(
                sa.delete(claims).where(
                    mine & (claims.c.question == question) & (claims.c.program == program)
                )
            )

    def abandon(self, owner: str) -> None:
        """What the owner still claims is given up, also where that cannot be written."""
        _at_work.discard(owner)

    def writing(self) -> AbstractContextManager[sa.Connection]:
        """A transaction; the tables are made where they are missing."""
        return self._database.writing()

    def close(self) -> None:
        """Close its connections; it opens them again when it is used."""
        self._database.close()

    # --- inside

    def _chosen_dataset(self, dataset: str | None) -> str:
        known = self.datasets()
        dataset = None if dataset is None else storable(dataset)
        if dataset is None and len(known) == 1:
            return next(iter(known))
        if not known:
            raise BankError(f"The bank {self.name} holds no draws yet: collect some first.")
        if dataset is None:
            raise BankError(
                f"The bank {self.name} holds several datasets: choose one of {', '.join(known)} with --dataset."
            )
        if dataset not in known:
            raise BankError(
                f"The bank {self.name} has no dataset {dataset!r}; it has {', '.join(known)}."
            )
        return dataset

    def _chosen_programs(
        self, dataset: str, program: str | None, exactly: Sequence[tuple[str, str]] | None
    ) -> dict[int, str]:
        """Program id → member."""
        query = (
            sa.select(
                programs.c.id, programs.c.member, programs.c.fingerprint, sa.func.max(draws.c.id)
            )
            .join_from(draws, programs)
            .join(questions)
            .where(questions.c.dataset == dataset)
            .group_by(programs.c.id, programs.c.member, programs.c.fingerprint)
            .order_by(programs.c.id)
        )
        named_so = {(storable(member), storable(key)) for member, key in exactly or ()}
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        by_member: dict[str, list[Any]] = {}
        for row in rows:
            if exactly is not None and (row.member, row.fingerprint) not in named_so:
                continue
            by_member.setdefault(row.member, []).append(row)
        if program is None or program == "latest":
            starts: tuple[str, ...] = ("",)
        else:
            starts = tuple(start.strip() for start in program.split(",") if start.strip())
        if by_member and not any(
            row.fingerprint.startswith(starts)
            for candidates in by_member.values()
            for row in candidates
        ):
            raise BankError(f"The bank {self.name} has no program {program!r}.")
        chosen: dict[int, str] = {}
        for member, candidates in by_member.items():
            if len(candidates) == 1:  # nothing to choose between
                matching = candidates
            elif program == "latest":
                matching = [max(candidates, key=lambda row: row[3])]
            else:
                matching = [row for row in candidates if row.fingerprint.startswith(starts)]
            if len(matching) != 1:
                told = ", ".join(row.fingerprint[:12] for row in candidates)
                among = (
                    f"none of which starts with {program!r}" if not matching else "which never mix"
                )
                raise BankError(
                    f"The bank {self.name} holds draws of {member!r} by {len(candidates)} programs ({told}), {among}: choose one "
                    "by the start of its fingerprint (several, by comma, where members have their own), or 'latest'."
                )
            chosen.update({row.id: member for row in matching})
        return chosen


def _gone(row: Any, host: str, now: float) -> bool:
    """Whether a claim's owner is at work no more."""
    if row.host == host:
        if row.pid == os.getpid():
            return row.owner not in _at_work
        try:
            os.kill(row.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it lives, as another user's
    return bool(row.beat < now - CLAIM_LASTS_S)
