"""SampleBank: recorded draws in a database, one row per draw.

The database is an SQLite file (a path) or PostgreSQL (a URL). A draw is written once and stays,
except that its score is set when it is missing or by another metric or gold answer. Reading never
changes the bank.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from typing import Any, TypedDict, cast

import numpy as np
import sqlalchemy as sa

from ..answers.reply import CUT_OFF
from ..errors import DataError
from ..sampling.causes import NO_FIELD, NO_PREDICTION, RESPONSE_CAUSES
from .answers import Answers
from .claims import Claims
from .question_rows import QuestionRow, put_questions
from .record import Record
from .rows import lay_out
from .selection import select_dataset, select_programs
from .storage.database import Database
from .storage.faults import check_draw, check_ids, check_owners
from .storage.schema import draws, programs, questions, storable
from .table import record_from_table

_AT_ONCE = 400
#: Stands for NULL while draws are read: no class, score, count or price is as low.
_NULL = -1e300
#: Columns that banks of all versions have.
_OLDEST = [column for column in draws.c if column is not draws.c.scored_by]
#: Draws that failed before a response came (`causes.is_error`).
_FAILED = (
    draws.c.outputs.is_(None)
    & draws.c.answer.is_(None)
    & draws.c.cause.is_not(None)
    & draws.c.cause.not_in(RESPONSE_CAUSES)
    & ~draws.c.cause.startswith(NO_FIELD)
    & ~draws.c.cause.startswith(NO_PREDICTION)
)


class ProgramInfo(TypedDict):
    """What a bank holds of one program on one dataset.

    `errors` are the abstentions that a retry may repair: draws that failed before a response came.
    `cut_off` are those whose response ended at `max_tokens` before it had stated its answer.
    `latest` is when the last draw was recorded, in seconds since 1970.
    """

    dataset: str
    member: str
    program: str
    model: str | None
    questions: int
    draws: int
    abstentions: int
    errors: int
    cut_off: int
    calls: int | None
    tokens: int | None
    cost: float | None
    latest: float


class SampleBank:
    """A bank of recorded draws.

    >>> import tempfile
    >>> from dspy_mux import SampleBank
    >>> bank = SampleBank(tempfile.mkdtemp() + "/bank.sqlite")  # or "postgresql://…"
    >>> bank.exists()
    False

    `collect` fills it, or `import_file`; `bank.record(dataset="gsm8k")` then returns the draws as
    arrays.

    Args:
        url: the path of an SQLite file, which the first write makes, or the URL of a PostgreSQL
            database.

    Attributes:
        name: the path, or the URL without its password.
        path: the path; None for a server.
        database: its connections.
        claims: which process draws what.
        answers: the recorded answers and their scores.

    Raises:
        ConfigurationError: `url` is neither a path nor such a URL.
        DataError: on use: the file is not a bank, is damaged, or of a newer version.
        StorageError: on use: the database is read-only, full, locked, or cannot be reached.
    """

    def __init__(self, url: str | os.PathLike[str]):
        self.database = Database(url)
        self.path, self.name = self.database.path, self.database.name
        self.claims, self.answers = Claims(self.database), Answers(self.database)

    def __repr__(self) -> str:
        return f"SampleBank({self.name!r})"

    # --- reading

    def exists(self) -> bool:
        """Return whether something was ever written to it."""
        return self.database.has_tables()

    def datasets(self) -> dict[str, int]:
        """Return dataset → number of questions."""
        query = sa.select(questions.c.dataset, sa.func.count()).group_by(questions.c.dataset)
        with self.database.reading() as connection:
            # Joined, so that a name that is not text is found here.
            return dict(
                sorted(("".join([name]), count) for name, count in connection.execute(query))
            )

    def info(self) -> list[ProgramInfo]:
        """Return one entry for each dataset and program."""
        program = (
            programs.c.id,
            programs.c.member,
            programs.c.fingerprint,
            programs.c.description,
        )
        tokens = draws.c.prompt_tokens + draws.c.completion_tokens
        query = (
            sa.select(
                questions.c.dataset,
                programs.c.member,
                programs.c.fingerprint.label("program"),
                programs.c.description.label("model"),
                sa.func.count(sa.distinct(draws.c.question)).label("questions"),
                sa.func.count().label("draws"),
                sa.func.sum(sa.case((draws.c.answer.is_(None), 1), else_=0)).label("abstentions"),
                sa.func.sum(sa.case((_FAILED, 1), else_=0)).label("errors"),
                sa.func.sum(sa.case((draws.c.cause == CUT_OFF, 1), else_=0)).label("cut_off"),
                sa.func.sum(draws.c.calls).label("calls"),
                sa.func.sum(tokens).label("tokens"),
                sa.func.sum(draws.c.cost).label("cost"),
                sa.func.max(draws.c.created).label("latest"),
            )
            .join_from(draws, questions)
            .join(programs)
            .group_by(questions.c.dataset, *program)
            .order_by(questions.c.dataset, programs.c.id)
        )
        with self.database.reading() as connection:
            check_owners(connection)
            found: list[dict[str, Any]] = [
                dict(row) for row in connection.execute(query).mappings()
            ]
            for row in found:
                row["model"] = json.loads(row["model"]).get("model")
                row["latest"] = float(row["latest"])
        return cast("list[ProgramInfo]", found)

    def record(
        self,
        *,
        dataset: str | None = None,
        program: str | None = None,
        programs: Sequence[tuple[str, str]] | None = None,
        scored_by: Mapping[str, str] | None = None,
    ) -> Record:
        """Return the draws as arrays.

        Draws of different programs never mix: where a member was recorded with several, one must
        be chosen.

        Args:
            dataset: needed where the bank holds several.
            program: the start of a fingerprint (several, by comma, where members have programs of
                their own), or "latest" for each member's last program.
            programs: exactly these programs, as (member, fingerprint).
            scored_by: question (its fingerprint) → the fingerprint of a metric and gold answer
                (`fingerprint_score`), whose scores are returned; None for the last scores, by
                whichever metric. NaN where this metric has not scored a draw that another one has.

        Raises:
            ConfigurationError: the dataset or program is unknown, or must be chosen.
            DataError: there are no draws.
        """
        dataset = select_dataset(self.name, self.datasets(), dataset)
        with self.database.reading() as connection:
            check_owners(connection)
            chosen = select_programs(connection, self.name, dataset, program, programs)
        # A number for NULL, so that a million rows run straight into an array within seconds.
        columns = (
            *(draws.c.question, draws.c.program, draws.c.draw),
            *(
                sa.func.coalesce(column, sa.literal(_NULL, sa.Float))
                for column in (
                    draws.c.answer_class,
                    draws.c.score,
                    draws.c.calls,
                    draws.c.prompt_tokens,
                    draws.c.completion_tokens,
                    draws.c.cost,
                )
            ),
        )
        ids = sa.select(questions.c.id).where(questions.c.dataset == dataset)
        where = draws.c.program.in_(list(chosen)) & draws.c.question.in_(ids)
        with self.database.reading() as connection:
            asked = connection.execute(
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
            ours = {row.id: (scored_by or {}).get(row.fingerprint) for row in asked}
            wanted = {question: by for question, by in ours.items() if by is not None}
            others = self.answers.scores_by(connection, list(chosen), wanted) if wanted else {}
            table[table == _NULL] = np.nan
            for at, place in enumerate(map(tuple, table[:, :3].tolist()) if others else ()):
                table[at, 4] = others.get(place, table[at, 4])
            if not len(table):
                raise DataError(f"The bank {self.name} holds no draws yet: collect some first.")
            return record_from_table(table, asked, chosen, self.name)

    def rows(self, *, dataset: str | None = None) -> Generator[dict[str, Any], None, None]:
        """Yield every draw as a row of a JSONL bank, in the order recorded."""
        query = (
            sa.select(
                *_OLDEST,
                questions.c.dataset,
                questions.c.name,
                questions.c.fields,
                questions.c.fingerprint.label("key"),
                programs.c.member,
                programs.c.fingerprint.label("made_by"),
            )
            .join_from(draws, questions)
            .join(programs)
            .order_by(draws.c.id)
        )
        if dataset is not None:
            dataset = select_dataset(self.name, self.datasets(), dataset)
            query = query.where(questions.c.dataset == dataset)
        with self.database.reading() as connection:
            check_owners(connection)
            for row in connection.execution_options(yield_per=5000).execute(query):
                check_draw(row)
                "".join((row.dataset, row.name, row.key, row.member, row.made_by))  # all are text
                own = {
                    "dataset": row.dataset,
                    "question_id": row.name,
                    "question_fingerprint": row.key,
                    "model": row.member,
                    "program": row.made_by,
                    "draw": row.draw,
                    "answer": _exported(row.answer),
                    "answer_class": row.answer_class,
                    "score": row.score,
                    "cause": row.cause,
                    "outputs": None if row.outputs is None else json.loads(row.outputs),
                    "calls": row.calls,
                    "prompt_tokens": row.prompt_tokens,
                    "completion_tokens": row.completion_tokens,
                    "seconds": row.seconds,
                    "cost": row.cost,
                    "created": row.created,
                }
                yield lay_out(json.loads(row.fields), own)

    def drawn(
        self, program_ids: Sequence[int], question_ids: Sequence[int]
    ) -> set[tuple[int, int, int]]:
        """Return (program, question, draw) of all recorded draws."""
        wanted = set(question_ids)
        query = sa.select(draws.c.program, draws.c.question, draws.c.draw).where(
            draws.c.program.in_(list(program_ids))
        )
        if len(wanted) <= _AT_ONCE:
            query = query.where(draws.c.question.in_(wanted))
        with self.database.reading() as connection:
            return {(p, q, d) for p, q, d in connection.execute(query) if q in wanted}

    # --- writing

    def add_questions(self, dataset: str, rows: Sequence[QuestionRow]) -> list[int]:
        """Add questions, or update their fields where they are known; return their ids.

        Args:
            rows: (fingerprint, name, fields) of each.
        """
        with self.writing() as connection:
            return put_questions(self.database, connection, dataset, rows)

    def add_programs(self, rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[int]:
        """Add the programs that are new; return the ids of all.

        Args:
            rows: (member, fingerprint, description) of each.
        """
        values = [
            {"member": m, "fingerprint": f, "description": json.dumps(d, sort_keys=True)}
            for m, f, d in rows
        ]
        with self.writing() as connection:
            self.database.insert(connection, programs, values)
            query = sa.select(programs.c.member, programs.c.fingerprint, programs.c.id)
            found = {(member, key): program for member, key, program in connection.execute(query)}
            ids = [found[storable(member), storable(key)] for member, key, _ in rows]
            check_ids(ids)
        return ids

    def add(self, connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write draws in a transaction of `writing`; draws that are recorded already stay."""
        self.database.insert(connection, draws, rows)

    def failures(
        self, program_ids: Sequence[int], question_ids: Sequence[int]
    ) -> dict[tuple[int, int, int], str]:
        """Return (program, question, draw) → cause of the draws that failed without a response."""
        wanted = set(question_ids)
        query = sa.select(draws.c.program, draws.c.question, draws.c.draw, draws.c.cause)
        query = query.where(draws.c.program.in_(list(program_ids)) & _FAILED)
        with self.database.reading() as connection:
            return {(p, q, d): cause for p, q, d, cause in connection.execute(query) if q in wanted}

    def forget_failures(
        self, connection: sa.Connection, failed: Iterable[tuple[int, int, int]]
    ) -> None:
        """Delete failures, (question, program, draw), in the transaction that replaces them."""
        for question, program, draw in failed:
            this = (
                (draws.c.question == question)
                & (draws.c.program == program)
                & (draws.c.draw == draw)
            )
            connection.execute(sa.delete(draws).where(this & _FAILED))

    def writing(
        self, wanted: Callable[[], bool] = lambda: True
    ) -> AbstractContextManager[sa.Connection]:
        """Return a transaction to write in; it makes the tables where they are missing.

        Args:
            wanted: asked while another writer is waited for; False ends the wait.
        """
        return self.database.writing(wanted)

    def close(self) -> None:
        """Close the connections; they open again on use."""
        self.database.close()


def _exported(answer: str | None) -> Any:
    """Return a recorded answer as rows hold it: null and "" are abstentions there, None is not."""
    if answer is None:
        return ""
    value = json.loads(answer)
    return "None" if value is None else value
