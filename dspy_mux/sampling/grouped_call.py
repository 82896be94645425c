"""Ask servers for several choices, where DSPy's engines are about to send a draw's first call.

DSPy has no door for this: its own client refuses `n`, and its LMs send one request a choice. So the
engines that DSPy makes for a draw's LM become instances of a subclass each, and LiteLLM's calls
pass through a function of ours; both change nothing but the first calls of draws in a group.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakSet

import dspy
from dspy.clients import lm as dspy_lm
from dspy.clients.engines.lm15_engine import AsyncLM15Engine, LM15Engine
from dspy.clients.execution import IGNORED_CACHE_KEYS, prepare
from dspy.lm15 import OpenAIChatLM, Request, Response

from .abstention import describe_error
from .auto import Auto
from .choices import bill_of, merged, split_body, split_model_response, text_of
from .claimant import Claimant
from .group import DrawGroup
from .group_limits import server_limits
from .usage import server_of

#: Whether draws share a request; "auto" where their server is not known to refuse that.
Group: TypeAlias = Auto

#: Providers whose servers give one choice, whatever they are asked for.
ONE_CHOICE = frozenset({"anthropic", "groq", "ollama", "ollama_chat"})


class FirstCall:
    """The first call of a draw in a group.

    Args:
        lm: the draw's own.
        arguments, settings: of the call.
        asynchronous: whether it is awaited; DSPy's cache keeps both kinds apart.
    """

    def __init__(
        self,
        group: DrawGroup,
        asker: Claimant,
        lm: dspy.BaseLM,
        arguments: tuple[Any, ...],
        settings: dict[str, Any],
        *,
        asynchronous: bool,
    ):
        self.group, self.asker = group, asker
        self._lm, self._arguments, self._settings = lm, arguments, settings
        self._asynchronous = asynchronous
        self.content: object = None
        self.server = server_of(lm)
        asked = {**lm.kwargs, **settings}
        self.temperature: float | None = asked.get("temperature")
        self.rollout_id: object = asked.get("rollout_id")
        self._key: dict[str, Any] | None = None

    @property
    def may_be_cached(self) -> bool:
        return bool(self._settings.get("cache", self._lm.cache))

    def is_cached(self, asker: Claimant) -> bool:
        """Return whether another draw's call will be answered by DSPy's cache."""
        if not self.may_be_cached:
            return False
        if self._key is None:
            prompt = self._arguments[0] if self._arguments else self._settings.get("prompt")
            rest = {
                name: value
                for name, value in self._settings.items()
                if name not in ("prompt", "messages")
            }
            call = prepare(self._lm, prompt, self._settings.get("messages"), rest)
            self._key = call.key(self._lm, self._asynchronous)
        rollout = self._key.get("rollout_id")
        if rollout is None:
            return True  # it makes no difference, so there is one reply for all
        other = {**self._key, "rollout_id": rollout - self.asker.number + asker.number}
        key = dspy.cache.cache_key(other, IGNORED_CACHE_KEYS)
        return key in dspy.cache

    def text_of(self, choice: Any) -> str:
        return text_of(choice)

    def describe(self, error: Exception) -> str:
        return describe_error(error, self._lm)

    def merged(self, choices: Sequence[Any]) -> Any:
        return merged(choices)

    def bill(self, choice: Any) -> tuple[str, dict[str, Any], float | None]:
        return str(self._lm.model), *bill_of(self._lm, choice)

    def further(self) -> bool:
        return self.group.further(self.asker)


def may_group(lm: dspy.BaseLM, group: Group) -> bool:
    """Return whether draws of an LM may share a request.

    Args:
        group: as `Member` takes it.
    """
    if group is False or not isinstance(getattr(lm, "engine", None), str):
        return False  # an engine of the user's own sends what it likes
    if lm.model_type != "chat" or type(lm).forward is not dspy.LM.forward:
        return False
    if group is True:
        return True
    provider = lm.model.partition("/")[0]
    known = provider in ONE_CHOICE or dspy_lm._is_openai_reasoning_model(lm.model)
    return not known and server_limits.most(server_of(lm)) != 1


#: Programs whose draws do not begin with the same prompt.
_differing: WeakSet[dspy.Module] = WeakSet()


def group_of(program: dspy.Module, size: int) -> DrawGroup | None:
    """Return a group for draws of a program; None where its draws are known to ask differently."""
    if size < 2 or program in _differing:
        return None
    return DrawGroup(size, partial(_differing.add, program))


_first_call: ContextVar[FirstCall | None] = ContextVar("dspy_mux_first_call", default=None)


@contextmanager
def grouped(call: FirstCall | None) -> Iterator[None]:
    """Have the block's call take a choice of its group's request."""
    if call is None:
        yield
        return
    before = _first_call.set(call)
    try:
        yield
    finally:
        _first_call.reset(before)
        call.group.leave(call.asker)


def first_asker() -> Claimant | None:
    """Return the draw whose first call is around this code."""
    call = _first_call.get()
    return None if call is None else call.asker


def _grouped_call() -> FirstCall | None:
    """Return the first call around this code, if its server may give it a choice of several."""
    call = _first_call.get()
    return None if call is None or server_limits.most(call.server) == 1 else call


class GroupedEngine(LM15Engine):
    """DSPy's own client, sync."""

    def complete(self, request: Request) -> Response:
        call = _grouped_call()
        if call is None:
            return super().complete(request)
        call.content = (id(self), request)

        def send(n: int) -> Sequence[Response]:
            if n == 1:
                return [LM15Engine.complete(self, request)]
            provider, routed = self._target(request)
            if not _takes_n(provider, routed):
                return [provider.complete(routed)]
            sent, adaptations = provider._build(_with_n(routed, n), stream=False)
            reply = provider._send(sent)
            return _responses(provider, routed, reply, n, adaptations)

        return call.group.ask(call, send)


class AsyncGroupedEngine(AsyncLM15Engine):
    """DSPy's own client, async."""

    async def complete(self, request: Request) -> Response:
        call = _grouped_call()
        if call is None:
            return await super().complete(request)
        call.content = (id(self), request)

        async def send(n: int) -> Sequence[Response]:
            if n == 1:
                return [await AsyncLM15Engine.complete(self, request)]
            provider, routed = await asyncio.to_thread(self._target, request)
            inner = provider._inner
            if not _takes_n(inner, routed):
                return [await provider.complete(routed)]
            sent, adaptations = await provider._build(
                inner._build, _with_n(routed, n), stream=False, policy=provider.adaptations
            )
            reply = await provider._send(sent)
            return _responses(inner, routed, reply, n, adaptations, policy=provider.adaptations)

        return await call.group.aask(call, send)


def _takes_n(provider: Any, request: Request) -> bool:
    return isinstance(provider, OpenAIChatLM) and not provider._judgments_via_token_scoring(request)


def _with_n(request: Request, n: int) -> Request:
    extensions = {**(request.config.extensions or {}), "n": n}
    return replace(request, config=replace(request.config, extensions=extensions))


def _responses(
    provider: Any, request: Request, reply: Any, n: int, adaptations: Any, *, policy: Any = None
) -> list[Response]:
    """Return the choices of a reply, each as the reply to a request of its own.

    Raises:
        lm15.ProviderError: what the server refused it with.
    """
    if reply.status >= 400:
        raise provider._http_error(reply)
    return [
        provider._finish_response(
            request, provider.parse_response(request, one), adaptations, policy=policy
        )
        for one in split_body(reply, n)
    ]


_GROUPED: dict[type, type] = {LM15Engine: GroupedEngine, AsyncLM15Engine: AsyncGroupedEngine}


class GroupedEngines(MutableMapping[Any, Any]):
    """The engines that DSPy keeps for an LM and its copies, as ones that know of groups."""

    def __init__(self, engines: MutableMapping[Any, Any]):
        self._engines = engines

    def __getitem__(self, key: Any) -> Any:
        return _knowing(self._engines[key])

    def __setitem__(self, key: Any, engine: Any) -> None:
        self._engines[key] = _knowing(engine)

    def __delitem__(self, key: Any) -> None:
        del self._engines[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)


def _knowing(engine: Any) -> Any:
    kind = _GROUPED.get(type(engine))
    if kind is not None:
        engine.__class__ = kind
    return engine


def _through_litellm(complete: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(complete)
    def completion(request: dict[str, Any], *args: Any, **more: Any) -> Any:
        call = _litellm_call(request)
        if call is None:
            return complete(request, *args, **more)
        return call.group.ask(
            call,
            lambda n: split_model_response(complete(_asking(request, n), *args, **more), n),
        )

    return completion


def _through_async_litellm(complete: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(complete)
    async def acompletion(request: dict[str, Any], *args: Any, **more: Any) -> Any:
        call = _litellm_call(request)
        if call is None:
            return await complete(request, *args, **more)

        async def send(n: int) -> Sequence[Any]:
            return split_model_response(await complete(_asking(request, n), *args, **more), n)

        return await call.group.aask(call, send)

    return acompletion


def _asking(request: dict[str, Any], n: int) -> dict[str, Any]:
    return request if n == 1 else {**request, "n": n}


def _litellm_call(request: dict[str, Any]) -> FirstCall | None:
    call = _grouped_call()
    if call is None or request.get("rollout_id") != call.rollout_id:  # a callback's own call
        return None
    from dspy.clients._litellm import get_litellm

    taken = get_litellm(feature="dspy.LM").get_supported_openai_params(request["model"]) or ()
    if "n" not in taken:
        server_limits.limit(call.server, 1, "LiteLLM passes it no n")
        return None
    call.content = {name: value for name, value in request.items() if name != "rollout_id"}
    return call


if not getattr(dspy_lm, "_dspy_mux_groups", False):
    dspy_lm.litellm_completion = _through_litellm(dspy_lm.litellm_completion)
    dspy_lm.alitellm_completion = _through_async_litellm(dspy_lm.alitellm_completion)
    dspy_lm._dspy_mux_groups = True
