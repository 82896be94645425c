"""DSPy engines over embedded llama.cpp: `dspy.LM(name, engine=LlamaEngine(…), async_engine=AsyncLlamaEngine(…))`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

from dspy import lm15
from dspy.utils.exceptions import LMConfigurationError
from typing_extensions import Self

from ..errors import LocalModelError
from ..sampling.deadline import loading, offer
from . import catalog, gguf, weights, wire
from .server import LlamaServer, Settings, loaded, server_for

DEFAULT_SLOTS = 8
DEFAULT_CONTEXT = 4096


class LocalModelCallError(LocalModelError, LMConfigurationError):
    """A local model cannot be fetched or loaded in an LM call; a DSPy error too, so that DSPy passes it on."""


class _Engine:
    """The configuration that both engines share; the loaded weights live in `server`, shared by every engine like this
    one.

    Args:
        name_or_path: a name of the catalog, or the path of a .gguf file.
        threads: llama.cpp threads; None for the cores that are free when the weights are loaded, or DSPY_MUX_THREADS.
        slots: draws that run at once.
        context: tokens of the longest prompt and answer together; each slot keeps memory for as many.

    Raises:
        LocalModelError: an unknown name, no such file, no GGUF file, or a number that cannot be meant.
    """

    #: Equal requests with seeds s, s+1, … cost one reading of the prompt: the sampler numbers its draws so.
    seeded_draws: ClassVar[bool] = True
    #: What DSPy asks an engine it does not know (dspy/clients/capabilities.py).
    supports_response_schema: ClassVar[bool] = True
    supports_function_calling: ClassVar[bool] = False
    supports_reasoning: ClassVar[bool] = False
    supported_params: ClassVar[frozenset[str]] = frozenset(
        {
            "temperature",
            "max_tokens",
            "top_p",
            "stop",
            "seed",
            "response_format",
            "logprobs",
            "top_logprobs",
        }
        | {"frequency_penalty", "presence_penalty", "stream"}
    )

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        threads: int | None = None,
        slots: int = DEFAULT_SLOTS,
        context: int = DEFAULT_CONTEXT,
    ) -> None:
        for value, what, least in (
            (slots, "slots", 1),
            (context, "context", 256),
            (threads, "threads", 1),
        ):
            if what == "threads" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise LocalModelError(
                    f"{what} of a local model must be a whole number, {least} or more, not {value!r}."
                )
        self.name_or_path = str(name_or_path)
        self.threads = threads
        self.slots = slots
        self.context = context
        #: A chat model is sent its messages; a base model goes on with their text.
        self.chat: bool = True
        self._path: Path | None = None
        self._text_engines: tuple[LlamaEngine, AsyncLlamaEngine] | None = None
        self.in_catalog = not _is_path(name_or_path)
        if not self.in_catalog:
            self._path = _existing(name_or_path)
            self.chat = gguf.has_chat_template(self._path)
            self.name = self._path.stem.encode(
                "utf-8", "replace"
            ).decode()  # not every file's name is text
            self.model = f"local/{self.name}@{gguf.fingerprint(self._path)}"
        else:
            entry = catalog.find(self.name_or_path)
            self.chat = entry.chat
            self.name = entry.name
            self.model = f"local/{entry.name}"

    def __deepcopy__(self, memo: dict[int, Any]) -> _Engine:
        return self  # a configuration; nothing in it changes

    def __reduce__(self) -> tuple[Any, tuple[dict[str, Any]]]:
        return type(self).load_state, (self.dump_state(),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name_or_path!r})"

    def dump_state(self) -> dict[str, Any]:
        """What `load_state` needs; a path is kept as it was given."""
        return {
            "name_or_path": self.name_or_path,
            "threads": self.threads,
            "slots": self.slots,
            "context": self.context,
        }

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        return cls(
            state["name_or_path"],
            threads=state["threads"],
            slots=state["slots"],
            context=state["context"],
        )

    def as_text(self) -> tuple[LlamaEngine, AsyncLlamaEngine]:
        """Engines on the same weights that go on with the messages' text, without a chat template: sync and async.

        `CompletionAdapter` asks for them, to show few-shot text to a chat model.
        """
        if self._text_engines is None:
            engines = (
                LlamaEngine.load_state(self.dump_state()),
                AsyncLlamaEngine.load_state(self.dump_state()),
            )
            for engine in engines:
                engine.chat = False
            self._text_engines = engines
        return self._text_engines

    def load(self) -> None:
        """Fetches and loads the weights now rather than in the first call.

        Raises:
            LocalModelError: they cannot be fetched, verified or loaded.
        """
        self._server()

    def _settings(self) -> Settings:
        if self._path is None:
            self._path = weights.path(self.name) or weights.fetch(self.name)
        return Settings(self._path, self.slots, self.context, self.threads)

    def _loaded(self) -> LlamaServer | None:
        return loaded(self._settings()) if self._path is not None else None

    def _server(self) -> LlamaServer:
        server = self._loaded()
        if server is not None:
            return server
        try:
            with loading():
                return server_for(self._settings())
        except LocalModelError as error:
            raise LocalModelCallError(str(error)) from error

    def _submit(self, request: lm15.Request, server: LlamaServer) -> Future[dict[str, Any]]:
        payload, seed = wire.payload_of(request, chat=self.chat)
        return server.submit(payload, seed=seed)


class LlamaEngine(_Engine):
    """The synchronous engine; any number of threads may call it at once."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        """One answer.

        Raises:
            lm15.ContextLengthError: prompt and answer do not fit `context`.
            lm15.InvalidRequestError: llama.cpp refuses the request.
            lm15.UnsupportedFeatureError: tools, media, or a setting that llama.cpp cannot honour.
            lm15.ServerError: llama.cpp failed; DSPy tries again.
            LocalModelError: the weights cannot be fetched or loaded.
        """
        future = self._submit(request, self._server())
        offer(future.cancel)
        try:
            return wire.response_of(future.result(), model=request.model)
        finally:
            future.cancel()  # after Ctrl-C nobody waits for it; a finished one does not mind

    def stream(self, request: lm15.Request) -> Iterator[lm15.StreamEvent]:
        """The answer as stream events, all at its end: it may be one of several that share a request."""
        yield from lm15.response_to_events(self.complete(request))

    def close(self) -> None:
        """Nothing: the weights belong to the process."""


class AsyncLlamaEngine(_Engine):
    """The asynchronous engine; it occupies neither the event loop nor a thread of its executor while it waits."""

    async def complete(self, request: lm15.Request) -> lm15.Response:
        """One answer; raises what `LlamaEngine.complete` raises. Cancelling the task withdraws this draw alone."""
        server = self._loaded()
        if server is None:
            server = await asyncio.to_thread(self._server)
        answer: asyncio.Future[dict[str, Any]] = asyncio.wrap_future(self._submit(request, server))
        return wire.response_of(await answer, model=request.model)

    async def stream(self, request: lm15.Request) -> AsyncIterator[lm15.StreamEvent]:
        """The answer as stream events, all at its end: it may be one of several that share a request."""
        for event in lm15.response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Nothing: the weights belong to the process."""


def _is_path(name_or_path: str | Path) -> bool:
    text = str(name_or_path)
    return isinstance(name_or_path, Path) or text.endswith(".gguf") or "/" in text or "\\" in text


def _existing(name_or_path: str | Path) -> Path:
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        raise LocalModelError(
            f"There is no weights file {path}: check the path, or give a name of the catalog."
        )
    return path.resolve()
