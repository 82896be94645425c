"""A server's list of its models, which may come in any form, or never end."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dspy_mux.sampling import server_models
from dspy_mux.sampling.server_models import models_at

from ..support.http_server import running


@pytest.fixture
def endless():
    """A server whose list goes on and on, a blank at a time; `over` ends it."""
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            while not over.wait(0.01):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield server
        over.set()


def test_a_list_that_never_ends_is_given_up(endless, monkeypatch):
    monkeypatch.setattr(server_models, "PATIENCE_S", 0.1)
    assert models_at(f"http://127.0.0.1:{endless.server_port}/v1") == []
