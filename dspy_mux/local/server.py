"""Weights in memory: one llama.cpp server per weights file and settings, shared by every LM of the process."""

from __future__ import annotations

import atexit
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LocalModelError
from . import wire
from .batch import Batcher, Choice
from .cores import default_threads

VERBOSE_VARIABLE = "DSPY_MUX_VERBOSE"
#: A prompt that is being read cannot be interrupted, and the process would crash: so long the interpreter waits for it at its exit.
EXIT_WAIT_S = 90.0


@dataclass(frozen=True)
class Settings:
    """What makes two LMs share one set of loaded weights."""

    path: Path
    slots: int
    context: int
    threads: int | None


class LlamaServer:
    """Loaded weights and the batcher in front of them.

    Each slot has a KV cache of its own. One pool for all of them would take less memory, but then a draw's arithmetic
    depends on its neighbours' prompts: measured, one draw in two came out otherwise than alone.

    Raises:
        LocalModelError: xllamacpp is not installed, or llama.cpp cannot load the file.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        threads = settings.threads or default_threads()
        self._llama = _load(settings, threads)
        self._served = False
        self._batcher = Batcher(self._generate, slots=settings.slots)

    def submit(self, payload: dict[str, Any], *, seed: int | None) -> Future[Choice]:
        """One draw of `payload`; see `Batcher.submit`."""
        return self._batcher.submit(payload, seed=seed)

    def close(self, timeout: float) -> None:
        # With a draw still running the weights must stay: its thread is inside them.
        if self._batcher.close(timeout):
            if not self._served:
                # One token, so that its loop surely runs: closed before that, it never ends (1 of 12 short processes hung).
                self._llama.handle_completions({"prompt": "a", "max_tokens": 1})
            del self._llama

    def _generate(
        self, payload: dict[str, Any], n: int, seed: int | None, wanted: Callable[[], bool]
    ) -> Sequence[Choice]:
        # Streamed, because only a stream reports the usage of each choice, and because only a stream can be stopped.
        body = {
            **payload,
            "n": n,
            "stream": True,
            "stream_options": {"include_usage": True},
            "cache_prompt": True,
        }
        if seed is not None:
            body["seed"] = seed
        self._served = True
        stream = _Stream(n, wanted)
        handle = (
            self._llama.handle_chat_completions
            if "messages" in body
            else self._llama.handle_completions
        )
        handle(body, stream.take)
        return stream.finish()


@dataclass
class _Partial:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None


class _Stream:
    """Assembles the chunks of a streamed request of n choices."""

    def __init__(self, n: int, wanted: Callable[[], bool]) -> None:
        self._partials = [_Partial() for _ in range(n)]
        self._wanted = wanted
        self._ended = 0
        self._error: BaseException | None = None
        self._id = ""

    def take(self, chunk: dict[str, Any]) -> bool:
        """Called by llama.cpp for each chunk; True stops the request, and an exception must not pass into C++."""
        try:
            if "error" in chunk or "choices" not in chunk:
                raise wire.error_of(chunk)
            self._id = chunk.get("id") or self._id
            for choice in chunk["choices"]:
                self._add(self._partials[choice["index"]], choice)
                self._ended = choice["index"]
            if chunk.get("usage"):
                # With the last chunk of a choice, or right after it in a chunk without choices.
                self._partials[self._ended].usage = chunk["usage"]
            if not self._wanted():
                raise CancelledError
            return False
        except BaseException as error:  # noqa: BLE001 - raised again by finish(), on our side of the C++ frames
            self._error = error
            return True

    @staticmethod
    def _add(partial: _Partial, choice: dict[str, Any]) -> None:
        delta = choice.get("delta") or {}
        partial.text.append(delta.get("content") or choice.get("text") or "")
        partial.reasoning.append(delta.get("reasoning_content") or "")
        partial.logprobs += (choice.get("logprobs") or {}).get("content") or []
        partial.finish_reason = choice.get("finish_reason") or partial.finish_reason

    def finish(self) -> list[Choice]:
        """The choices, complete; raises what went wrong otherwise."""
        if self._error is not None:
            raise self._error
        return [
            wire.choice_body(
                f"{self._id}-{index}",
                "".join(partial.text),
                "".join(partial.reasoning),
                partial.logprobs,
                partial.finish_reason,
                partial.usage if index == 0 else _shared(partial.usage),
            )
            for index, partial in enumerate(self._partials)
        ]


def _shared(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """The usage of a choice after the first: llama.cpp reports the first one's reading of the prompt for it as well."""
    return usage and {**usage, "prompt_tokens_details": {"cached_tokens": usage["prompt_tokens"]}}


def _xllamacpp() -> Any:
    """The module, with OpenMP told not to spin for long.

    Its threads wait for one another at every operation of every layer, and by default spin there for milliseconds.
    Where a core is taken, by another model or another process, that burns the very time the others need: measured with
    two threads on two cores, 3 to 40 tokens a second in place of 90. A short spin keeps both the 90 and the full speed
    of idle cores.
    """
    told = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    if not told:
        os.environ["GOMP_SPINCOUNT"] = (
            "1000"  # libgomp's own choice where it knows that cores are short
        )
    try:
        import xllamacpp
    except ImportError as error:
        raise LocalModelError(
            "Embedded models need llama.cpp, which is not installed: pip install 'dspy-mux[local]'."
        ) from error
    finally:
        if not told:
            del os.environ["GOMP_SPINCOUNT"]  # read once, when OpenMP was loaded
    return xllamacpp


def _load(settings: Settings, threads: int) -> Any:
    xllamacpp = _xllamacpp()
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    params.n_parallel = settings.slots
    params.n_ctx = settings.context * settings.slots
    # Copies of past prompts beyond what the slots still hold: up to 8 GB by default, and slower here than reading
    # again.
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    # Models with sliding-window attention (Gemma 3) would otherwise read a prompt's shared beginning anew for every question.
    params.swa_full = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    # llama.cpp always listens on HTTP as well; nobody but this process may use that.
    params.hostnames = ["127.0.0.1"]
    params.api_keys = [secrets.token_hex(16)]
    params.n_threads_http = 1
    params.ui = params.endpoint_slots = False
    if os.environ.get(VERBOSE_VARIABLE, "0") in ("", "0"):
        params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise LocalModelError(
            f"llama.cpp cannot load {settings.path}: the file may be damaged or of a kind that it does not know, or "
            f"memory is short; {VERBOSE_VARIABLE}=1 shows its own log."
        ) from error


_servers: dict[Settings, LlamaServer] = {}
_loading = threading.Lock()


def loaded(settings: Settings) -> LlamaServer | None:
    """The server of these settings, where it is loaded already."""
    return _servers.get(settings)


def server_for(settings: Settings) -> LlamaServer:
    """The server of these settings, loaded by whoever asks first while the others wait.

    Raises:
        LocalModelError: it cannot be loaded.
    """
    server = _servers.get(settings)
    if server is None:
        with _loading:
            server = _servers.get(settings)
            if server is None:
                server = _servers[settings] = LlamaServer(settings)
    return server


def _close_all() -> None:
    """Before the interpreter dies: a thread inside llama.cpp that outlived it would take the process down with it."""
    while _servers:
        _servers.popitem()[1].close(EXIT_WAIT_S)


def _after_fork() -> None:
    """A child has none of the parent's threads: it loads its own weights, and never frees the ones it cannot use."""
    global _loading
    _inherited.append(dict(_servers))
    _servers.clear()
    _loading = threading.Lock()


_inherited: list[dict[Settings, LlamaServer]] = []
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
