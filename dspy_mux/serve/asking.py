"""A question that is answered beside the response to it, with what its draws report meanwhile."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import anyio
import dspy
from dspy.streaming import StatusMessage
from dspy.streaming.messages import StatusStreamingCallback

from ..mux.stream import MuxProgress, MuxStatusMessageProvider
from .answer import Answer
from .desk import Desk
from .question import Question

#: Seconds of silence after which `None` is yielded, to keep a connection alive.
_SILENCE_S = 10.0


class Asking:
    """A question under way.

    It holds its place at the desk until it is answered or ended, whether it is read or not.

    Raises:
        APIError: it is not admitted.
    """

    def __init__(self, desk: Desk, question: Question, key: str | None):
        self.question = question
        self._send, self._receive = anyio.create_memory_object_stream[Any](math.inf)
        held = ExitStack()
        ticket = held.enter_context(desk.admitted(question, key))
        callbacks = [*dspy.settings.callbacks, StatusStreamingCallback(_Events())]
        with dspy.context(send_stream=self._send, stream_listeners=[], callbacks=callbacks):
            self._task = asyncio.ensure_future(desk.answer(ticket))
        self._task.add_done_callback(lambda _: held.close())
        self._task.add_done_callback(lambda _: self._send.close())

    async def events(self) -> AsyncGenerator[dict[str, Any] | Answer | None, None]:
        """Yield a `MuxProgress`, as a dict, for each draw that settles, then the `Answer`.

        None after each silence.

        Raises:
            APIError: there is no answer.
        """
        while True:
            with anyio.move_on_after(_SILENCE_S) as silence:
                try:
                    item = await self._receive.receive()
                except anyio.EndOfStream:
                    break
            if silence.cancelled_caught:
                yield None
            elif isinstance(item, StatusMessage):
                yield json.loads(item.message)
        yield await self._task

    async def end(self) -> None:
        """Withdraw what is still under way: nobody reads any more."""
        self._receive.close()
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
        elif not self._task.cancelled():
            self._task.exception()  # seen


class _Events(MuxStatusMessageProvider):
    """Words a draw's outcome as JSON."""

    def draw_settled_status_message(self, instance: Any, progress: MuxProgress) -> str | None:
        return json.dumps(asdict(progress))

    def tool_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> None:
        return None

    def tool_end_status_message(self, outputs: Any) -> None:
        return None
