"""A real OpenAI-compatible HTTP server, with log-probabilities or without.

It gives one choice, whatever `n`; `choice_server` gives more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .choices import Body, Choice, reply
from .http_server import running


class LogprobServer(ThreadingHTTPServer):
    """Answers by a function of the prompt; the model's name says what it makes of `logprobs`.

    A model whose name holds "refuses" answers with `refusal` where it is asked for them, one that
    "ignores" says nothing of them, and any other gives them, by `weigh`.

    Attributes:
        say: returns the text for a prompt, all turns in one.
        weigh: returns the log-probability of a token, given its position and its bytes.
        split: returns a text's tokens.
        count: returns how many tokens it bills for a text.
        refusal: the status and the message.
        refuses_all: whether it answers every request with `refusal`.
        fails_once: the status and the message that it answers the next request with.
        bodies: the requests, in the order they came.
    """

    daemon_threads = True

    def __init__(self, say: Callable[[str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say = say
        self.weigh: Callable[[int, bytes], float] = lambda position, token: -0.5
        self.split: Callable[[str], list[bytes]] = words
        self.count: Callable[[str], int] = lambda text: len(self.split(text))
        self.refusal = 400, "logprobs is not supported by this model"
        self.refuses_all = False
        self.fails_once: tuple[int, str] | None = None
        self.bodies: list[Body] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def asked(self) -> list[bool]:
        """Return of each request whether it asked for log-probabilities."""
        return [bool(body.get("logprobs")) for body in self.bodies]

    def answer(self, body: Body) -> tuple[int, Body]:
        """Return the status and the body of the reply to a request: one choice, whatever `n`."""
        choice = self.choice(body, self.say(prompt_of(body)))
        return 200, reply(body["model"], [choice])

    def choice(self, body: Body, text: str) -> Choice:
        """Return a choice of this text, with log-probabilities where the request wants them."""
        count = self.count(text)
        if not body.get("logprobs") or "ignores" in body["model"]:
            return Choice(text, tokens=count)
        most = body.get("top_logprobs", 0)
        logprobs = [self._token(*pair, most) for pair in enumerate(self.split(text))]
        return Choice(text, tokens=count, logprobs=logprobs)

    def _token(self, position: int, token: bytes, alternatives: int) -> Body:
        one = {
            "token": token.decode(errors="replace"),
            "bytes": list(token),
            "logprob": self.weigh(position, token),
        }
        others = [
            {"token": f" no {n}", "bytes": None, "logprob": -9.0} for n in range(1, alternatives)
        ]
        return {**one, "top_logprobs": [one, *others][:alternatives]}


def prompt_of(body: Body) -> str:
    """Return all turns of a request in one."""
    return "\n".join(str(turn["content"]) for turn in body["messages"])


def words(text: str) -> list[bytes]:
    """Split a text before each space and each character that is no letter or digit."""
    return [part.encode() for part in re.findall(r"\s?\w+|\s?[^\w\s]|\s", text)]


class _Handler(BaseHTTPRequestHandler):
    server: LogprobServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        asks = bool(body.get("logprobs"))
        if "top_logprobs" in body and not asks:  # as OpenAI's API does
            self._fail(400, "top_logprobs requires logprobs to be set to true.")
            return
        failure, self.server.fails_once = self.server.fails_once, None
        if self.server.refuses_all or (asks and "refuses" in body["model"]):
            failure = self.server.refusal
        if failure is not None:
            self._fail(*failure)
        else:
            self._send(*self.server.answer(body))

    def _fail(self, status: int, message: str) -> None:
        self._send(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def _send(self, status: int, body: Body) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def logprob_server(say: Callable[[str], str]) -> Iterator[LogprobServer]:
    with running(LogprobServer(say)) as server:
        yield server
