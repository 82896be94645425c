"""A real OpenAI-compatible HTTP server, with log-probabilities or without."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .http_server import running

Body = dict[str, Any]


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
            return
        text = self.server.say("\n".join(str(turn["content"]) for turn in body["messages"]))
        choice: Body = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        if asks and "ignores" not in body["model"]:
            tokens = self.server.split(text)
            most = body.get("top_logprobs", 0)
            choice["logprobs"] = {
                "content": [self._token(*pair, most) for pair in enumerate(tokens)]
            }
        tokens = self.server.count(text)
        usage = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": 10 + tokens}
        head = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
        self._send(200, {**head, "choices": [choice], "usage": usage})

    def _token(self, position: int, token: bytes, alternatives: int) -> Body:
        one = {
            "token": token.decode(errors="replace"),
            "bytes": list(token),
            "logprob": self.server.weigh(position, token),
        }
        others = [
            {"token": f" no {n}", "bytes": None, "logprob": -9.0} for n in range(1, alternatives)
        ]
        return {**one, "top_logprobs": [one, *others][:alternatives]}

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
