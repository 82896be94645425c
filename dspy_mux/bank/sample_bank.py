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
from typing import Any

import sqlalchemy as sa

from ..errors import DataError
from ..progress import counted
from .answers import Answers
from .claims import Claims
from .listing import FAILED, ProgramInfo, list_draws, list_programs
from .question_rows import QuestionRow, put_questions
from .record import Record
from .selection import (
    Described,
    described,
    recorded_temperatures,
    select_dataset,
    select_programs,
)
from .storage.database import Database
from .storage.faults import check_ids, check_owners
from .storage.schema import draws, programs, questions, storable
from .table import read_table, record_from_table
from .temperatures import Temperature, check_temperature

_AT_ONCE = 400


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
        with self.database.reading() as connection:
            check_owners(connection)
            return list_programs(connection, self.database.version(connection))

    def record(
        self,
        *,
        dataset: str | None = None,
        program: str | None = None,
        programs: Sequence[tuple[str, str]] | None = None,
        scored_by: Mapping[str, str] | None = None,
        temperature: Temperature | None = None,
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
            temperature: the draws of this temperature alone, or "each" for a member of each
                temperature ("small@0", "small@0.5").

        Raises:
            ConfigurationError: the dataset, program or temperature is unknown, or must be chosen.
            DataError: there are no draws.
        """
        check_temperature(temperature)
        dataset = select_dataset(self.name, self.datasets(), dataset)
        with self.database.reading() as connection:
            check_owners(connection)
            chosen = select_programs(connection, self.name, dataset, program, programs, temperature)
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
            table = read_table(connection, where, self.database.version(connection))
            ours = {row.id: (scored_by or {}).get(row.fingerprint) for row in asked}
            wanted = {question: by for question, by in ours.items() if by is not None}
            others = self.answers.scores_by(connection, list(chosen), wanted) if wanted else {}
            for at, place in enumerate(map(tuple, table[:, :3].tolist()) if others else ()):
                table[at, 4] = others.get(place, table[at, 4])
            if not len(table):
                raise DataError(f"The bank {self.name} holds no draws yet: collect some first.")
            return record_from_table(table, asked, chosen, self.name)

    def temperatures(self, *, dataset: str | None = None) -> dict[str, list[float | None]]:
        """Return member → the temperatures of its draws, from the lowest up; None for unknown.

        Args:
            dataset: needed where the bank holds several.

        Raises:
            ConfigurationError: the dataset is unknown, or must be chosen.
            DataError: there are no draws.
        """
        dataset = select_dataset(self.name, self.datasets(), dataset)
        with self.database.reading() as connection:
            check_owners(connection)
            return recorded_temperatures(connection, dataset)

    def programs(
        self,
        *,
        dataset: str | None = None,
        program: str | None = None,
        temperature: Temperature | None = None,
    ) -> dict[str, Described]:
        """Return member → the program whose draws `record` reads, as it was recorded.

        Args:
            dataset, program, temperature: as in `record`, which raises the same.
        """
        dataset = select_dataset(self.name, self.datasets(), dataset)
        with self.database.reading() as connection:
            check_owners(connection)
            chosen = select_programs(connection, self.name, dataset, program, None, temperature)
            return described(connection, chosen)

    def rows(self, *, dataset: str | None = None) -> Generator[dict[str, Any], None, None]:
        """Yield every draw as a row of a JSONL bank, in the order recorded."""
        if dataset is not None:
            dataset = select_dataset(self.name, self.datasets(), dataset)
        with self.database.reading() as connection:
            check_owners(connection)
            found = list_draws(connection, dataset, self.database.version(connection))
            yield from counted(found, "draws")

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
        return self._failures(draws.c.cause, program_ids, question_ids)

    def failure_times(
        self, program_ids: Sequence[int], question_ids: Sequence[int]
    ) -> dict[tuple[int, int, int], float]:
        """Return (program, question, draw) → when it was recorded, of the draws that failed."""
        return self._failures(draws.c.created, program_ids, question_ids)

    def _failures(
        self, column: sa.Column[Any], program_ids: Sequence[int], question_ids: Sequence[int]
    ) -> dict[tuple[int, int, int], Any]:
        wanted = set(question_ids)
        query = sa.select(draws.c.program, draws.c.question, draws.c.draw, column)
        query = query.where(draws.c.program.in_(list(program_ids)) & FAILED)
        with self.database.reading() as connection:
            return {(p, q, d): value for p, q, d, value in connection.execute(query) if q in wanted}

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
            connection.execute(sa.delete(draws).where(this & FAILED))

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
