"""A million draws in and out of a bank; a collection against what its server allows."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dspy
import sqlalchemy as sa

from dspy_mux import SampleBank, SLMMux
from dspy_mux.bank.collect import collect
from dspy_mux.bank.import_export import import_file

from .figures import Figure, peak_memory
from .server import model_server

QUESTIONS, MEMBERS, DRAWS = 10_000, 10, 10
#: Questions of the banks whose size is measured, of as many draws each: 200,000 in all.
SIZED = 2_000
#: A server whose banks are measured too, as for the tests.
SERVER = "DSPY_MUX_TEST_DATABASE_URL"
LATENCY, AT_ONCE = 0.2, 64


def figures() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        _write(rows)
        for what, unit, target in (("write", "rows/s", "≥ 20,000"), ("read", "s", "≤ 10")):
            # In a process of its own: its peak of memory is its own.
            command = [sys.executable, "-m", __name__, what, folder]
            value, peak = map(
                float,
                subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(),
            )
            title = (
                "a million JSONL rows imported"
                if what == "write"
                else "a million draws read for replay"
            )
            yield Figure.of(f"bank: {title}", [value], unit, target)
            yield Figure.of(f"bank: {title}, peak memory", [peak], "MB", "≤ 1,000")
    yield from _sizes()
    yield from _collections()


def _sizes() -> Iterator[Figure]:
    """Measure what a million draws take in a bank, with evidence and without."""
    servers = {
        "SQLite": None,
        **({"PostgreSQL": os.environ[SERVER]} if SERVER in os.environ else {}),
    }
    for name, server in servers.items():
        for evidence in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                rows = Path(folder) / "rows.jsonl"
                _write(rows, SIZED, evidence=evidence)
                sized = _server_size(rows, server) if server else _file_size(rows)
            kind = "with evidence" if evidence else "without evidence"
            title = f"bank: a million draws {kind}, {name}"
            megabytes = sized / 1e6 * QUESTIONS / SIZED
            yield Figure.of(title, [megabytes], "MB")


def _file_size(rows: Path) -> int:
    bank = SampleBank(rows.with_name("bank.sqlite"))
    import_file(bank, rows)
    bank.close()  # writes the log back into the file
    return rows.with_name("bank.sqlite").stat().st_size


def _server_size(rows: Path, server: str) -> int:
    schema = f"mux_size_{os.getpid()}"
    url = sa.make_url(server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {schema}"))
        try:
            own = url.update_query_dict({"options": f"-csearch_path={schema}"})
            bank = SampleBank(own.render_as_string(hide_password=False))
            import_file(bank, rows)
            bank.close()
            size = sa.text(
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = c.relnamespace "
                f"WHERE n.nspname = '{schema}' AND c.relkind = 'r'"
            )
            return int(connection.execute(size).scalar_one())
        finally:
            connection.execute(sa.text(f"DROP SCHEMA {schema} CASCADE"))
            engine.dispose()


def _evidence(rng: random.Random) -> dict[str, object]:
    """Return the evidence of a short answer, as servers give it."""
    tokens, answer = rng.randint(1, 4), -rng.expovariate(1.0)
    text = answer - rng.expovariate(0.2)
    return {
        "answer_logprob": answer,
        "answer_tokens": tokens,
        "text_logprob": text,
        "completion_tokens": tokens + 12,
        "lowest_logprob": text * rng.uniform(0.3, 1.0),
        "temperature": 0.5,
        "finish_reason": "stop",
    }


def _write(path: Path, questions: int = QUESTIONS, *, evidence: bool = False) -> None:
    rng = random.Random(0)
    with path.open("w") as file:
        for question in range(questions):
            for member in range(MEMBERS):
                for draw in range(DRAWS):
                    row = {
                        "dataset": "d",
                        "question_id": f"q{question}",
                        "model": f"m{member}",
                        "draw": draw,
                    }
                    file.write(
                        json.dumps(
                            {
                                **row,
                                "answer": str(rng.randint(0, 5)),
                                "correct": rng.random() < 0.5,
                                **(_evidence(rng) if evidence else {}),
                            }
                        )
                        + "\n"
                    )


def _collections() -> Iterator[Figure]:
    """Collect 200 questions × 3 × 5 draws from a 200 ms server: ideal time over time taken.

    At most 64 draws are in flight; or the server works at 64 at once and more may wait there, so
    that it has the next while the last are read.
    """
    examples = [
        dspy.Example(question=f"What is {n}?", answer=42).with_inputs("question")
        for n in range(200)
    ]
    why = (
        "at 64 in flight the ideal leaves 3.1 ms per draw, about what one call takes of one "
        "interpreter (see latency), and a draw stays in flight until it is read"
    )
    ways = {  # slots of the server, draws in flight, processes: the target
        (0, AT_ONCE, 1): "≥ 0.8",
        (0, AT_ONCE, 2): "≥ 0.95",
        (AT_ONCE, 2 * AT_ONCE, 1): "",
        (AT_ONCE, 2 * AT_ONCE, 2): "≥ 0.95",
    }
    runs: dict[tuple[int, int, int], list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(3):
        for way in ways:  # by turns: the machine may be busy
            runs[way].append(_collection(examples, *way))
    for (slots, at_once, processes), target in ways.items():
        kind = f"{at_once} in flight" + (f", a server of {slots} slots" if slots else "")
        name = f"{processes} process{'es' * (processes > 1)}, {kind}"
        ratios, spent = zip(*runs[slots, at_once, processes], strict=True)
        title = f"bank: throughput of a collection over the server's, {name}"
        yield Figure.of(title, list(ratios), target=target, why=why)
        yield Figure.of(f"bank: CPU per draw of a collection, {name}", list(spent), "ms")


def _collection(
    examples: list[dspy.Example], slots: int, at_once: int, processes: int
) -> tuple[float, float]:
    """Return a collection's throughput over the server's, and its CPU a draw in ms."""
    with model_server(LATENCY, slots=slots) as address, tempfile.TemporaryDirectory() as folder:
        settings = {"api_base": address, "api_key": "none", "engine": "lm15", "cache": False}
        mux = SLMMux(
            dspy.Predict("question -> answer: int"),
            [dspy.LM(f"openai/{at}", **settings) for at in range(3)],
            k=5,
        )
        mux(question="warm up")
        bank = SampleBank(Path(folder) / "bank.sqlite")
        began, spent = time.perf_counter(), _processor_seconds()
        done = collect(mux, examples, _right, bank, num_threads=at_once, processes=processes)
        taken, spent = time.perf_counter() - began, _processor_seconds() - spent
        bank.close()
        return done.drawn / AT_ONCE * LATENCY / taken, 1e3 * spent / done.drawn


def _processor_seconds() -> float:
    """Return what this process and the children that have ended took of the processors."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _right(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    return bool(prediction.answer == example.answer)


def _measure(what: str, folder: Path) -> None:
    bank = SampleBank(folder / "bank.sqlite")
    began = time.perf_counter()
    if what == "write":
        value = import_file(bank, folder / "rows.jsonl").added / (time.perf_counter() - began)
    else:
        bank.record().of(None, None)
        value = time.perf_counter() - began
    print(value, peak_memory())


if __name__ == "__main__":
    _measure(sys.argv[1], Path(sys.argv[2]))
