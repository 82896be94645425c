"""Loaded weights: one llama.cpp server per file and settings, shared by every LM of the process."""

from __future__ import annotations

import atexit
import ctypes
import http.client
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dspy import lm15

from ..errors import LocalModelError, MissingExtra
from ..sampling.interrupt import exit_at_once
from . import gguf, wire
from .adherence import Adherence
from .batch import Batcher
from .cores import default_threads
from .wire import Body, TokenUsage

VERBOSE_VARIABLE = "DSPY_MUX_VERBOSE"
MISSING_LLAMA_CPP = (
    "Embedded models need llama.cpp, which is not installed: pip install 'dspy-mux[local]'."
)
#: How long the interpreter waits at its exit: a prompt that is being read cannot be interrupted,
#: and the process would crash. Ctrl-C ends the wait, and the process.
EXIT_WAIT_S = 90.0
#: How long llama.cpp may take to apply a chat template, which takes it milliseconds.
PROMPT_WAIT_S = 5.0


@dataclass(frozen=True)
class ServerSettings:
    """The settings of loaded weights; LMs with equal settings share them."""

    path: Path
    slots: int
    context: int
    threads: int | None


class LlamaServer:
    """Loaded weights and the batcher in front of them.

    Each slot has a KV cache of its own. One pool for all of them would take less memory, but would
    make a draw's arithmetic depend on its neighbours' prompts: measured, one draw in two differed.

    Raises:
        MissingExtra: xllamacpp is not installed.
        LocalModelError: llama.cpp cannot load the file.
        ConfigurationError: DSPY_MUX_THREADS is not a number of threads.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        threads = settings.threads or default_threads()
        self._key = secrets.token_hex(16)
        self._llama = _load(settings, threads, self._key)
        tokens = sorted(gguf.control_tokens(settings.path), key=len, reverse=True)
        #: Matches the tokens that steer the model; None where there are none.
        self.control_tokens = re.compile("|".join(map(re.escape, tokens))) if tokens else None
        self._served = False
        self._adherence = Adherence(settings.path.stem, self._prompt_of)
        self._batcher = Batcher(self._generate, slots=settings.slots)

    def submit(self, payload: Body, *, seed: int | None) -> Future[Body]:
        """Queue one draw of `payload`, whose texts are text alone; see `Batcher.submit`."""
        return self._batcher.submit(wire.with_plain_text(payload, self.control_tokens), seed=seed)

    def close(self, timeout: float) -> None:
        """Stop the draws and free the weights, unless a draw still runs inside them."""
        ended = self._batcher.close(timeout)
        if _forked:
            self.keep()
        elif ended:
            if not self._served:
                # One token starts its loop for sure: closed before that, it never ends
                # (1 of 12 short processes hung).
                self._llama.handle_completions({"prompt": "a", "max_tokens": 1})
            del self._llama

    def keep(self) -> None:
        """Keep the weights until the process ends; see `_after_fork`."""
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._llama))

    def _generate(
        self, payload: Body, n: int, seed: int | None, wanted: Callable[[], bool]
    ) -> Sequence[Body]:
        # Only a stream reports the usage of each choice, and only a stream can be stopped.
        body: Body = {
            **payload,
            "n": n,
            "stream": True,
            "stream_options": {"include_usage": True},
            "cache_prompt": True,
        }
        if seed is not None:
            body["seed"] = seed
        self._served = True
        self._adherence.check_prompt(payload)
        stream = _Stream(n, wanted)
        handle = (
            self._llama.handle_chat_completions
            if "messages" in body
            else self._llama.handle_completions
        )
        try:
            handle(body, stream.take)
        except ValueError as error:  # from the template, or from a schema
            raise lm15.InvalidRequestError(str(error), provider=wire.PROVIDER) from error
        replies = stream.finish()
        self._adherence.check_replies(payload, replies)
        return replies

    def _prompt_of(self, body: Body) -> str | None:
        """Return the prompt that the chat template makes of a body; None if llama.cpp fails."""
        address = self._llama.listening_address.removeprefix("http://")
        connection = http.client.HTTPConnection(address, timeout=PROMPT_WAIT_S)
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", "/apply-template", json.dumps(body), headers)
            prompt = json.loads(connection.getresponse().read())["prompt"]
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return None
        finally:
            connection.close()
        return str(prompt)


@dataclass
class _PartialChoice:
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    logprobs: list[Body] = field(default_factory=list)
    finish_reason: str | None = None
    usage: TokenUsage | None = None


class _Stream:
    """Assembles the chunks of a streamed request of n choices."""

    def __init__(self, n: int, wanted: Callable[[], bool]) -> None:
        self._partials = [_PartialChoice() for _ in range(n)]
        self._wanted = wanted
        self._ended = 0
        self._error: BaseException | None = None
        self._id = ""

    def take(self, chunk: Body) -> bool:
        """Add a chunk; True stops the request. Exceptions must not pass into llama.cpp's C++."""
        try:
            if "error" in chunk or "choices" not in chunk:
                raise wire.error_of(chunk)
            self._id = chunk.get("id") or self._id
            for choice in chunk["choices"]:
                self._add(self._partials[choice["index"]], choice)
                self._ended = choice["index"]
            if chunk.get("usage"):
                # Sent with the last chunk of a choice, or right after it without choices.
                self._partials[self._ended].usage = chunk["usage"]
            if not self._wanted():
                raise CancelledError
            return False
        except BaseException as error:  # noqa: BLE001 - finish() raises it, outside the C++ frames
            self._error = error
            return True

    @staticmethod
    def _add(partial: _PartialChoice, choice: Body) -> None:
        delta = choice.get("delta") or {}
        partial.text.append(delta.get("content") or choice.get("text") or "")
        partial.reasoning.append(delta.get("reasoning_content") or "")
        partial.logprobs += (choice.get("logprobs") or {}).get("content") or []
        partial.finish_reason = choice.get("finish_reason") or partial.finish_reason

    def finish(self) -> list[Body]:
        """Return the complete choices, or raise the error that ended the stream."""
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


def _shared(usage: TokenUsage | None) -> TokenUsage | None:
    """Mark the prompt of a choice after the first as cached: llama.cpp read it only once."""
    if usage is None:
        return None
    return {**usage, "prompt_tokens_details": {"cached_tokens": usage["prompt_tokens"]}}


def _xllamacpp() -> Any:
    """Import xllamacpp, with OpenMP set to spin only briefly.

    OpenMP's threads wait for one another at every operation of every layer, and by default spin
    there for milliseconds. Where another model or process needs the core, that burns its time:
    measured with two threads on two cores, 3 to 40 tokens a second instead of 90. A short spin
    keeps the 90, and the full speed of idle cores.
    """
    configured = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys()
    if not configured:
        # libgomp's own choice where it knows that cores are scarce.
        os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtra(MISSING_LLAMA_CPP) from error
    finally:
        if not configured:
            del os.environ["GOMP_SPINCOUNT"]  # read once, when OpenMP was loaded
    return xllamacpp


def _load(settings: ServerSettings, threads: int, key: str) -> Any:
    xllamacpp = _xllamacpp()
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.path)
    params.n_parallel = settings.slots
    params.n_ctx = settings.context * settings.slots
    # Copies of past prompts beyond the slots: up to 8 GB by default, and slower than reading again.
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    # Without this, models with sliding-window attention (Gemma 3) read the shared beginning of
    # prompts again for every question.
    params.swa_full = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    # llama.cpp always listens on HTTP too; only this process may use it.
    params.hostnames = ["127.0.0.1"]
    params.api_keys = [key]
    params.n_threads_http = 1
    params.ui = params.endpoint_slots = False
    if os.environ.get(VERBOSE_VARIABLE, "0") in ("", "0"):
        params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        raise LocalModelError(
            f"llama.cpp cannot load {settings.path}: the file may be damaged or of an unknown "
            f"kind, or memory is short; {VERBOSE_VARIABLE}=1 shows its own log."
        ) from error


_servers: dict[ServerSettings, LlamaServer] = {}
_loading = threading.Lock()


def loaded(settings: ServerSettings) -> LlamaServer | None:
    """Return the server of these settings if it is loaded."""
    return _servers.get(settings)


def server_for(settings: ServerSettings) -> LlamaServer:
    """Return the server of these settings; the first caller loads it while the others wait.

    Raises:
        MissingExtra: xllamacpp is not installed.
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
    """Close all servers at exit: a thread inside llama.cpp that outlived Python would crash.

    Ctrl-C meanwhile ends the process.
    """
    try:
        while _servers:
            _servers.popitem()[1].close(EXIT_WAIT_S)
    except KeyboardInterrupt:
        exit_at_once()


def _after_fork() -> None:
    """Forget the parent's servers in a child, which loads its own.

    Their threads stayed behind: to free one, or the child's own later, would wait for a thread for
    ever, or crash. So each keeps a reference that nothing gives back, and the child ends before
    llama.cpp's own handlers at exit.
    """
    global _loading, _forked
    if _servers:
        _forked = True
        libc = ctypes.CDLL(None)
        if hasattr(libc, "on_exit"):  # glibc alone has it; the last handler added runs first
            libc.on_exit(libc._exit, None)
    for server in _servers.values():
        server.keep()
    _servers.clear()
    _loading = threading.Lock()


#: Whether a parent of this process had loaded weights.
_forked = False
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
