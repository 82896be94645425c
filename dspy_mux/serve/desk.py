"""The desk: who may ask, how many at once, for how much; and what becomes of a question."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

import anyio
import dspy
from dspy.streaming import StatusMessage
from dspy.streaming.messages import StatusStreamingCallback

from ..bank.limits import Budget, LimitReached, Share
from ..errors import ConfigurationError
from ..mux.rollout import PoolLM
from ..mux.stream import MuxProgress, MuxStatusMessageProvider
from ..voting.verdict import AllMembersFailed, NotTrusted
from .errors import APIError
from .failures import failure_of
from .metrics import Metrics
from .models import ServedModel
from .question import Question
from .settings import ServeSettings

#: Seconds after which a client that found the server busy may ask again.
_BUSY_S = 1


class Desk:
    """What all requests to a server share.

    Args:
        models: what is served, by name; replaced as a whole when files are read again.
        settings: the limits.
    """

    def __init__(self, models: Mapping[str, ServedModel], settings: ServeSettings):
        self.models, self.settings = dict(models), settings
        self.metrics = Metrics()
        self.under_way = 0
        self.draining = False
        self._process = _Purse(settings.max_calls, settings.max_cost, "The server's")
        self._keys = {
            name: _Purse(settings.max_calls_per_key, settings.max_cost_per_key, "This key's")
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
        if self.draining:
            raise APIError(
                503, "The server is being stopped.", code="shutting_down", retry_after=_BUSY_S
            )
        if self.under_way >= self.settings.max_concurrency:
            self.metrics.refused("concurrency")
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

    async def answer(self, question: Question, key: str | None) -> dspy.Prediction:
        """Return a question's prediction, with its verdict.

        Cancelling it withdraws the draws under way.

        Raises:
            APIError: there is no answer, or none is paid for.
        """
        with self.metrics.question(question.model) as outcome, ExitStack() as spent:
            shares = [
                spent.enter_context(purse.opened(question.model))
                for purse in (self._process, *([self._keys[key]] if key in self._keys else ()))
            ]
            lm = dspy.settings.lm
            if question.seed is not None:
                lm = PoolLM([question.model.name]).copy(rollout_id=question.seed, temperature=1.0)
            callbacks = [*dspy.settings.callbacks, *filter(None, shares)]
            try:
                with dspy.context(lm=lm, callbacks=callbacks):
                    prediction = await asyncio.wait_for(
                        question.mux.acall(**question.inputs), self.settings.deadline
                    )
            except asyncio.TimeoutError as error:
                raise outcome.failed(_too_late(self.settings.deadline)) from error
            except (AllMembersFailed, NotTrusted, ConfigurationError, LimitReached) as error:
                refused = next((share for share in shares if share and share.refused), None)
                if refused is not None:
                    raise outcome.failed(spent_up(self._purse_of(refused).whose)) from error
                raise outcome.failed(failure_of(error)) from error
            outcome.answered(prediction.verdict)
            return prediction

    async def events(self, question: Question, key: str | None) -> AsyncGenerator[Any, None]:
        """Yield a `MuxProgress` as a dict for each draw that settles, then the prediction.

        Closing it withdraws the draws under way.

        Raises:
            APIError: see `answer`.
        """
        send, receive = anyio.create_memory_object_stream[Any](math.inf)
        callbacks = [*dspy.settings.callbacks, StatusStreamingCallback(_Events())]

        async def ask() -> dspy.Prediction:
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

    def _purse_of(self, share: Share) -> _Purse:
        purses = [self._process, *self._keys.values()]
        return next(purse for purse in purses if purse.budget is share.budget)


class _Events(MuxStatusMessageProvider):
    """Sends a draw's outcome as JSON."""

    def draw_settled_status_message(self, instance: Any, progress: MuxProgress) -> str | None:
        return json.dumps(asdict(progress))

    def tool_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> None:
        return None

    def tool_end_status_message(self, outputs: Any) -> None:
        return None


class _Purse:
    """A budget, of the process or of a key, that questions take a share of."""

    def __init__(self, max_calls: int | None, max_cost: float | None, whose: str):
        self.whose = whose
        self.budget = Budget(max_calls, max_cost, {})

    @contextmanager
    def opened(self, model: ServedModel) -> Iterator[Share | None]:
        """Yield a question's share; None where nothing is limited.

        Raises:
            APIError: too little is left.
        """
        if self.budget.max_calls is None and self.budget.max_cost is None:
            yield None
            return
        self.budget.expect(model.name, model.draws)
        share = self.budget.share(model.name)
        if share is None and self.budget.stopped is None:  # others have reserved what is left
            raise APIError(
                429,
                f"{self.whose} budget is reserved by questions under way; ask again in a moment.",
                code="budget_reserved",
                retry_after=_BUSY_S,
            )
        if share is None:
            raise spent_up(self.whose)
        try:
            yield share
        finally:
            self.budget.settled(share, answered=share.calls > 0 and not share.refused)


def spent_up(whose: str) -> APIError:
    return APIError(
        429, f"{whose} budget is spent, or too little of it is left.", code="insufficient_quota"
    )


def _too_late(deadline: float) -> APIError:
    return APIError(504, f"There was no answer within {deadline:g} s.", code="deadline_exceeded")
