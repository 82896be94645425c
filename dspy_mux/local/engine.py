"""DSPy engines over embedded llama.cpp, sync and async, for `dspy.LM(name, engine=…)`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

from dspy import lm15
from dspy.utils.exceptions import LMConfigurationError
from typing_extensions import NotRequired, Self, TypedDict

from ..errors import ConfigurationError, LocalModelError, MissingExtra
from ..sampling.deadline import loading, offer
from ..sampling.offload import loads, on_thread
from . import catalog, gguf, weights, wire
from .options import EngineOptions
from .server import LlamaServer, ServerSettings, loaded, server_for
from .wire import Body

logger = logging.getLogger("dspy_mux")

DEFAULT_SLOTS = 8
DEFAULT_CONTEXT = 4096


class LocalModelCallError(LocalModelError, LMConfigurationError):
    """A local model cannot be fetched or loaded in an LM call.

    It is a DSPy error too, so that DSPy passes it on.
    """


class MissingExtraInCall(MissingExtra, LMConfigurationError):
    """xllamacpp is not installed, in an LM call; a DSPy error too, so that DSPy passes it on."""


class EngineState(TypedDict):
    """An engine's configuration, as DSPy saves it."""

    name_or_path: str
    threads: int | None
    slots: int
    context: int
    options: NotRequired[dict[str, Any]]


class _Engine:
    """The configuration of both engines; the weights are in `server`, shared by equal engines.

    Args:
        name_or_path: a name of the catalog, or the path of a .gguf file.
        threads: llama.cpp threads; None for DSPY_MUX_THREADS, else the cores that are free when the
            weights are loaded.
        slots: draws that run at once.
        context: tokens of the longest prompt and answer together; each slot holds memory for it.
        options: of `EngineOptions`: min_p, repeat_penalty, grammar, ignore_eos,
            chat_template_kwargs. The model string names them, so that neither DSPy's cache nor a
            bank takes one setting's answers for another's.

    Raises:
        LocalModelError: an unknown name, a missing file, or not a GGUF file.
        ConfigurationError: a number out of range, an unknown option, or template variables for a
            model without a chat template.
    """

    #: Equal requests with seeds s, s+1, … read the prompt once, so the sampler seeds draws so.
    seeded_draws: ClassVar[bool] = True
    #: DSPy asks engines it does not know for these (dspy/clients/capabilities.py).
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
        **options: Any,
    ) -> None:
        _check_number("slots", slots, 1)
        _check_number("context", context, 256)
        if threads is not None:
            _check_number("threads", threads, 1)
        self.name_or_path = str(name_or_path)
        self.threads = threads
        self.slots = slots
        self.context = context
        #: A chat model receives messages; a base model continues their text.
        self.chat: bool = True
        self._path: Path | None = None
        #: By `chat`; a dict, whose setdefault keeps one of many threads' pairs.
        self._text_engines: dict[bool, tuple[LlamaEngine, AsyncLlamaEngine]] = {}
        self.in_catalog = not _is_path(name_or_path)
        if not self.in_catalog:
            self._path = _existing(name_or_path)
            self.chat = gguf.has_chat_template(self._path)
            # The name as given: a hub's cache links it to a file that is named by its hash.
            # Not every file's name is valid text.
            self.name = Path(name_or_path).stem.encode("utf-8", "replace").decode()
            self.model = f"local/{self.name}@{gguf.fingerprint(self._path)}"
        else:
            entry = catalog.find(self.name_or_path)
            self.chat = entry.chat
            self.name = entry.name
            self.model = f"local/{entry.name}"
        self.options = EngineOptions.read(options, f"The local model {self.name!r}")
        if self.options.chat_template_kwargs and not self.chat:
            raise ConfigurationError(
                f"The local model {self.name!r} has no chat template: leave chat_template_kwargs "
                "out."
            )
        self.model += self.options.label()

    def __deepcopy__(self, memo: dict[int, object]) -> _Engine:
        return self  # a configuration that never changes

    def __reduce__(self) -> tuple[Callable[[EngineState], Self], tuple[EngineState]]:
        return type(self).load_state, (self.dump_state(),)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name_or_path!r})"

    def dump_state(self) -> EngineState:
        """Return the state for `load_state`; a path is kept as given."""
        state: EngineState = {
            "name_or_path": self.name_or_path,
            "threads": self.threads,
            "slots": self.slots,
            "context": self.context,
        }
        if options := self.options.given():
            state["options"] = options
        return state

    @classmethod
    def load_state(cls, state: EngineState) -> Self:
        return cls(
            state["name_or_path"],
            threads=state["threads"],
            slots=state["slots"],
            context=state["context"],
            **state.get("options", {}),
        )

    def as_text(self) -> tuple[LlamaEngine, AsyncLlamaEngine]:
        """Return engines on the same weights that continue text without a chat template.

        `CompletionAdapter` uses them to show few-shot text to a chat model.
        """
        if (engines := self._text_engines.get(False)) is not None:
            return engines
        engines = (
            LlamaEngine.load_state(self.dump_state()),
            AsyncLlamaEngine.load_state(self.dump_state()),
        )
        for engine in engines:
            engine.chat = False
        kept = self._text_engines.setdefault(False, engines)
        if kept is engines and self.options.chat_template_kwargs:  # of many threads, one is first
            logger.warning(
                "An adapter has %s continue a text, without its chat template: "
                "chat_template_kwargs changes nothing there.",
                self.name,
            )
        return kept

    def load(self) -> None:
        """Fetch and load the weights now, not in the first call.

        Raises:
            MissingExtra: xllamacpp is not installed.
            LocalModelError: the weights cannot be fetched, verified or loaded.
        """
        self._server()

    def _settings(self) -> ServerSettings:
        if self._path is None:
            self._path = weights.path(self.name) or weights.fetch(self.name)
        return ServerSettings(self._path, self.slots, self.context, self.threads)

    def _loaded(self) -> LlamaServer | None:
        return loaded(self._settings()) if self._path is not None else None

    def _server(self) -> LlamaServer:
        server = self._loaded()
        if server is not None:
            return server
        try:
            with loading():
                return server_for(self._settings())
        except (LocalModelError, ConfigurationError) as error:
            raise LocalModelCallError(str(error)) from error
        except MissingExtra as error:
            raise MissingExtraInCall(str(error)) from error

    def _submit(self, request: lm15.Request, server: LlamaServer) -> Future[Body]:
        payload, seed = wire.payload_of(request, chat=self.chat, options=self.options)
        return server.submit(payload, seed=seed)


class LlamaEngine(_Engine):
    """The synchronous engine; any number of threads may call it at once."""

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Return one answer.

        Raises:
            lm15.ContextLengthError: prompt and answer do not fit `context`.
            lm15.InvalidRequestError: llama.cpp refuses the request.
            lm15.UnsupportedFeatureError: tools, media, or a setting that llama.cpp cannot honour.
            lm15.ServerError: llama.cpp failed; DSPy tries again.
            LocalModelCallError: the weights cannot be fetched or loaded.
            MissingExtraInCall: xllamacpp is not installed.
        """
        future = self._submit(request, self._server())
        offer(future.cancel)
        try:
            return wire.response_of(future.result(), model=request.model)
        finally:
            future.cancel()  # after Ctrl-C nobody waits for it; no effect on a finished one

    def stream(self, request: lm15.Request) -> Iterator[lm15.StreamEvent]:
        """Yield the answer as stream events, all at its end: it may share a request with others."""
        yield from lm15.response_to_events(self.complete(request))

    def close(self) -> None:
        """Do nothing: the weights belong to the process."""


class AsyncLlamaEngine(_Engine):
    """The asynchronous engine; it blocks neither the event loop nor a thread while it waits."""

    async def complete(self, request: lm15.Request) -> lm15.Response:
        """Return one answer; raises what `LlamaEngine.complete` raises.

        Cancelling the task withdraws this draw alone.
        """
        server = self._loaded()
        if server is None:
            server = await on_thread(loads, self._server, loading)
        answer: asyncio.Future[Body] = asyncio.wrap_future(self._submit(request, server))
        return wire.response_of(await answer, model=request.model)

    async def stream(self, request: lm15.Request) -> AsyncIterator[lm15.StreamEvent]:
        """Yield the answer as stream events, all at its end: it may share a request with others."""
        for event in lm15.response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Do nothing: the weights belong to the process."""


def _check_number(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(
            f"{name} of a local model must be a whole number, {least} or more, not {value!r}."
        )


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
