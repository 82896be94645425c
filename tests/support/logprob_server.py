"""A real OpenAI-compatible HTTP server, with log-probabilities or without."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


class LogprobServer(ThreadingHTTPServer):
    """Answers by a function of the prompt; the model's name says what it makes of `logprobs`.

    A model whose name holds "refuses" answers with `refusal` where it is asked for them, one that
    "ignores" says nothing of them, and any other gives them: -0.5 for each token, and for
    the tokens of `sure` as given.

    Attributes:
        say: returns the text for a prompt, all turns in one.
        sure: token → its log-probability.
        split: returns a text's tokens.
        refusal: the status and the message.
        bodies: the requests, in the order they came.
    """

    daemon_threads = True

    def __init__(self, say: Callable[[str], str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.say = say
        self.sure: dict[str, float] = {}
        self.split: Callable[[str], list[bytes]] = words
        self.refusal = 400, "logprobs is not supported by this model"
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
        if asks and "refuses" in body["model"]:
            status, message = self.server.refusal
            self._send(status, {"error": {"message": message, "type": "invalid_request_error"}})
            return
        text = self.server.say("\n".join(str(turn["content"]) for turn in body["messages"]))
        choice: Body = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        if asks and "ignores" not in body["model"]:
            tokens = self.server.split(text)
            choice["logprobs"] = {"content": [self._token(token) for token in tokens]}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        head = {"id": "1", "object": "chat.completion", "created": 0, "model": body["model"]}
        self._send(200, {**head, "choices": [choice], "usage": usage})

    def _token(self, token: bytes) -> Body:
        text = token.decode(errors="replace")
        logprob = self.server.sure.get(text.strip(), -0.5)
        assert math.isfinite(logprob)
        return {"token": text, "bytes": list(token), "logprob": logprob, "top_logprobs": []}

    def _send(self, status: int, body: Body) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
