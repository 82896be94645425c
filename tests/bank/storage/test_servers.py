"""Banks by URL: which databases, and what a server's failure says; never a password."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from dspy_mux import ConfigurationError, DataError, MissingExtra, MuxError, SampleBank, StorageError
from dspy_mux.bank.answers import Answers
from dspy_mux.bank.patience import PAUSES_S
from dspy_mux.bank.storage.schema import metadata

from ...support import kill
from ...support.databases import SERVER, a_place
from ...support.fill import fill, some_questions

needs_server = pytest.mark.skipif(
    SERVER is None, reason="DSPY_MUX_TEST_DATABASE_URL names no PostgreSQL server"
)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@127.0.0.1:1/db",
        "postgresql+nodriver://user:hunter2@127.0.0.1:1/db",
        "nodatabase://user:hunter2@127.0.0.1/db",
        "mysql://user:hunter2@127.0.0.1/db",
        "postgresql://user:hunter2@127.0.0.1:port/db",
        "postgre sql://user:hunter2@127.0.0.1/db",
        "postgresql://127.0.0.1:1/db?user=user&password=hunter2",
        "postgresql://127.0.0.1:1/db?user=user&passfile=hunter2&sslpassword=hunter2",
        "postgresql://127.0.0.1:1/db?nonsense=1&password=hunter2",
    ],
)
def test_a_password_is_never_shown(url):
    told = []
    try:
        bank = SampleBank(url)
        told += [bank.name, repr(bank)]
        bank.record()
    except MuxError as error:
        told.append(str(error))
    assert told
    assert "hunter2" not in "".join(told)


@pytest.mark.parametrize(
    "url", ["mysql://u@127.0.0.1/db", "sqlite://", "sqlite:///:memory:", "nodatabase://h/db"]
)
def test_what_can_keep_no_bank_is_refused_at_once(url):
    with pytest.raises(
        ConfigurationError, match="A bank can be an SQLite file or a PostgreSQL database, not "
    ):
        SampleBank(url)


def test_a_missing_driver_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(
        MissingExtra,
        match=r"needs psycopg, which is not installed: pip install 'dspy-mux\[postgres\]'",
    ):
        SampleBank("postgresql://u@127.0.0.1:1/db").info()


def packet(kind, content):
    return kind + (len(content) + 4).to_bytes(4, "big") + content


@contextmanager
def a_server_that_says(code, message):
    """A PostgreSQL server that ends every connection with an error, or never answers."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_.append(connection)
            while message is not None:
                asked = connection.recv(4096)
                if asked[4:8] in ((80877103).to_bytes(4, "big"), (80877104).to_bytes(4, "big")):
                    connection.sendall(b"N")  # it offers no encryption
                    continue
                fields = {b"S": "FATAL", b"V": "FATAL", b"C": code, b"M": message}
                content = (
                    b"".join(key + value.encode() + b"\0" for key, value in fields.items()) + b"\0"
                )
                connection.sendall(packet(b"E", content))
                connection.close()
                break

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"postgresql://ada:hunter2@127.0.0.1:{listener.getsockname()[1]}/draws"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in open_:
        connection.close()


SAID = {
    "a wrong password": (
        "28P01",
        'password authentication failed for user "ada"',
        "correct the user and password in the URL",
    ),
    "an unknown user": (
        "28000",
        'role "ada" does not exist',
        "correct the user and password in the URL",
    ),
    "a host that is not let in": ("28000", 'no pg_hba.conf entry for host "h"', "refuses the user"),
    "no such database": (
        "3D000",
        'database "draws" does not exist',
        "create it, as with `createdb`",
    ),
    "no connection free": ("53300", "sorry, too many clients already", "too many clients already"),
    "a server that starts": (
        "57P03",
        "the database system is starting up",
        "start it, or correct the URL, and go on",
    ),
    "a server that stops": (
        "57P03",
        "the database system is shutting down",
        "start it, or correct the URL, and go on",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_what_a_server_refuses_with_is_told_with_what_to_do(case):
    code, message, told = SAID[case]
    with a_server_that_says(code, message) as url:
        for use in (SampleBank(url).info, lambda url=url: some_questions(SampleBank(url))):
            with pytest.raises(StorageError) as caught:
                use()
            assert told in str(caught.value)
            assert message in str(caught.value)
            assert "@127.0.0.1" in str(caught.value)
            assert "hunter2" not in str(caught.value)
            assert "\n" not in str(caught.value)


def test_a_server_that_is_out_of_reach_is_told_with_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        StorageError,
        match=r"out of reach \(.*refused.*\): it keeps what is recorded; start it, or correct",
    ):
        SampleBank(f"postgresql://u@127.0.0.1:{port}/db").record()


def test_a_server_that_never_answers_is_given_up():
    with (
        a_server_that_says("", None) as url,
        pytest.raises(StorageError, match="is out of reach .*timeout"),
    ):
        SampleBank(f"{url}?connect_timeout=2").record()


# --- on a real server


@pytest.fixture
def url(tmp_path):
    with a_place("postgresql", tmp_path) as place:
        yield place


def admin(url, *statements):
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        return [connection.exec_driver_sql(statement) for statement in statements]


@needs_server
@pytest.mark.parametrize(
    "scheme", ["postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"]
)
def test_whatever_the_url_calls_the_driver_it_is_psycopg(url, scheme):
    bank = SampleBank(scheme + url[url.index(":") :])
    assert bank.name.startswith("postgresql://")
    fill(bank)
    assert len(bank.record().questions) == 3
    bank.close()


@needs_server
def test_reading_makes_no_table(url):
    bank = SampleBank(url)
    assert not bank.exists()
    for read in (bank.info, bank.record, lambda: list(bank.rows())):
        with pytest.raises(
            DataError, match="holds no sample bank yet: collect or import draws first"
        ):
            read()
    with bank.database.reading(check=False) as connection:
        assert sa.inspect(connection).get_table_names() == []
    bank.close()


@needs_server
def test_other_tables_of_the_database_are_left_alone(url):
    admin(url, "CREATE TABLE invoices (id integer)")
    bank = SampleBank(url)
    fill(bank)
    with bank.database.reading() as connection:
        assert set(sa.inspect(connection).get_table_names()) == {"invoices", *metadata.tables}
    bank.close()


@needs_server
def test_a_database_that_is_not_there_is_told(url):
    elsewhere = sa.make_url(url).set(database="mux_nowhere").render_as_string(hide_password=False)
    with pytest.raises(StorageError, match='database "mux_nowhere" does not exist'):
        SampleBank(elsewhere).info()


@needs_server
def test_a_server_that_takes_no_writes_is_read(url):
    bank = SampleBank(url)
    fill(bank)
    bank.close()
    options = sa.make_url(url).query["options"]
    standby = sa.make_url(url).update_query_dict(
        {"options": f"{options} -cdefault_transaction_read_only=on"}
    )
    bank = SampleBank(standby.render_as_string(hide_password=False))
    assert len(bank.record().questions) == 3
    with pytest.raises(StorageError, match="takes no writes .*: name the primary server"):
        some_questions(bank, 9)
    bank.close()


@needs_server
def test_a_user_who_may_not_write_can_read(url):
    bank = SampleBank(url)
    fill(bank)
    bank.close()
    schema = sa.make_url(url).query["options"].partition("=")[2]
    admin(url, f"CREATE ROLE {schema}_r LOGIN", f"GRANT USAGE ON SCHEMA {schema} TO {schema}_r")
    admin(url, f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {schema}_r")
    try:
        bank = SampleBank(
            sa.make_url(url).set(username=f"{schema}_r").render_as_string(hide_password=False)
        )
        assert len(bank.record().questions) == 3
        with pytest.raises(StorageError, match="lacks a permission .*: grant it"):
            some_questions(bank, 9)
        bank.close()
    finally:
        admin(url, f"DROP OWNED BY {schema}_r", f"DROP ROLE {schema}_r")


@needs_server
def test_a_writer_that_never_ends_is_waited_for_no_longer_than_a_minute(url, monkeypatch):
    monkeypatch.setattr("dspy_mux.bank.storage.sqlite.PATIENCE_S", 0.2)
    one, other = SampleBank(url), SampleBank(url)
    fill(one)
    with (
        one.writing(),
        pytest.raises(StorageError, match="Another process has been writing to the bank"),
    ):
        some_questions(other, 9)
    assert len(some_questions(other, 9)) == 9
    one.close()
    other.close()


@needs_server
def test_a_server_that_drops_all_connections_costs_a_collection_no_draw(url, monkeypatch):
    """As when it restarts: what was being written then is written again."""
    monkeypatch.setattr("dspy_mux.bank.patience.PAUSES_S", (0.05,) * len(PAUSES_S))
    asked, bank = 0, SampleBank(url)
    latest = Answers.latest

    def and_is_dropped(self, connection, question):
        nonlocal asked
        asked += 1
        if asked <= len(PAUSES_S):
            own = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
            admin(url, f"SELECT pg_terminate_backend({own})")
        return latest(self, connection, question)

    monkeypatch.setattr(Answers, "latest", and_is_dropped)
    mux = kill.a_mux()
    done = kill.collect_all(bank, 10, mux)
    assert asked > len(PAUSES_S)
    assert (done.drawn, done.missing) == (120, 0)
    assert sum(member.lm.engine.calls for member in mux.members) == 120
    assert len(kill.recorded(bank)) == 120
    bank.close()
