"""Bases of adapters: calls written once for sync and async, and an adapter around another one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import dspy
from dspy.utils.exceptions import AdapterParseError

from .markers import ShownText, without_markers

#: Values of a signature's fields: a question, a demo, or one response.
Fields = dict[str, Any]
#: One turn of a chat, as DSPy sends it.
Message = dict[str, Any]


class AdapterCall(NamedTuple):
    """What DSPy calls an adapter with."""

    lm: dspy.BaseLM
    lm_kwargs: dict[str, Any]
    signature: type[dspy.Signature]
    demos: list[Fields]
    inputs: Fields


#: Yields an adapter and what to call it with, is sent what it returns or thrown its
#: AdapterParseError, and returns the fields of each response.
Exchange = Generator[tuple[dspy.Adapter, AdapterCall], list[Fields], list[Fields]]


class ExchangeMixin:
    """Makes an adapter's calls, sync and async, of one generator: its `_exchange`.

    By itself it calls the adapter's next class with what `_prepare` returns.
    """

    def _exchange(self, call: AdapterCall) -> Exchange:
        return (yield self._talker(), self._prepare(call))

    def _prepare(self, call: AdapterCall) -> AdapterCall:
        """Return what to call the model with instead."""
        return call

    def _talker(self) -> dspy.Adapter:
        """Return the adapter that talks to the model."""
        return super()

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[Fields],
        inputs: Fields,
    ) -> list[Fields]:
        steps = _Steps(self._exchange(AdapterCall(lm, lm_kwargs, signature, demos, inputs)))
        while (step := steps.next()) is not None:
            adapter, call = step
            with steps.parse_errors():
                steps.reply(adapter.__call__(*call))
        return steps.fields

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[Fields],
        inputs: Fields,
    ) -> list[Fields]:
        steps = _Steps(self._exchange(AdapterCall(lm, lm_kwargs, signature, demos, inputs)))
        while (step := steps.next()) is not None:
            adapter, call = step
            with steps.parse_errors():
                steps.reply(await adapter.acall(*call))
        return steps.fields


class _Steps:
    """An exchange under way.

    Attributes:
        fields: what it returned, once there is no next step.
    """

    fields: list[Fields]

    def __init__(self, exchange: Exchange):
        self._exchange = exchange
        self._resume: Callable[[], tuple[dspy.Adapter, AdapterCall]] = partial(next, exchange)

    def next(self) -> tuple[dspy.Adapter, AdapterCall] | None:
        """Return the next call to make; None at the end."""
        try:
            return self._resume()
        except StopIteration as end:
            self.fields = end.value
            return None

    def reply(self, fields: list[Fields]) -> None:
        self._resume = partial(self._exchange.send, fields)

    @contextmanager
    def parse_errors(self) -> Iterator[None]:
        """Hand an AdapterParseError of the block to the exchange."""
        try:
            yield
        except AdapterParseError as error:
            self._resume = partial(self._exchange.throw, error)


class WrappingAdapter(ExchangeMixin, dspy.Adapter):
    """An adapter around another one, which talks to the model.

    Whatever else a module asks of it, it asks of the inner one: ReAct formats its trajectory by
    the configured adapter's `format_user_message_content`, others read its settings or callbacks.
    It keeps nothing of a call, so that draws at the same time can share it.

    Args:
        inner: the adapter that it wraps.
    """

    def __init__(self, inner: dspy.Adapter):
        # Not DSPy's own `__init__`: its settings would hide those of the inner adapter.
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        if name == "inner" or name.startswith("__"):  # a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self.inner, name)

    def format(
        self, signature: type[dspy.Signature], demos: list[Fields], inputs: Fields
    ) -> list[Message]:
        signature, inputs = self._show(signature, inputs)
        messages: list[Message] = self.inner.format(signature, demos, inputs)
        return messages

    def parse(self, signature: type[dspy.Signature], completion: str) -> Fields:
        fields: Fields = self.inner.parse(signature, completion)
        return fields

    def _show(
        self, signature: type[dspy.Signature], inputs: Fields
    ) -> tuple[type[dspy.Signature], Fields]:
        """Return the signature and the inputs that the model is shown instead."""
        return signature, inputs

    def _prepare(self, call: AdapterCall) -> AdapterCall:
        signature, inputs = self._show(call.signature, call.inputs)
        return call._replace(signature=signature, inputs=inputs)

    def _talker(self) -> dspy.Adapter:
        return self.inner


def _forwarded(name: str) -> Callable[..., Any]:
    def method(self: WrappingAdapter, *args: Any, **settings: Any) -> Any:
        return getattr(self.inner, name)(*args, **settings)

    method.__name__ = name
    method.__qualname__ = f"WrappingAdapter.{name}"
    return method


# What `dspy.Adapter` defines would otherwise be found there, before the inner adapter is asked.
for _name, _method in vars(dspy.Adapter).items():
    if not _name.startswith("__") and getattr(WrappingAdapter, _name) is _method:
        setattr(WrappingAdapter, _name, _forwarded(_name))


class MemberAdapter(WrappingAdapter):
    """The adapter that a member's program finds configured.

    Modules that change it build a subclass without arguments, as `dspy.Refine` does to add its
    hint to every prompt: such a one is wrapped around the adapter that is configured then.
    """

    def __init__(self, inner: dspy.Adapter | None = None):
        super().__init__(inner or dspy.settings.adapter or dspy.ChatAdapter())

    def format_user_message_content(
        self, signature: type[dspy.Signature], inputs: Fields, *more: Any, **settings: Any
    ) -> str:
        """Show fields, such as ReAct's trajectory, for a module that makes them one input."""
        shown = {name: without_markers(value) for name, value in inputs.items()}
        return ShownText(
            self.inner.format_user_message_content(signature, shown, *more, **settings)
        )
