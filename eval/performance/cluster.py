"""A collection on Ray workers over one in one process: both ask a 200 ms server, and record in
PostgreSQL. Then what the database takes, which all workers share.

Needs the `ray` extra, and a server in DSPY_MUX_TEST_DATABASE_URL. All runs on this machine: what
workers gain ends where its cores do.
"""

from __future__ import annotations

import itertools
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import dspy
import sqlalchemy as sa

from dspy_mux import SampleBank, SLMMux
from dspy_mux.bank.claims import Unit
from dspy_mux.bank.collect import collect
from dspy_mux.bank.question_rows import QuestionRow
from dspy_mux.bank.writer import RecordedDraw, Writer
from dspy_mux.cluster import RayCluster
from dspy_mux.sampling.interrupt import Interrupt

from .figures import Figure
from .server import model_server

#: Where banks are kept, as for the tests.
SERVER = "DSPY_MUX_TEST_DATABASE_URL"
QUESTIONS, MEMBERS, K = 2_000, 3, 5
LATENCY, AT_ONCE = 0.2, 256
WORKERS = (1, 2, 4)
#: Draws that a transaction records, and seconds of writing such ones.
BATCHES, WRITING_S = (1, 16, 256), 4.0


def figures(questions: int = QUESTIONS) -> Iterator[Figure]:
    import ray

    server = os.environ.get(SERVER)
    if server is None:
        raise SystemExit(f"The cluster's benchmark needs a PostgreSQL server: set {SERVER}.")
    cluster = {"num_cpus": max(WORKERS), "object_store_memory": 80 * 2**20}
    ray.init("local", **cluster, include_dashboard=False, log_to_driver=False)
    try:
        with model_server(LATENCY) as address:
            yield from _compared(address, server, questions)
    finally:
        ray.shutdown()
    for batch in BATCHES:
        yield Figure.of(
            f"cluster: draws recorded a second, {batch} in a transaction",
            [_recorded(server, batch) for _ in range(3)],
            "/s",
        )


def _compared(address: str, server: str, questions: int) -> Iterator[Figure]:
    examples = [
        dspy.Example(question=f"What is {n}?", answer=42).with_inputs("question")
        for n in range(questions)
    ]
    settings = {"api_base": address, "api_key": "none", "engine": "lm15", "cache": False}
    lms = [dspy.LM(f"openai/{at}", **settings) for at in range(MEMBERS)]
    mux = SLMMux(dspy.Predict("question -> answer: int"), lms, k=K)
    alone = _collected(mux, examples, server, None)
    title = "cluster: draws a second"
    yield Figure.of(f"{title}, one process", [alone[0]], "/s")
    for workers in WORKERS:
        rate, commits = _collected(mux, examples, server, RayCluster(workers=workers))
        name = f"{workers} worker{'s' * (workers > 1)}"
        yield Figure.of(f"{title}, {name} over one process", [rate / alone[0]])
        yield Figure.of(f"cluster: transactions for a draw, {name}", [commits], "")
    yield Figure.of("cluster: transactions for a draw, one process", [alone[1]], "")


def _collected(
    mux: SLMMux, examples: list[dspy.Example], server: str, cluster: RayCluster | None
) -> tuple[float, float]:
    """Return draws a second, the start of workers included, and transactions for each draw."""
    with _schema(server) as url:
        bank = SampleBank(url)
        before = _commits(server)
        done = collect(mux, examples, _right, bank, num_threads=AT_ONCE, cluster=cluster)
        if done.drawn != len(examples) * MEMBERS * K:
            raise RuntimeError(f"{done.drawn} draws were made: {done}")
        bank.close()
        return done.drawn / done.seconds, (_commits(server) - before) / done.drawn


def _recorded(server: str, batch: int) -> float:
    """Return how many draws a second PostgreSQL takes, a transaction after the other."""
    mux = SLMMux(dspy.Predict("question -> answer: int"), [dspy.LM("openai/a")], k=K)
    with _schema(server) as url:
        bank = SampleBank(url)
        [program] = bank.add_programs([("a", "f" * 64, {"temperature": 0.3})])
        rows: list[QuestionRow] = [(f"key{at}", f"q{at}", {}) for at in range(100_000 // K)]
        asked = itertools.cycle(bank.add_questions("d", rows))
        writer = Writer(bank, mux, "benchmark", Interrupt(), lambda units: None)
        written, began = 0, time.perf_counter()
        while time.perf_counter() - began < WRITING_S:
            units = [(next(asked), program) for _ in range(-(-batch // K))]
            draws = [draw for unit in units for draw in _draws(mux, unit)][:batch]
            for draw in draws:
                writer.put(draw)
            while writer.unwritten:
                time.sleep(0.0002)
            written += batch
        taken = time.perf_counter() - began
        writer.close()
        bank.close()
        return written / taken


def _draws(mux: SLMMux, unit: Unit) -> list[RecordedDraw]:
    """Return the draws of a unit, as if they had been made."""
    draws = mux.draws(0, range(K), {"question": "?"}, RecordedDraw, evidence=True)
    for draw in draws:
        draw.unit, draw.answer, draw.score = unit, 42, 1.0
        draw.prediction = dspy.Prediction(reasoning="Because.", answer=42)
    return draws


def _right(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
    return bool(prediction.answer == example.answer)


def _engine(server: str) -> sa.Engine:
    url = sa.make_url(server).set(drivername="postgresql+psycopg")
    return sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")


@contextmanager
def _schema(server: str) -> Iterator[str]:
    """Yield the URL of a bank of its own."""
    name, engine = f"mux_cluster_{uuid.uuid4().hex[:12]}", _engine(server)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    try:
        own = engine.url.update_query_dict({"options": f"-csearch_path={name}"})
        yield own.render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")


def _commits(server: str) -> int:
    """Return how many transactions the database has committed, but for what others do there."""
    query = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    with _engine(server).connect() as connection:
        connection.exec_driver_sql("SELECT pg_stat_clear_snapshot()")
        return int(connection.exec_driver_sql(query).scalar_one())
