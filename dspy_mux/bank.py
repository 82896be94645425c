"""SampleBank: recorded draws in a database, one row a draw. Storage alone: `collect.py` fills it, `replay.py` reads it.

SQLite (a path) or PostgreSQL (a URL). A draw is written once and never changed, except that a score that was missing is added.
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
from typing import Any

import numpy as np
import sqlalchemy as sa

from .database import Database
from .errors import BankError
from .record import MISSING, Record
from .schema import claims, draws, programs, questions, storable
from .tally import ABSTAINED

#: A claim whose process cannot be seen from here counts as given up after this many seconds without a sign of life.
CLAIM_LASTS_S = 120.0
_AT_ONCE = 400
#: Stands for NULL while draws are read: no class, score, count or price is as low.
_NULL = -1e300
#: Owners of claims in this process that are at work. (A process that is killed may be followed by one of its number.)
_at_work: set[str] = set()


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
            rows = connection.execute(sa.select(questions.c.dataset, sa.func.count()).group_by(questions.c.dataset))
            return {name: count for name, count in sorted((name, count) for name, count in rows)}  # noqa: C416

    def info(self) -> list[dict[str, Any]]:
        """One entry a dataset and program: member, fingerprint, model, questions, draws, abstentions, calls, tokens and cost."""
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
                sa.func.sum(draws.c.calls),
                sa.func.sum(draws.c.prompt_tokens + draws.c.completion_tokens),
                sa.func.sum(draws.c.cost),
                sa.func.max(draws.c.created),
            )
            .join_from(draws, questions)
            .join(programs)
            .group_by(questions.c.dataset, programs.c.id, programs.c.member, programs.c.fingerprint, programs.c.description)
            .order_by(questions.c.dataset, programs.c.id)
        )
        names = ("dataset", "member", "program", "model", "questions", "draws", "abstentions", "calls", "tokens", "cost", "latest")
        with self._database.reading() as connection:
            rows = [list(row) for row in connection.execute(query)]
        for row in rows:
            row[3] = json.loads(row[3]).get("model")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def record(
        self, *, dataset: str | None = None, program: str | None = None, programs: Sequence[tuple[str, str]] | None = None
    ) -> Record:
        """The draws as arrays.

        Args:
            dataset: which of several.
            program: where a member was recorded with several programs: the start of a fingerprint, or "latest" for each
                member's last one. Draws of different programs never mix.
            programs: the very programs, as (member, fingerprint).

        Raises:
            BankError: there are no draws, or several datasets or programs of which none is named.
        """
        dataset = self._chosen_dataset(dataset)
        chosen = self._chosen_programs(dataset, program, programs)
        # A number for NULL, so that the rows can run straight into an array, a million in seconds.
        whole = (draws.c.question, draws.c.program, draws.c.draw)
        maybe = (draws.c.answer_class, draws.c.score, draws.c.calls, draws.c.prompt_tokens, draws.c.completion_tokens, draws.c.cost)
        columns = (*whole, *(sa.func.coalesce(column, sa.literal(_NULL, sa.Float)) for column in maybe))
        asked = sa.select(questions.c.id).where(questions.c.dataset == dataset)
        where = draws.c.program.in_(list(chosen)) & draws.c.question.in_(asked)
        with self._database.reading() as connection:
            told = connection.execute(
                sa.select(questions.c.id, questions.c.name, questions.c.fields, questions.c.fingerprint)
                .where(questions.c.dataset == dataset)
                .order_by(questions.c.id)
            ).all()
            rows = connection.execution_options(yield_per=10_000).execute(sa.select(*columns).where(where))
            table = np.fromiter(chain.from_iterable(rows), np.float64).reshape(-1, len(columns))
        table[table == _NULL] = np.nan
        if not len(table):
            raise BankError(f"The bank {self.name} holds no draws yet: collect some first.")
        return _arrays(table, told, chosen, self.name)

    def rows(self, *, dataset: str | None = None) -> Generator[dict[str, Any], None, None]:
        """Every draw as a plain row, in the order recorded: the form of a JSONL bank."""
        query = sa.select(draws, questions.c.dataset, questions.c.name, questions.c.fields, questions.c.fingerprint.label("key"))
        query = (
            query.add_columns(programs.c.member, programs.c.fingerprint.label("made_by")).join_from(draws, questions).join(programs)
        )
        if dataset is not None:
            query = query.where(questions.c.dataset == self._chosen_dataset(dataset))
        with self._database.reading() as connection:
            for row in connection.execution_options(yield_per=5000).execute(query.order_by(draws.c.id)):
                yield {
                    **json.loads(row.fields),
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
                    **{
                        name: getattr(row, name)
                        for name in ("calls", "prompt_tokens", "completion_tokens", "seconds", "cost", "created")
                    },
                }

    def drawn(self, program_ids: Sequence[int], question_ids: Sequence[int]) -> set[tuple[int, int, int]]:
        """(program, question, draw) of what is recorded already."""
        wanted = set(question_ids)
        query = sa.select(draws.c.program, draws.c.question, draws.c.draw).where(draws.c.program.in_(list(program_ids)))
        if len(wanted) <= _AT_ONCE:
            query = query.where(draws.c.question.in_(wanted))
        with self._database.reading() as connection:
            return {(p, q, d) for p, q, d in connection.execute(query) if q in wanted}

    def unscored(self, program_ids: Sequence[int], question_ids: Sequence[int]) -> list[tuple[int, int, str]]:
        """(draw id, question, outputs) of answers that the metric has not scored yet."""
        wanted = set(question_ids)
        query = sa.select(draws.c.id, draws.c.question, draws.c.outputs).where(
            draws.c.program.in_(list(program_ids)) & draws.c.score.is_(None) & draws.c.answer.is_not(None)
        )
        with self._database.reading() as connection:
            return [(i, q, outputs) for i, q, outputs in connection.execute(query) if q in wanted]

    # --- writing

    def questions_of(self, dataset: str, rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[int]:
        """Ids of questions given as (fingerprint, name, fields), which are added where they are new."""
        values = [
            {"dataset": dataset, "fingerprint": key, "name": name, "fields": json.dumps(fields, sort_keys=True)}
            for key, name, fields in rows
        ]
        with self.writing() as connection:
            self._database.insert(connection, questions, values)
            query = sa.select(questions.c.fingerprint, questions.c.id).where(questions.c.dataset == dataset)
            found = {key: question for key, question in connection.execute(query)}  # noqa: C416  (a result is no mapping)
        return [found[storable(key)] for key, _, _ in rows]

    def programs_of(self, rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[int]:
        """Ids of programs given as (member, fingerprint, description), which are added where they are new."""
        values = [{"member": m, "fingerprint": f, "description": json.dumps(d, sort_keys=True)} for m, f, d in rows]
        with self.writing() as connection:
            self._database.insert(connection, programs, values)
            query = sa.select(programs.c.member, programs.c.fingerprint, programs.c.id)
            found = {(member, key): program for member, key, program in connection.execute(query)}
        return [found[storable(member), storable(key)] for member, key, _ in rows]

    def add(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write draws in a transaction of `writing`; a draw that is there already stays as it was."""
        self._database.insert(connection, draws, rows)

    def answers(self, connection: sa.Connection, question: int) -> list[tuple[str, int]]:
        """(answer, class) of a question's recorded answers, in the order recorded."""
        query = sa.select(draws.c.answer, draws.c.answer_class).where((draws.c.question == question) & draws.c.answer.is_not(None))
        return [(answer, answer_class) for answer, answer_class in connection.execute(query.order_by(draws.c.id))]

    def known_answers(self, question_ids: Sequence[int]) -> list[tuple[int, Any, int]]:
        """(question, answer, class) of what is recorded for these questions, in the order recorded."""
        wanted = set(question_ids)
        query = sa.select(draws.c.question, draws.c.answer, draws.c.answer_class).where(draws.c.answer.is_not(None))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(draws.c.id))
            return [(question, json.loads(answer), its_class) for question, answer, its_class in rows if question in wanted]

    def score(self, scores: Mapping[int, float]) -> None:
        """Add scores that were missing: draw id → score."""
        with self.writing() as connection:
            for draw, value in scores.items():
                connection.execute(sa.update(draws).where((draws.c.id == draw) & draws.c.score.is_(None)).values(score=value))

    def forget_failures(self, program_ids: Sequence[int], question_ids: Sequence[int]) -> None:
        """Remove draws that failed before a response came, so that they can be made again."""
        wanted = set(question_ids)
        failed = draws.c.program.in_(list(program_ids)) & draws.c.outputs.is_(None) & draws.c.answer.is_(None)
        with self.writing() as connection:
            rows = connection.execute(sa.select(draws.c.id, draws.c.question).where(failed)).all()
            for draw in (row.id for row in rows if row.question in wanted):
                connection.execute(sa.delete(draws).where(draws.c.id == draw))

    def claim(self, units: Sequence[tuple[int, int]], owner: str) -> list[tuple[int, int]]:
        """Those of the (question, program) pairs that are now the owner's to draw; the others are another process's."""
        now, host = time.time(), socket.gethostname()
        _at_work.add(owner)
        with self.writing() as connection:
            dead = [row for row in connection.execute(sa.select(claims)) if _gone(row, host, now)]
            for row in dead:
                connection.execute(sa.delete(claims).where((claims.c.question == row.question) & (claims.c.program == row.program)))
            values = [
                {"question": q, "program": p, "owner": owner, "host": host, "pid": os.getpid(), "beat": now} for q, p in units
            ]
            self._database.insert(connection, claims, values)
            rows = connection.execute(sa.select(claims.c.question, claims.c.program).where(claims.c.owner == owner))
            ours = {(q, p) for q, p in rows}
        return [unit for unit in units if unit in ours]

    def beat(self, owner: str) -> None:
        """A sign of life for the owner's claims."""
        with self.writing() as connection:
            connection.execute(sa.update(claims).where(claims.c.owner == owner).values(beat=time.time()))

    def release(self, connection: sa.Connection, owner: str, units: Iterable[tuple[int, int]] | None = None) -> None:
        """Give up the owner's claims: those on `units`, or all (then `abandon` it too, once that is written)."""
        mine = claims.c.owner == owner
        if units is None:
            connection.execute(sa.delete(claims).where(mine))
        for question, program in units or ():
            connection.execute(sa.delete(claims).where(mine & (claims.c.question == question) & (claims.c.program == program)))

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
            raise BankError(f"The bank {self.name} holds several datasets: choose one of {', '.join(known)} with --dataset.")
        if dataset not in known:
            raise BankError(f"The bank {self.name} has no dataset {dataset!r}; it has {', '.join(known)}.")
        return dataset

    def _chosen_programs(self, dataset: str, program: str | None, exactly: Sequence[tuple[str, str]] | None) -> dict[int, str]:
        """Program id → member."""
        query = (
            sa.select(programs.c.id, programs.c.member, programs.c.fingerprint, sa.func.max(draws.c.id))
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
        chosen: dict[int, str] = {}
        named = program in (None, "latest")
        for member, candidates in by_member.items():
            matching = [row for row in candidates if program in (None, "latest") or row.fingerprint.startswith(str(program))]
            if not matching and len(candidates) == 1:
                matching = candidates  # nothing to choose between
            named |= any(program is not None and row.fingerprint.startswith(program) for row in candidates)
            if program == "latest":
                matching = [max(candidates, key=lambda row: row[3])]
            if len(matching) > 1:
                told = ", ".join(row.fingerprint[:12] for row in matching)
                raise BankError(
                    f"The bank {self.name} holds draws of {member!r} by {len(matching)} programs ({told}), which never mix: choose "
                    "one by the start of its fingerprint, or 'latest'."
                )
            chosen.update({row.id: member for row in matching})
        if not named and by_member:
            raise BankError(f"The bank {self.name} has no program {program!r}.")
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


def _arrays(table: Any, told: Sequence[Any], chosen: Mapping[int, str], source: str) -> Record:
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
