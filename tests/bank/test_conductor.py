"""A conductor whose database is gone: it goes on, rather than wait for it."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace

import pytest

from dspy_mux import BankError, SampleBank
from dspy_mux.bank import conductor
from dspy_mux.bank.session import Tallies
from dspy_mux.sampling.interrupt import Interrupt

pytest.importorskip("psycopg")


class Conductor(conductor.Conductor):
    def __exit__(self, *_):
        pass

    def _listen(self, living):
        pass

    def _conduct(self):
        pass


@pytest.fixture
def silent():
    """A bank on a server that accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield SampleBank(f"postgresql://me@127.0.0.1:{port}/db?connect_timeout=3600")


def test_a_dead_process_is_buried_where_the_database_says_nothing(silent, monkeypatch):
    monkeypatch.setattr(conductor, "RELEASE_S", 0.2)
    session = SimpleNamespace(bank=silent)
    conducts = Conductor(session, units=None, interrupt=Interrupt())
    process = SimpleNamespace(
        unwritten={(1, 2, 0): (False, False)}, tallies=Tallies(drawn=3), owner="me"
    )
    caught: list[BankError] = []

    def bury():
        try:
            conducts._count_written(process)
        except BankError as error:
            caught.append(error)
        conducts._release(process)

    buries = threading.Thread(target=bury, daemon=True)
    buries.start()
    buries.join(60)
    assert not buries.is_alive()
    assert "took longer than 0.2 seconds to reply: look whether its server" in str(caught[0])
    assert process.tallies == Tallies(drawn=3)
