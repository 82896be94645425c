"""A small real HTTP server that answers as OpenAI-compatible servers and Ollama do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .http_server import running
from .scripted import marked

KNOWN_MODEL = "known"


class ModelServer(ThreadingHTTPServer):
    """Answers every question with 42; a model name that contains "unknown" is a 404.

    Attributes:
        replies: model → the message and finish reason that it gives instead.
        texts: model → a function of the prompt, all turns in one, that gives the text instead.
        bodies: the requests, in the order they came.
        strict: whether it takes questions at /v1/chat/completions alone, as FastAPI does.
        models: what GET /v1/models lists; it is a 404 where there are none.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.paths: list[str] = []
        self.replies: dict[str, tuple[dict[str, Any], str]] = {}
        self.texts: dict[str, Callable[[str], str]] = {}
        self.keys: list[str | None] = []
        self.bodies: list[dict[str, Any]] = []
        self.models: list[str] = []
        self.strict = False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.paths.append(self.path)
        self.server.keys.append(self.headers.get("Authorization"))
        self.server.bodies.append(request)
        text = marked(reasoning="Easy.", answer="42")
        if (say := self.server.texts.get(request.get("model", ""))) is not None:
            text = say("\n".join(str(turn["content"]) for turn in request["messages"]))
        if self.path == "/api/show":  # LiteLLM asks Ollama what the model can do
            self._send(404, {"error": "not found"})
        elif self.server.strict and self.path != "/v1/chat/completions":
            self._send(404, {"detail": "Not Found"})
        elif "unknown" in request["model"]:
            self._send(
                404,
                {
                    "error": {
                        "message": f"model {request['model']!r} not found",
                        "type": "not_found_error",
                    }
                },
            )
        elif self.path == "/api/chat":
            self._send(200, _ollama(request["model"], text))
        else:
            message, ending = self.server.replies.get(request["model"], ({"content": text}, "stop"))
            if request.get("stream"):
                self._send_events(_openai_events(request["model"], message["content"], ending))
            else:
                self._send(200, _openai(request["model"], message, ending))

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        if self.path == "/v1/models" and self.server.models:
            listed = [{"id": name, "object": "model"} for name in self.server.models]
            self._send(200, {"object": "list", "data": listed})
            return
        self._send(404, {"error": {"message": "not found"}})

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _send_events(self, events: list[dict[str, Any]]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")


def _openai_events(model: str, text: str, ending: str) -> list[dict[str, Any]]:
    """The chunks of a streamed reply, one a word."""
    deltas = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in re.findall(r"\s*\S+\s*", text)]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": ending})
    head = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": model}
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    return [
        *({**head, "choices": [choice]} for choice in choices),
        {**head, "choices": [], "usage": usage},
    ]


def _openai(model: str, message: dict[str, Any], ending: str) -> dict[str, Any]:
    message = {"role": "assistant", **message}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": ending}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }


def _ollama(model: str, text: str) -> dict[str, Any]:
    return {
        "model": model,
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": text},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 10,
        "eval_count": 2,
    }


def model_server() -> AbstractContextManager[ModelServer]:
    return running(ModelServer())
