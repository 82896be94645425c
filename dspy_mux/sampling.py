"""Draws: k samples from each member through a DSPy program, all in flight at once.

A draw runs in a DSPy context of its own: the member's LM with a rollout id (so that draws differ and a re-run is served from DSPy's
cache), the member's adapter, an empty trace, and a meter. Threads and asyncio share everything but the waiting. A draw that fails
or misses its deadline abstains, with the cause; it never stops the others.
"""

from __future__ import annotations

import asyncio
import contextvars
import hashlib
import json
import queue
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any

import dspy
from dspy.utils.usage_tracker import UsageTracker
from pydantic import BaseModel

from .errors import ConfigurationError
from .masking import cause_of
from .members import Member
from .stopping import stops
from .voting import Spent
from .workers import workers

#: The draws around this one, outermost first, when a mux runs inside a mux: (member, rollout id) pairs.
_lineage: ContextVar[tuple[tuple[str, int], ...]] = ContextVar("dspy_mux_lineage", default=())


class _Bill:
    """Stands as a module's `history` in DSPy, and keeps only what the entries cost.

    It looks empty, so that DSPy, which drops old entries from a history of `max_history_size`, never drops one of ours.
    """

    def __init__(self) -> None:
        self.costs: list[float] = []

    def __len__(self) -> int:
        return 0

    def append(self, entry: dict[str, Any]) -> None:
        # An entry without usage was served from the cache: its cost is history, not money spent now.
        if entry["usage"] and entry["cost"] is not None:
            self.costs.append(entry["cost"])


class Meter(UsageTracker):
    """What a draw spends. It stands where DSPy reports to: as usage tracker, as LM callback and as owner of history entries.

    With `dspy.configure(disable_history=True)` DSPy tells nobody what a call cost: the cost is then None, unknown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history = _Bill()
        self.started = self.answered = self.billed = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> Meter:
        return self  # dspy.Parallel copies the tracker for each of its threads; what they spend is this draw's all the same

    def add_usage(self, lm: str, usage_entry: dict[str, Any]) -> None:
        # DSPy calls this for every response that did not come from its cache, also for one that reports no usage.
        self.billed += 1
        super().add_usage(lm, usage_entry)

    def on_lm_start(self, **_: Any) -> None:
        self.started += 1

    def on_lm_end(self, exception: BaseException | None = None, **_: Any) -> None:
        self.answered += exception is None

    def report_to(self, parent: UsageTracker | None) -> None:
        """Hand the usage on to the tracker around the draw; to the meter of an outer mux, the calls as well."""
        if parent is None:
            return
        for lm, entries in list(self.usage_data.items()):
            parent.usage_data[lm].extend(entries)
        if isinstance(parent, Meter):
            parent.started += self.started
            parent.answered += self.answered
            parent.billed += self.billed

    def spent(self) -> Spent:
        """Calls, tokens and cost so far. A call still under way, or failed, counts as made."""
        entries = [entry for lm_entries in list(self.usage_data.values()) for entry in list(lm_entries)]
        billed = max(self.billed, len(entries))
        costs = list(self.history.costs)
        return Spent(
            calls=billed + max(0, self.started - self.answered),
            cached_calls=max(0, self.answered - billed),
            prompt_tokens=sum(entry.get("prompt_tokens") or 0 for entry in entries),
            completion_tokens=sum(entry.get("completion_tokens") or 0 for entry in entries),
            cost=sum(costs) if costs else None,
        )


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

    def __init__(self, member: Member, number: int, program: dspy.Module, adapter: dspy.Adapter, inputs: Mapping[str, Any]):
        self.member, self.number, self.program, self.adapter = member, number, program, adapter
        self.inputs = dict(inputs)
        self.prediction: dspy.Prediction | None = None
        self.trace: list[Any] = []
        self.error: BaseException | None = None
        self.cause: str | None = None
        self.seconds = 0.0
        self._meter = Meter()
        self._abandoned = self._reported = False
        self._stops: list[Callable[[], object]] = []
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

    def fail(self, error: BaseException) -> None:
        self.error, self.cause = error, cause_of(error, self.member.lm)

    def abandon(self, timeout: float) -> None:
        """Give the draw up at its deadline."""
        self.withdraw()
        self.seconds = timeout
        self.cause = f"no answer within {timeout:g} s"

    def withdraw(self) -> None:
        """Nobody waits for it any more: engines that can stop do, and what still comes is dropped (DSPy's cache keeps it)."""
        self._abandoned = True
        self._report()
        for stop in list(self._stops):
            stop()

    def __enter__(self) -> Draw:
        self._began = time.perf_counter()
        self._parent = dspy.settings.usage_tracker
        rollout_id = _first_rollout_id() + self.number
        self._lineage = _lineage.set((*_lineage.get(), (self.member.label, rollout_id)))
        self._stopping = stops.set(self._stops)
        self._context = dspy.context(
            lm=self._lm(rollout_id),
            adapter=self.adapter,
            trace=self.trace,
            usage_tracker=self._meter,
            caller_modules=[*(dspy.settings.caller_modules or []), self._meter],
            send_stream=None,  # draws run side by side: their tokens cannot be one stream
        )
        self._context.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> bool:
        self._context.__exit__(None, None, None)
        _lineage.reset(self._lineage)
        stops.reset(self._stopping)
        self._report()
        if self._abandoned:
            return isinstance(error, Exception)
        self.seconds = time.perf_counter() - self._began
        if not isinstance(error, Exception):
            return False  # nothing went wrong, or the draw was cancelled or interrupted: that is not its own failure
        self.fail(error)
        return True

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
        lm = self.member.lm.copy(**settings)
        lm.callbacks.append(self._meter)
        lm.history = self.member.lm.history  # the user's LM object keeps the whole history
        return lm

    def _accept(self, prediction: Any) -> None:
        if self._abandoned:
            return
        if isinstance(prediction, dspy.Prediction):
            self.prediction = prediction
        else:
            self.cause = f"the program returned {type(prediction).__name__}, not a dspy.Prediction"


def sample(
    draws: Iterable[Draw | None], *, timeout: float | None = None, num_threads: int | None = None
) -> Generator[Draw, None, None]:
    """Run `draws` on threads, all at once or at most `num_threads` at a time; yields each when it has an outcome.

    Args:
        draws: taken as there is room; None says that the next one can only be told when another has settled.
        timeout: seconds that one draw may take; a draw that takes longer abstains.

    Closing the iterator withdraws the draws under way.
    """
    waiting, running = iter(draws), dict[Draw, float]()
    finished: queue.SimpleQueue[Draw] = queue.SimpleQueue()
    more = True

    def work(draw: Draw) -> None:
        try:
            draw.run()
        except BaseException as error:  # noqa: BLE001  (handed to the waiting thread, which raises it)
            draw.fail(error)
        finally:
            finished.put(draw)

    try:
        while more or running:
            while more and (num_threads is None or len(running) < num_threads):
                try:
                    draw = next(waiting)
                except StopIteration:
                    more = False
                    break
                if draw is None:
                    if not running:
                        more = False
                    break
                workers.start(partial(contextvars.copy_context().run, work, draw))
                running[draw] = time.monotonic() + (timeout if timeout is not None else float("inf"))
            if not running:
                continue
            patience = None if timeout is None else max(0.0, min(running.values()) - time.monotonic())
            try:
                settled = [finished.get(timeout=patience)]
            except queue.Empty:
                settled = [draw for draw, deadline in running.items() if deadline <= time.monotonic()]
                for draw in settled:
                    draw.abandon(timeout or 0.0)
            for draw in settled:
                if running.pop(draw, None) is not None:  # an abandoned draw comes in twice
                    yield draw
    finally:
        for draw in running:  # nobody asked for the rest
            draw.withdraw()


async def asample(
    draws: Sequence[Draw],
    *,
    timeout: float | None = None,
    num_threads: int | None = None,
    enough: Callable[[], bool] | None = None,
) -> None:
    """Run `draws` on asyncio tasks, as `sample` does on threads; cancelling it cancels the draws under way.

    `enough` is asked whenever a draw has settled; once it says so, the others are withdrawn.
    """
    gate = asyncio.Semaphore(num_threads or len(draws) or 1)

    async def one(draw: Draw) -> None:
        async with gate:
            try:
                await asyncio.wait_for(draw.arun(), timeout)
            except asyncio.TimeoutError:
                draw.abandon(timeout or 0.0)
            except Exception as error:  # noqa: BLE001  (told as the cause)
                draw.fail(error)

    tasks = [asyncio.ensure_future(one(draw)) for draw in draws]
    try:
        if enough is None:
            await asyncio.gather(*tasks)
        else:
            for task in asyncio.as_completed(tasks):
                await task
                if await asyncio.to_thread(enough):
                    break
    finally:
        for draw, task in zip(draws, tasks, strict=True):
            if not task.done():
                draw.withdraw()
                task.cancel()


def raise_what_is_no_abstention(draws: Sequence[Draw]) -> None:
    """Raise the first error of `draws` that is a mistake in the set-up, or no `Exception` at all."""
    for draw in draws:
        if isinstance(draw.error, ConfigurationError) or not isinstance(draw.error, (Exception, type(None))):
            raise draw.error


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
    question = json.dumps([member.label, sorted(inputs.items())], default=_told_for_a_seed, skipkeys=True)
    return int.from_bytes(hashlib.sha256(question.encode()).digest()[:4], "big")


def _told_for_a_seed(value: Any) -> Any:
    # No repr: a memory address in it would change the seed, and with it the cache key, in every process.
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else type(value).__qualname__


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
