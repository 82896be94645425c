"""A small real HTTP server that speaks both of Ollama's protocols, as its API documents them.

It counts a word as a token, and cuts the beginning of a prompt that does not fit the context, as
Ollama does: without a word.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .http_server import running
from .scripted import marked

#: Ollama's own, where a request says none. (Its OpenAI-compatible API takes no `num_ctx`.)
CONTEXT = 4096
#: Options of /api/chat, under "options"; others are ignored with a warning in Ollama's log.
OPTIONS = {"num_ctx", "num_predict", "temperature", "seed", "top_k", "top_p", "min_p", "stop"}
OPTIONS |= {"repeat_penalty", "repeat_last_n", "presence_penalty", "frequency_penalty"}


class OllamaServer(ThreadingHTTPServer):
    """Answers every question with 42.

    Attributes:
        requests: (path, body) of each request to a model, in the order they came.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, Any]]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: OllamaServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answers = {
            "/api/chat": self._chat,
            "/v1/chat/completions": self._completion,
            "/api/show": lambda _: {"capabilities": ["completion"], "model_info": {}},
        }
        if self.path != "/api/show":
            self.server.requests.append((self.path, body))
        if self.path not in answers:
            self._send(404, b"404 page not found", "text/plain")
        else:
            self._send(200, json.dumps(answers[self.path](body)).encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        options = body.get("options") or {}
        assert not body.get("stream", True), "it would stream"
        message: dict[str, Any] = {"role": "assistant"}
        if body.get("think"):
            message["thinking"] = "Easy."
        text, ending, asked, replied = _reply(body, options)
        return {
            "model": body["model"],
            "created_at": "2026-01-01T00:00:00Z",
            "message": {**message, "content": text},
            "done": True,
            "done_reason": ending,
            "total_duration": 3,
            "load_duration": 1,
            "prompt_eval_count": asked,
            "prompt_eval_duration": 1,
            "eval_count": replied,
            "eval_duration": 1,
        }

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        options = {"num_predict": body["max_tokens"]} if body.get("max_tokens") else {}
        text, ending, asked, replied = _reply(body, options)
        message = {"role": "assistant", "content": text}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "system_fingerprint": "fp_ollama",
            "choices": [{"index": 0, "message": message, "finish_reason": ending}],
            "usage": {
                "prompt_tokens": asked,
                "completion_tokens": replied,
                "total_tokens": asked + replied,
            },
        }

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _reply(body: dict[str, Any], options: dict[str, Any]) -> tuple[str, str, int, int]:
    """Text, why it ended, tokens read and tokens written."""
    context = options.get("num_ctx") or CONTEXT
    asked = sum(len(str(turn["content"]).split()) for turn in body["messages"])
    words = marked(reasoning="Easy.", answer="42").split(" ")
    most = options.get("num_predict", -1)
    ending = "length" if 0 <= most < len(words) else "stop"
    if ending == "length":
        words = words[:most]
    return " ".join(words), ending, min(asked, context), len(words)


def ollama_server() -> AbstractContextManager[OllamaServer]:
    return running(OllamaServer())
