"""An adapter around another one. DSPy calls adapters in two ways, sync and async; what a wrapper does is written once, for both."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

Completions = list[dict[str, Any]]
#: An adapter and what to call it with: (adapter, lm, lm_kwargs, signature, demos, inputs).
Call = tuple[
    dspy.Adapter,
    dspy.BaseLM,
    dict[str, Any],
    type[dspy.Signature],
    list[dict[str, Any]],
    dict[str, Any],
]
#: Yields calls, is sent their completions or thrown their AdapterParseError, and returns completions.
Exchange = Generator[Call, Completions, Completions]


class WrappingAdapter(dspy.Adapter):
    """An adapter that has another one talk to the model; what it does before and after is its `_exchange`.

    Args:
        inner: the adapter that it wraps.
    """

    def __init__(self, inner: dspy.Adapter):
        super().__init__()
        self.inner = inner

    def _exchange(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> Exchange:
        raise NotImplementedError

    def __call__(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> Completions:
        exchange = self._exchange(lm, lm_kwargs, signature, demos, inputs)
        step: Callable[[], Call] = partial(next, exchange)
        while True:
            try:
                adapter, *asked = step()
            except StopIteration as done:
                return _completions(done)
            try:
                step = partial(exchange.send, adapter(*asked))
            except AdapterParseError as error:
                step = partial(exchange.throw, error)

    async def acall(
        self,
        lm: dspy.BaseLM,
        lm_kwargs: dict[str, Any],
        signature: type[dspy.Signature],
        demos: list[dict[str, Any]],
        inputs: dict[str, Any],
    ) -> Completions:
        exchange = self._exchange(lm, lm_kwargs, signature, demos, inputs)
        step: Callable[[], Call] = partial(next, exchange)
        while True:
            try:
                adapter, *asked = step()
            except StopIteration as done:
                return _completions(done)
            try:
                step = partial(exchange.send, await adapter.acall(*asked))
            except AdapterParseError as error:
                step = partial(exchange.throw, error)

    def format(
        self, signature: type[dspy.Signature], demos: list[dict[str, Any]], inputs: dict[str, Any]
    ) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.inner.format(signature, demos, inputs)
        return messages

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        fields: dict[str, Any] = self.inner.parse(signature, completion)
        return fields


def _completions(done: StopIteration) -> Completions:
    completions: Completions = done.value
    return completions
