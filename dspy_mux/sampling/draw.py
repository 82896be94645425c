"""TODO"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any

import dspy
from dspy.utils.usage_tracker import UsageTracker
from pydantic import BaseModel

from ..errors import ConfigurationError
from ..voting.verdict import Spent
from .abstention import EMPTY, NO_PREDICTION, cause_of
from .deadline import offer, waiting
from .members import Member
from .retry import Calls, NobodyWaits, calls_of
from .threads import workers
from .usage import Meter

#: The draws around this one, outermost first, when a mux runs inside a mux: (member, rollout id) pairs.
_lineage: ContextVar[tuple[tuple[str, int], ...]] = ContextVar("dspy_mux_lineage", default=())


class Draw(AbstractContextManager["Draw"]):
    """One draw of one member: a context to run the program in, and what came of it.

    Attributes:
        member: the member drawn from.
        number: 0 to k − 1.
        inputs: the question's.
        prediction: what the program returned; None where it failed.
        trace: the program's DSPy trace.
        error: what the draw failed with.
        cause: why the draw has no prediction, in a few words; None where it has one.
        seconds: wall time, from start to end or to the deadline.
    """

    def __init__(
        self,
        member: Member,
        number: int,
        program: dspy.Module,
        adapter: dspy.Adapter,
        inputs: Mapping[str, Any],
    ):
        self.member, self.number, self.program, self.adapter = member, number, program, adapter
        self.inputs = dict(inputs)
        self.prediction: dspy.Prediction | None = None
        self.trace: list[Any] = []
        self.error: BaseException | None = None
        self.cause: str | None = None
        self.seconds = 0.0
        self._meter, self._calls = Meter(), Calls()
        self._abandoned = self._reported = False
        self._parent: UsageTracker | None = None

    @property
    def spent(self) -> Spent:
        return self._meter.spent()

    @property
    def settled(self) -> bool:
        """Whether it has an outcome: a prediction, or a cause why there is none."""
        return self.prediction is not None or self.cause is not None

    def run(self) -> None:
        with self:
            self._accept(self.program(**self.inputs))

    async def arun(self) -> None:
        with self:
            if hasattr(type(self.program), "aforward"):
                self._accept(await self.program.acall(**self.inputs))
            else:
                self._accept(await _in_thread(lambda: self.program(**self.inputs)))

    def begin(self, timeout: float | None) -> None:
        """The time that it has runs from now."""
        self._calls.begin(timeout)

    @property
    def deadline(self) -> float:
        """In `time.monotonic()`; infinite where it has none, or has answered: what is made of an answer may take its time."""
        return self._calls.deadline if self.prediction is None else math.inf

    def fail(self, error: BaseException) -> None:
        if not self._abandoned:  # else it has its cause, and may be recorded
            self.error, self.cause = error, cause_of(error, self.member.lm)

    def abandon(self, timeout: float) -> None:
        """Give the draw up at its deadline."""
        self.withdraw()
        self.seconds = timeout
        self.cause = f"no answer within {timeout:g} s"

    def withdraw(self) -> None:
        """Nobody waits for it any more: its calls are stopped, and what still comes is dropped (DSPy's cache keeps it)."""
        self._abandoned = True
        self._report()
        self._calls.end()

    def __enter__(self) -> Draw:
        self._began = time.perf_counter()
        self._parent = dspy.settings.usage_tracker
        rollout_id = _first_rollout_id() + self.number
        self._lineage = _lineage.set((*_lineage.get(), (self.member.label, rollout_id)))
        offer(self.withdraw)  # to the draw around this one
        self._calls.outer = waiting.get()
        self._waiting = waiting.set(self._calls)
        self._context = dspy.context(
            lm=self._lm(rollout_id),
            adapter=self.adapter,
            trace=self.trace,
            usage_tracker=self._meter,
            caller_modules=[*(dspy.settings.caller_modules or []), self._meter],
            send_stream=None,  # draws run side by side: their tokens cannot be one stream
            **self._settings(),
        )
        self._context.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> bool:
        self._context.__exit__(None, None, None)
        _lineage.reset(self._lineage)
        waiting.reset(self._waiting)
        self._report()
        if self._abandoned:
            return isinstance(error, (Exception, NobodyWaits))
        self.seconds = time.perf_counter() - self._began
        if not isinstance(error, Exception):
            return False  # nothing went wrong, or the draw was cancelled or interrupted: that is not its own failure
        self.fail(error)
        return True

    def _settings(self) -> dict[str, Any]:
        """Further DSPy settings that it runs under."""
        return {}

    def _report(self) -> None:
        # Once, when the draw is settled: a late thread must not change a verdict that is out.
        if not self._reported:
            self._reported = True
            self._meter.report_to(self._parent)

    def _lm(self, rollout_id: int) -> dspy.BaseLM:
        # At temperature 0 there is but one draw: DSPy warns of a rollout there.
        settings: dict[str, Any] = {
            "rollout_id": rollout_id if self.member.temperature else None,
            "temperature": self.member.temperature,
        }
        if getattr(getattr(self.member.lm, "engine", None), "seeded_draws", False):
            settings["seed"] = (_first_seed(self.member, self.inputs) + rollout_id) % 2**31
        lm = calls_of(self.member.lm.copy(**settings), self._calls)
        lm.callbacks.append(self._meter)
        lm.history = self.member.lm.history  # the user's LM object keeps the whole history
        return lm

    def _accept(self, prediction: Any) -> None:
        if self._abandoned:
            return
        if isinstance(prediction, dspy.Prediction) and not prediction.keys():
            self.cause = EMPTY  # DSPy's parsers make this of a response without choices
        elif isinstance(prediction, dspy.Prediction):
            self.prediction = prediction
        else:
            self.cause = f"{NO_PREDICTION} {type(prediction).__name__}, not a dspy.Prediction"


def raise_what_is_no_abstention(draws: Sequence[Draw]) -> None:
    """Raise the first error of `draws` that is a mistake in the set-up, or no `Exception` at all."""
    for draw in draws:
        mistake = mistake_of(draw)
        if mistake is not None:
            raise mistake


def mistake_of(draw: Draw) -> BaseException | None:
    """The error of a draw, where it is a mistake in the set-up or no `Exception` at all."""
    own = isinstance(draw.error, ConfigurationError) or not isinstance(
        draw.error, (Exception, type(None))
    )
    return draw.error if own else None


def _first_rollout_id() -> int:
    """0, unless a rollout is already under way around this mux: then a number that no other rollout arrives at.

    So k draws share their cache entries with the first k of more draws, a mux inside a mux draws anew in every outer draw, and an
    optimizer that asks for a fresh rollout gets one.
    """
    outer: Any = _lineage.get() or getattr(dspy.settings.lm, "kwargs", {}).get("rollout_id")
    if outer is None or outer == ():
        return 0
    return int.from_bytes(hashlib.sha256(repr(outer).encode()).digest()[:6], "big")


def _first_seed(member: Member, inputs: Mapping[str, Any]) -> int:
    """The seed of a question's first draw by a member; its other draws have the next ones.

    The same seed for every question would be the same luck for every question: a draw that is far out once is so each time.
    """
    question = json.dumps(
        [member.label, sorted(inputs.items())], default=_told_for_a_seed, skipkeys=True
    )
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big")


def _told_for_a_seed(value: Any) -> Any:
    # No repr: a memory address in it would change the seed, and with it the cache key, in every process.
    return (
        value.model_dump(mode="json") if isinstance(value, BaseModel) else type(value).__qualname__
    )


async def _in_thread(call: Callable[[], Any]) -> Any:
    """`call` on a daemon thread of its own (asyncio's default pool is too small for k draws of each member)."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result(result) if error is None else future.set_exception(error)

    def work() -> None:
        try:
            outcome: tuple[Any, BaseException | None] = (call(), None)
        except BaseException as error:  # noqa: BLE001  (raised where the future is awaited)
            outcome = (None, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *outcome)

    workers.start(partial(contextvars.copy_context().run, work))
    return await future
