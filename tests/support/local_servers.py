"""Real HTTP servers that list models as Ollama, vLLM, llama.cpp and LM Studio do, and answer."""

from __future__ import annotations

import json
from typing import Any

from .http_models import ModelServer, _Handler

#: What llama-server answered, shortened.
LLAMA_CPP_FILE = "/srv/SmolLM2-135M-Instruct.Q4_1.gguf"


class LocalServer(ModelServer):
    """Answers GETs by `pages`: path → (status, body); models answer as those of `ModelServer` do.

    Attributes:
        shows: what Ollama says of the abilities of its models, by name.
        key: that its pages ask for; None for none.
        asked: the paths of the GETs, with the key that each was sent.
    """

    def __init__(self, pages: dict[str, tuple[int, Any]]) -> None:
        super().__init__()
        self.RequestHandlerClass = _LocalHandler
        self.pages = pages
        self.shows: dict[str, list[str]] = {}
        self.key: str | None = None
        self.asked: list[tuple[str, str | None]] = []


class _LocalHandler(_Handler):
    server: LocalServer

    def do_GET(self) -> None:  # noqa: N802  (http.server's name)
        key = self.headers.get("Authorization")
        self.server.asked.append((self.path, key))
        if self.server.key is not None and key != f"Bearer {self.server.key}":
            self._send(401, {"error": {"message": "Unauthorized"}})
        else:
            self._send(*self.server.pages.get(self.path, (404, {"error": "Not Found"})))

    def do_POST(self) -> None:  # noqa: N802
        if self.path != "/api/show":
            super().do_POST()
            return
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["model"]
        shown = self.server.shows.get(name)
        found = {"capabilities": shown, "model_info": {}} if shown else {"error": "not found"}
        self._send(200 if shown else 404, found)


def listed(owner: str, *names: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """Return a reply of /v1/models."""
    models = [
        {"id": name, "object": "model", "created": 1, "owned_by": owner, **more} for name in names
    ]
    return 200, {"object": "list", "data": models}


def ollama(*models: tuple[str, str, int, str], version: str = "0.12.6") -> LocalServer:
    """Return Ollama with models of these names, parameters, sizes in bytes and families."""
    tags = [
        {
            "name": name,
            "model": name,
            "modified_at": "2026-01-01T00:00:00Z",
            "size": size,
            "digest": "0" * 64,
            "details": {
                "format": "gguf",
                "family": family,
                "families": [family],
                "parameter_size": parameters,
                "quantization_level": "Q4_K_M",
            },
        }
        for name, parameters, size, family in models
    ]
    names = [name for name, *_ in models]
    reply = listed("library", *names) if names else (200, {"object": "list", "data": None})
    return LocalServer(
        {
            "/v1/models": reply,
            "/api/version": (200, {"version": version}),
            "/api/tags": (200, {"models": tags}),
        }
    )


def vllm(*names: str) -> LocalServer:
    return LocalServer(
        {
            "/v1/models": listed("vllm", *names, max_model_len=32768, parent=None),
            "/version": (200, {"version": "0.11.0"}),
        }
    )


def llama_cpp(name: str = LLAMA_CPP_FILE) -> LocalServer:
    meta = {"n_ctx": 512, "n_params": 134515008, "size": 96576768, "ftype": "Q4_1"}
    return LocalServer(
        {
            "/v1/models": listed("llamacpp", name, meta=meta),
            "/props": (200, {"default_generation_settings": {}, "total_slots": 1}),
        }
    )


def lm_studio() -> LocalServer:
    kinds = {"qwen2.5-7b-instruct": "llm", "text-embedding-nomic-embed-text-v1.5": "embeddings"}
    models = [
        {
            "id": name,
            "object": "model",
            "type": kind,
            "arch": "qwen2",
            "quantization": "Q4_K_M",
            "state": "not-loaded",
            "max_context_length": 32768,
        }
        for name, kind in kinds.items()
    ]
    return LocalServer(
        {
            "/v1/models": listed("organization_owner", *kinds),
            "/api/v0/models": (200, {"object": "list", "data": models}),
        }
    )
