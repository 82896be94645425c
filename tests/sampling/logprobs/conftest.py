"""A server, and no memory of what servers refused."""

from __future__ import annotations

import pytest

from dspy_mux.sampling import logprobs

from ...support.logprob_server import logprob_server
from ...support.scripted import marked

SURE = {b"Paris": -0.25}


@pytest.fixture
def server():
    with logprob_server(lambda prompt: marked(answer="Paris")) as server:
        server.weigh = lambda position, token: SURE.get(token.strip(), -0.5)
        yield server


@pytest.fixture(autouse=True)
def nobody_refused(monkeypatch):
    for seen in ("_refused", "_suspected", "_takes", "_same_without"):
        monkeypatch.setattr(logprobs, seen, set())
