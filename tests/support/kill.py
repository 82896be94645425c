"""Collections that do not end of their own accord, and what must be true of their bank all the
same."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dspy
import sqlalchemy as sa

from dspy_mux import Member, SampleBank, SLMMux
from dspy_mux.bank import claims
from dspy_mux.bank.collect import Collected, collect
from dspy_mux.bank.storage.schema import draws

from .scripted import ScriptedEngine, asked

MEMBERS, K, AT_ONCE = "abc", 4, 4
#: One server that has imported everything forks all processes of a test.
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__, "psycopg", "sqlalchemy.dialects.postgresql.psycopg"])


class NotingBank(SampleBank):
    """A bank that notes every draw in a file once its transaction is committed."""

    def __init__(self, url: str, notes: Path):
        super().__init__(url)
        self._notes, self._added = notes, dict[sa.Connection, list]()

    @contextmanager
    def writing(self, wanted: Callable[[], bool] = lambda: True) -> Iterator[sa.Connection]:
        with super().writing(wanted) as connection:
            self._added[connection] = []
            yield connection
        # Where a kill cuts a note off, what follows begins on a new line.
        lines = "".join(
            f"\n{row['question']} {row['program']} {row['draw']} {row['answer']}"
            for row in self._added.pop(connection)
        )
        file = os.open(self._notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, lines.encode())
        os.close(file)

    def add(self, connection: sa.Connection, rows: Sequence) -> None:
        super().add(connection, rows)
        self._added[connection] += rows


def a_mux(latency: float = 0.002) -> SLMMux:
    """Members that answer the same question and draw in the same way, whoever asks."""

    def member(name):
        def reply(prompt, seed):
            return {
                "answer": f"{asked(prompt)} "
                + random.Random(f"{name} {asked(prompt)} {seed}").choice("xyz")
            }

        return Member(dspy.LM(f"scripted/{name}", engine=ScriptedEngine(reply, latency)), name=name)

    return SLMMux(
        dspy.Predict("question -> answer"), [member(name) for name in MEMBERS], k=K, temperature=0.5
    )


def collect_all(
    bank: SampleBank, questions: int, mux: SLMMux | None = None, num_threads: int = AT_ONCE
) -> Collected:
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    examples = [
        dspy.Example(question=f"q{n}", answer=f"q{n} x").with_inputs("question")
        for n in range(questions)
    ]
    return collect(
        mux or a_mux(),
        examples,
        lambda example, pred, trace=None: pred.answer == example.answer,
        bank,
        num_threads=num_threads,
    )


def collect_and_note(url: str, notes: Path, questions: int, beat: float = claims.BEAT_S) -> None:
    """What a process does until it is killed."""
    claims.BEAT_S = beat
    collect_all(NotingBank(url, notes), questions)


def collect_and_count(url: str, calls: Path, questions: int, beat: float = claims.BEAT_S) -> None:
    """Collect, and add a byte to a file for each call."""
    claims.BEAT_S = beat
    mux, file = a_mux(), os.open(calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for member in mux.members:
        reply = member.lm.engine.reply
        member.lm.engine.reply = lambda *asked, reply=reply: os.write(file, b"x") and reply(*asked)
    collect_all(SampleBank(url), questions, mux)


def recorded(bank: SampleBank) -> dict[tuple[int, int, int], tuple[str | None, int | None]]:
    """(question, program, draw) → (answer, class) of all draws, each there once, and answers of a
    class the same."""
    with bank.database.reading() as connection:
        rows = connection.execute(
            sa.select(
                draws.c.question,
                draws.c.program,
                draws.c.draw,
                draws.c.answer,
                draws.c.answer_class,
            )
        ).all()
    found = {(row[0], row[1], row[2]): (row[3], row[4]) for row in rows}
    assert len(found) == len(rows)
    answers = {
        (question, its_class): answer for (question, _, _), (answer, its_class) in found.items()
    }
    assert all(answers[key[0], its_class] == answer for key, (answer, its_class) in found.items())
    assert len(set(answers.items())) == len(
        {(question, answer) for (question, _), answer in answers.items()}
    )
    return found


def noted(notes: Path) -> dict[tuple[int, int, int], str]:
    lines = notes.read_text().splitlines() if notes.exists() else []
    whole = [
        match.groups()
        for line in lines
        if (match := re.fullmatch(r'(\d+) (\d+) (\d+) (".*")', line))
    ]
    return {
        (int(question), int(program), int(draw)): answer
        for question, program, draw, answer in whole
    }
