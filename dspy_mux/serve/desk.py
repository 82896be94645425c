"""The desk: who may ask, how many at once, for how much; and what becomes of a question."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import dspy

from ..bank.limits import LimitReached
from ..errors import MuxError
from ..mux.rollout import PoolLM
from ..redact import masked
from ..voting.verdict import AllMembersFailed, NotTrusted
from .answer import Answer
from .door import Door
from .errors import APIError
from .failures import failure_of
from .health import Health
from .metrics import Metrics
from .models import ServedModel
from .purse import Purse, Ticket
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
        self._door = Door()
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
    def admitted(self, question: Question, key: str | None) -> Iterator[Ticket]:
        """Hold one of the places for questions, and a share of the budgets.

        Args:
            key: the name of the key that the question came with.

        Raises:
            APIError: all places are taken, the budget is spent, or the server is being stopped.
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
        ticket = Ticket(question)
        with ExitStack() as stack:
            for purse in self._purses_of(key):
                if purse.is_limited:
                    ticket.shares.append((stack.enter_context(purse.share(ticket)), purse))
            self._count(1)
            stack.callback(self._count, -1)
            yield ticket

    async def answer(self, ticket: Ticket) -> Answer:
        """Answer a question.

        Cancelling it withdraws the draws under way.

        Raises:
            APIError: there is no answer, or none is paid for.
        """
        model, began = ticket.question.model, time.perf_counter()
        try:
            decided = await self._decide(ticket)
        except asyncio.CancelledError:
            spent = ticket.meter.spent()
            self.metrics.failed(model.name, "hung_up", time.perf_counter() - began, spent)
            raise
        except (LimitReached, Exception) as error:  # noqa: BLE001  (told to the client)
            failure = self._failure(error, ticket)
            ballots = error.ballots if isinstance(error, AllMembersFailed) else []
            self.health.note(model.mux_name, ballots)
            seconds, spent = time.perf_counter() - began, ticket.meter.spent()
            self.metrics.failed(model.name, failure.code, seconds, spent, ballots)
            failure.is_counted = True
            raise failure from None
        answer = Answer.of(model, decided)
        ticket.is_answered = True
        self.health.note(model.mux_name, answer.verdict.ballots)
        self.metrics.answered(answer, time.perf_counter() - began)
        return answer

    async def close(self) -> None:
        """Take no further questions, and end those that are still under way after the grace."""
        self.is_closing = True
        left = self.settings.grace
        while self._asked and left > 0:
            await asyncio.wait(self._asked, timeout=min(left, 0.1))
            left -= 0.1
        for task in self._asked:
            task.cancel()

    async def _decide(self, ticket: Ticket) -> dspy.Prediction | NotTrusted:
        """Ask the mux.

        Raises:
            APIError: the question took too long, or the server is being stopped.
            Exception: what the mux raises.
        """
        question, lm = ticket.question, dspy.settings.lm
        if question.seed is not None:
            lm = (lm or PoolLM([question.model.name])).copy(rollout_id=question.seed)
        callbacks = [*dspy.settings.callbacks, *(share for share, _ in ticket.shares)]
        with dspy.context(
            lm=lm,
            callbacks=callbacks,
            usage_tracker=ticket.meter,
            caller_modules=[*(dspy.settings.caller_modules or []), ticket.meter],
            disable_history=True,
        ):
            task = asyncio.ensure_future(self._ask(question))
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

    async def _ask(self, question: Question) -> dspy.Prediction:
        if self.under_way > 1:
            await self._door.enter()
        return await question.mux.acall(**question.inputs)

    def _count(self, by: int) -> None:
        self.under_way += by
        self.metrics.under_way.set(self.under_way)

    def _purses_of(self, key: str | None) -> list[Purse]:
        return [self._purse] if key is None else [self._purse, self._purses[key]]

    def _failure(self, error: BaseException, ticket: Ticket) -> APIError:
        spent = next((purse for share, purse in ticket.shares if share.refused), None)
        if spent is not None:
            return spent.spent()
        if isinstance(error, APIError):
            return error
        if not isinstance(error, MuxError):  # a bug, whose traceback may show a key
            trace = "".join(traceback.format_exception(error))
            for member in ticket.question.mux.members:
                trace = masked(trace, member.lm)
            logger.error("A question to %s failed.\n%s", ticket.question.model.name, trace)
        return failure_of(error)


def _stopped() -> APIError:
    return APIError(503, "The server is being stopped.", code="shutting_down", retry_after=_BUSY_S)
