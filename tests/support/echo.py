"""A model server that echoes what it was sent, as some do: in errors, in answers, in what it says
it used."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.http_server import running
from tests.support.scripted import marked


class EchoServer(ThreadingHTTPServer):
    """By the model's name: `refuses` is a 401 that quotes the headers, `echoes` an answer that
    does, anything else answers 42."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: EchoServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        told = f"{self.path} " + "; ".join(
            f"{name}: {value}" for name, value in self.headers.items()
        )
        self.server.sent.append(told)
        keys = " ".join(
            value.split()[-1]
            for name, value in self.headers.items()
            if name.lower() in ("authorization", "x-gateway-key")
        )
        if "refuses" in request["model"]:
            message = f"Incorrect API key provided: {keys}. You sent {told}"
            return self._send(
                401,
                {
                    "error": {
                        "message": message,
                        "type": "authentication_error",
                        "code": "invalid_api_key",
                    }
                },
            )
        answer = f"You sent {keys}" if "echoes" in request["model"] else "42"
        text = (
            marked(reasoning=f"I was told {told}.", answer=answer)
            if "rambles" not in request["model"]
            else f"I was told {told}"
        )
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return self._send(
            200,
            {
                "id": "1",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "choices": [choice],
                "usage": usage,
            },
        )

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def echo_server() -> AbstractContextManager[EchoServer]:
    return running(EchoServer())
