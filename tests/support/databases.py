"""Where tests keep a bank: an SQLite file, and a schema of its own on the PostgreSQL server of
DSPY_MUX_TEST_DATABASE_URL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from dspy_mux import SampleBank
from dspy_mux.bank.storage.database import _LOCK, Database

SERVER = os.environ.get("DSPY_MUX_TEST_DATABASE_URL")
BACKENDS = ["sqlite", "postgresql"] if SERVER else ["sqlite"]


def pytest_report_header() -> str:
    return "banks: " + (
        "SQLite and PostgreSQL"
        if SERVER
        else "SQLite alone: DSPY_MUX_TEST_DATABASE_URL names no PostgreSQL server"
    )


@contextmanager
def a_place(backend: str, folder: Path) -> Iterator[str]:
    """A path or URL where nothing is yet."""
    if backend == "sqlite":
        yield str(folder / "bank.sqlite")
        return
    name = f"mux_{uuid.uuid4().hex[:16]}"
    url = sa.make_url(str(SERVER)).set(drivername="postgresql+psycopg")
    server = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    try:
        yield url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(
            hide_password=False
        )
    finally:
        with server.connect() as connection:
            connection.exec_driver_sql("SET lock_timeout = '20s'")
            connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")


def is_being_written(url: str) -> bool:
    """Whether a write transaction is open on a bank."""
    database = Database(url)
    engine = sa.create_engine(database.url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        if database.path is None:
            lock = _LOCK[1].replace("pg_advisory_xact_lock", "pg_try_advisory_xact_lock")
            return not connection.exec_driver_sql(lock).scalar()
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa.exc.OperationalError:
            return True
        return False


@pytest.fixture(params=BACKENDS)
def bank_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with a_place(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def bank(bank_url: str) -> Iterator[SampleBank]:
    made = SampleBank(bank_url)
    yield made
    made.close()
