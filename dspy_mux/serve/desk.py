"""The desk: who may ask, how many at once, for how much; and what becomes of a question."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
import traceback
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

import anyio
import dspy
from dspy.streaming import StatusMessage
from dspy.streaming.messages import StatusStreamingCallback

from ..bank.limits import LimitReached, Share
from ..errors import MuxError
from ..mux.rollout import PoolLM
from ..mux.stream import MuxProgress, MuxStatusMessageProvider
from ..redact import masked
from ..voting.verdict import AllMembersFailed, NotTrusted
from .answer import Answer
from .errors import APIError
from .failures import failure_of
from .health import Health
from .metrics import Metrics
from .models import ServedModel
from .purse import Purse
from .question import Question
from .settings import ServeSettings

logger = logging.getLogger("dspy_mux")

#: Seconds after which a client that found the server busy may ask again.
_BUSY_S = 1


class Desk:
    """What all requests to a server share.

    Args:
        models: what is served, by name.
        settings: the limits.

    Attributes:
        models: replaced as a whole when files are read again.
        under_way: questions that are being answered.
        is_closing: whether the server is being stopped.
    """

    def __init__(self, models: Mapping[str, ServedModel], settings: ServeSettings):
        self.models, self.settings = dict(models), settings
        self.metrics, self.health = Metrics(), Health()
        self.under_way, self.is_closing = 0, False
        self._asked: set[asyncio.Future[Any]] = set()
        self._purse = Purse(settings.max_calls, settings.max_cost, "The server's")
        self._purses = {
            name: Purse(settings.max_calls_per_key, settings.max_cost_per_key, "This key's")
            for name in settings.keys
        }

    def model(self, name: str) -> ServedModel:
        """Return what is served under a name.

        Raises:
            APIError: nothing is.
        """
        if name in self.models:
            return self.models[name]
        raise APIError(
            404,
            f"The model {name[:200]!r} does not exist; GET /v1/models lists those that do.",
            param="model",
            code="model_not_found",
        )

    @contextmanager
    def seat(self) -> Iterator[None]:
        """Hold one of the places for questions.

        Raises:
            APIError: all are taken, or the server is being stopped.
        """
        if self.is_closing:
            raise _stopped()
        if self.under_way >= self.settings.max_concurrency:
            raise APIError(
                429,
                f"The server answers {self.settings.max_concurrency} questions at once; ask again "
                "in a moment.",
                code="too_many_requests",
                retry_after=_BUSY_S,
            )
        self.under_way += 1
        self.metrics.under_way.set(self.under_way)
        try:
            yield
        finally:
            self.under_way -= 1
            self.metrics.under_way.set(self.under_way)

    async def answer(self, question: Question, key: str | None) -> Answer:
        """Answer a question.

        Cancelling it withdraws the draws under way.

        Args:
            key: the name of the key that it came with.

        Raises:
            APIError: there is no answer, or none is paid for.
        """
        name, began = question.model.name, time.perf_counter()
        with ExitStack() as stack:
            purses = [one for one in self._purses_of(key) if one.is_limited]
            shares = [stack.enter_context(one.share(question.model)) for one in purses]
            try:
                decided = await self._decide(question, shares)
            except (LimitReached, Exception) as error:  # noqa: BLE001  (told to the client)
                refused = [one for one, share in zip(purses, shares, strict=True) if share.refused]
                failure = refused[0].spent() if refused else self._failure(error, question)
                ballots = error.ballots if isinstance(error, AllMembersFailed) else []
                self.health.note(name, ballots)
                seconds = time.perf_counter() - began
                self.metrics.failed(name, failure.code, seconds, ballots)
                raise failure from None
        answer = Answer.of(question.model, decided)
        self.health.note(name, answer.verdict.ballots)
        seconds = time.perf_counter() - began
        self.metrics.answered(name, answer.verdict, seconds, kept_back=answer.outputs is None)
        return answer

    async def events(self, question: Question, key: str | None) -> AsyncGenerator[Any, None]:
        """Yield a `MuxProgress`, as a dict, for each draw that settles, then the `Answer`.

        Closing it withdraws the draws under way.

        Raises:
            APIError: see `answer`.
        """
        send, receive = anyio.create_memory_object_stream[Any](math.inf)
        callbacks = [*dspy.settings.callbacks, StatusStreamingCallback(_Events())]

        async def ask() -> Answer:
            with send, dspy.context(send_stream=send, stream_listeners=[], callbacks=callbacks):
                return await self.answer(question, key)

        task = asyncio.ensure_future(ask())
        try:
            with receive:
                async for item in receive:
                    if isinstance(item, StatusMessage):
                        yield json.loads(item.message)
            yield await task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def close(self) -> None:
        """Take no further questions, and end those that are still under way after the grace."""
        self.is_closing = True
        left = self.settings.grace
        while self._asked and left > 0:
            await asyncio.wait(self._asked, timeout=min(left, 0.1))
            left -= 0.1
        for task in self._asked:
            task.cancel()

    async def _decide(
        self, question: Question, shares: Sequence[Share]
    ) -> dspy.Prediction | NotTrusted:
        """Ask the mux.

        Raises:
            APIError: the question took too long, or the server is being stopped.
            Exception: what the mux raises.
        """
        lm = dspy.settings.lm
        if question.seed is not None:
            lm = PoolLM([question.model.name]).copy(rollout_id=question.seed)
        callbacks = [*dspy.settings.callbacks, *shares]
        with dspy.context(lm=lm, callbacks=callbacks, disable_history=True):
            task = asyncio.ensure_future(question.mux.acall(**question.inputs))
        self._asked.add(task)
        try:
            await asyncio.wait([task], timeout=self.settings.deadline)
            if not task.done():
                raise APIError(
                    504,
                    f"There was no answer within {self.settings.deadline:g} s.",
                    code="deadline_exceeded",
                )
            if task.cancelled():
                raise _stopped()
            return await task
        except NotTrusted as kept_back:
            return kept_back
        finally:
            self._asked.discard(task)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    def _purses_of(self, key: str | None) -> list[Purse]:
        return [self._purse] if key is None else [self._purse, self._purses[key]]

    def _failure(self, error: BaseException, question: Question) -> APIError:
        if isinstance(error, APIError):
            return error
        if not isinstance(error, MuxError):  # a bug, whose traceback may show a key
            trace = "".join(traceback.format_exception(error))
            for member in question.mux.members:
                trace = masked(trace, member.lm)
            logger.error("A question to %s failed.\n%s", question.model.name, trace)
        return failure_of(error)


class _Events(MuxStatusMessageProvider):
    """Words a draw's outcome as JSON."""

    def draw_settled_status_message(self, instance: Any, progress: MuxProgress) -> str | None:
        return json.dumps(asdict(progress))

    def tool_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> None:
        return None

    def tool_end_status_message(self, outputs: Any) -> None:
        return None


def _stopped() -> APIError:
    return APIError(503, "The server is being stopped.", code="shutting_down", retry_after=_BUSY_S)
