"""One draw: the context that a member's program runs in, and what came of it."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, Literal, TypeAlias

import dspy
from dspy.utils.usage_tracker import UsageTracker

from ..adapters.readings import Reading, current_readings
from ..adapters.wrap import MemberAdapter
from ..errors import ConfigurationError, MissingExtra
from ..voting.evidence import Evidence
from ..voting.verdict_parts import Spent
from .abstention import describe_error
from .blame import is_mistake
from .causes import EMPTY, NO_PREDICTION
from .deadline import current_deadline, offer
from .group import HEAD_START_S, DrawGroup
from .inputs import inputs_taken
from .logprobs import ask_or_not
from .members import Member
from .model_list import remember
from .notices import warn_of_abstention
from .offload import on_thread
from .replies import evidence_of
from .retry import DrawCalls, DrawOver, join_draw
from .rollouts import first_rollout_id, first_seed, lineage
from .spans import traced
from .thread_limit import NoThread, draw_threads
from .usage import DrawMeter

remember()

#: What becomes of an exception in the user's own program: it is raised, or the draw abstains.
OnError: TypeAlias = Literal["raise", "abstain"]


class Draw(AbstractContextManager["Draw"]):
    """One draw of one member for one question.

    Attributes:
        member: the member drawn from.
        number: 0 to k − 1.
        inputs: the question's; the program is given those that it takes.
        prediction: what the program returned; None where it failed.
        trace: the program's DSPy trace.
        on_error: what becomes of an exception that is the program's own.
        fault: returns why a prediction has no usable answer, None where it has one.
        error: what the draw failed with.
        cause: why the draw has no prediction, in a few words; None where it has one.
        seconds: wall time, from start to end or to the deadline.
        evidence: what the server reported beside the text, once the draw has settled; None where
            nothing is known.

    >>> lm = dspy.utils.DummyLM([{"answer": "4"}])
    >>> program, adapter = dspy.Predict("question -> answer"), dspy.ChatAdapter()
    >>> draw = Draw(Member(lm, temperature=0.0), 0, program, adapter, {"question": "2 + 2?"})
    >>> draw.run()
    >>> draw.prediction.answer, draw.spent.calls
    ('4', 1)
    """

    def __init__(
        self,
        member: Member,
        number: int,
        program: dspy.Module,
        adapter: dspy.Adapter,
        inputs: Mapping[str, Any],
        on_error: OnError = "raise",
        fault: Callable[[dspy.Prediction], str | None] | None = None,
    ):
        self.on_error, self.fault = on_error, fault
        self.member, self.number, self.program, self.adapter = member, number, program, adapter
        self.inputs = dict(inputs)
        self.prediction: dspy.Prediction | None = None
        self.trace: list[tuple[dspy.Module, dict[str, Any], dspy.Prediction]] = []
        self.error: BaseException | None = None
        self.cause: str | None = None
        self.seconds = 0.0
        self.evidence: Evidence | None = None
        self._meter, self._calls = DrawMeter(), DrawCalls()
        self._readings: list[Reading] = []
        self._abandoned = self._reported = False
        self._parent: UsageTracker | None = None

    @property
    def spent(self) -> Spent:
        """Calls, tokens and cost so far."""
        spent, (shared, unclaimed) = self._meter.spent(), self._shared_calls()
        calls = spent.calls + unclaimed
        return spent.model_copy(update={"calls": calls, "shared_calls": min(shared, calls)})

    @property
    def settled(self) -> bool:
        """Whether the draw has an outcome: a prediction, or a cause why there is none."""
        return self.prediction is not None or self.cause is not None

    @property
    def withdrawn(self) -> bool:
        """Whether nobody waits for the draw any more."""
        return self._abandoned

    def join(self, group: DrawGroup) -> None:
        """Share the request of the first call with other draws."""
        self._calls.group, self._calls.number = group, self.number

    @property
    def group(self) -> DrawGroup | None:
        """The draws that may share a request with this one."""
        return self._calls.group

    def run(self) -> None:
        head = self._calls.head_start()
        if head is not None:
            wait([head], HEAD_START_S)
        with self:
            self._accept(self.program(**inputs_taken(self.program, self.inputs)))

    async def arun(self) -> None:
        self._calls.loop = asyncio.get_running_loop()
        head = self._calls.head_start()
        if head is not None:
            await asyncio.wait([asyncio.wrap_future(head)], timeout=HEAD_START_S)
        await self._calls.turn()
        with self:
            if has_async_form(type(self.program)):
                inputs = inputs_taken(self.program, self.inputs, "aforward")
                self._accept(await self.program.acall(**inputs))
            else:
                inputs = inputs_taken(self.program, self.inputs)
                self._accept(await self._on_thread(inputs))

    def begin(self, timeout: float | None) -> None:
        """Start the clock."""
        self.expect()
        self._calls.begin(timeout)

    def expect(self) -> None:
        """Count the draw among those that will ask, from now on."""
        self._parent = dspy.settings.usage_tracker  # it may be withdrawn before it runs
        around = current_deadline.get()
        if isinstance(around, DrawCalls) and self._calls.spender is None:
            self._calls.spender = around.spender
        if self.group is not None:
            self.group.expect(self._calls)

    @property
    def deadline(self) -> float:
        """The deadline in `time.monotonic()`; infinite without one, or once the draw has answered.

        What is made of an answer may take its time.
        """
        return self._calls.at if self.prediction is None else math.inf

    def fail(self, error: BaseException) -> None:
        """Note an error as the outcome."""
        self._leave_group()
        if not self._abandoned:  # an abandoned draw has its cause, which may be recorded by now
            self.error = error
            self._weigh(None)
            self.abstain(describe_error(error, self.member.lm))

    def abstain(self, cause: str) -> None:
        """Note why the draw has no answer, and log it unless it is a mistake to raise."""
        self.cause = cause
        if find_mistake(self) is None:
            warn_of_abstention(self.member, cause)

    def abandon(self, timeout: float) -> None:
        """Give the draw up at its deadline."""
        self._abandoned = True
        self.seconds = timeout
        self.abstain(f"no answer within {timeout:g} s")
        self.withdraw()

    def withdraw(self) -> None:
        """Stop the draw: nobody waits for it any more.

        What still arrives is dropped here, and kept by DSPy's cache.
        """
        self._abandoned = True
        self._leave_group()  # the report says whose request it waited for
        self._report()
        self._calls.end()

    def __enter__(self) -> Draw:
        self._began = time.perf_counter()
        self._parent = dspy.settings.usage_tracker
        rollout_id = first_rollout_id() + self.number
        self._lineage = lineage.set((*lineage.get(), (self.member.label, rollout_id)))
        offer(self.withdraw)  # to the draw around this one
        self._calls.outer = current_deadline.get()
        self._outer_deadline = current_deadline.set(self._calls)
        self._calls.keeps_history = not dspy.settings.disable_history
        lm = self._lm(rollout_id)
        # A program may ask by itself for log-probabilities, call by call.
        self._outer_readings = current_readings.set(self._readings)
        self._context = dspy.context(
            disable_history=False,  # of all DSPy reports, it alone says that a reply was cut off
            lm=lm,
            adapter=MemberAdapter(self.adapter),
            trace=self.trace,
            usage_tracker=self._meter,
            caller_modules=[*(dspy.settings.caller_modules or []), self._meter],
            send_stream=None,  # draws run side by side: their tokens cannot be one stream
            **traced(self._settings(), self.program, self._describe),
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
        self._leave_group()
        lineage.reset(self._lineage)
        current_deadline.reset(self._outer_deadline)
        current_readings.reset(self._outer_readings)
        self._report()
        if self._abandoned:
            return isinstance(error, (Exception, DrawOver))
        self.seconds = time.perf_counter() - self._began
        if not isinstance(error, Exception):
            return False  # no error; or a cancellation or an interrupt, which is not the draw's own
        self.fail(error)
        return True

    async def _on_thread(self, inputs: Mapping[str, Any]) -> object:
        """Run a program without an async form; k draws of each member need more than a few."""
        call = partial(self.program, **inputs)
        return await on_thread(draw_threads, call, self._calls.paused)

    def _leave_group(self) -> None:
        """Take no choice any more."""
        self._calls.leave_group()
        self._calls.settle(self._meter)

    def _settings(self) -> dict[str, Any]:
        """Return further DSPy settings to run under."""
        return {}

    def _report(self) -> None:
        # Once, when the draw is settled: a late thread must not change a verdict that is out.
        if not self._reported:
            self._reported = True
            self._meter.report_to(self._parent, *self._shared_calls())

    def _shared_calls(self) -> tuple[int, int]:
        """Return how many calls were shared, and how many of these no draw made.

        Draws within this one are counted.
        """
        unclaimed = self._calls.unclaimed + self._meter.unclaimed
        return self._calls.shared + self._calls.unclaimed + self._meter.shared, unclaimed

    def _lm(self, rollout_id: int) -> dspy.BaseLM:
        # At temperature 0 all draws are one: DSPy warns of a rollout there.
        settings: dict[str, float | int | None] = {
            "rollout_id": rollout_id if self.member.temperature else None,
            "temperature": self.member.temperature,
        }
        if getattr(getattr(self.member.lm, "engine", None), "seeded_draws", False):
            settings["seed"] = (first_seed(self.member, self.inputs) + rollout_id) % 2**31
        lm = join_draw(self.member.lm.copy(**settings), self._calls)
        if self.member.logprobs is True:
            ask_or_not(lm)
        lm.callbacks.append(self._meter)
        lm.history = self.member.lm.history  # the user's LM object keeps the whole history
        return lm

    def _describe(
        self, returned: object, error: BaseException | None
    ) -> dict[str, str | int | bool]:
        """Return what to note on the span of the program's call, as `spans` lists it."""
        described: dict[str, str | int | bool] = {
            "member": self.member.label,
            "draw": self.number,
        }
        cause = self._cause_of(returned, error)
        if cause is not None:
            described["abstention"] = cause
        elif self._abandoned:
            described["withdrawn"] = True
        return described

    def _cause_of(self, returned: object, error: BaseException | None) -> str | None:
        """Return why the draw will abstain, given what comes of its program's call."""
        if self._abandoned:
            return self.cause
        if error is not None:
            mistake = _find_mistake(self, error) is not None
            return None if mistake else describe_error(error, self.member.lm)
        prediction, cause = _as_prediction(returned)
        return cause if prediction is None or self.fault is None else self.fault(prediction)

    def _accept(self, returned: object) -> None:
        if self._abandoned:
            return
        prediction, cause = _as_prediction(returned)
        with self._calls.paused():  # the draw has answered
            self._weigh(prediction)  # first: a draw with a prediction is settled, and counted
        if self._abandoned:
            return
        self.prediction = prediction
        if cause is not None:
            self.abstain(cause)

    def _weigh(self, prediction: dspy.Prediction | None) -> None:
        """Make evidence of the calls, given what came of them."""
        readings, self._readings = self._readings, []
        replies, self._calls.replies = self._calls.replies, []
        evidence = evidence_of(replies, readings, self.adapter, prediction, self.member.lm)
        self.evidence = None if evidence is None else self._with_all_tokens(evidence)

    def _with_all_tokens(self, evidence: Evidence) -> Evidence:
        """Count the tokens of all calls: a bank has one column for these and for those billed."""
        tokens = max(evidence.completion_tokens or 0, self._meter.spent().completion_tokens) or None
        return dataclasses.replace(evidence, completion_tokens=tokens)


def _as_prediction(returned: object) -> tuple[dspy.Prediction | None, str | None]:
    """Return what a program returned, or why it is no prediction."""
    if not isinstance(returned, dspy.Prediction):
        return None, f"{NO_PREDICTION} {type(returned).__name__}, not a dspy.Prediction"
    if not returned.keys():
        return None, EMPTY  # DSPy's parsers make this of a response without choices
    return returned, None


def has_async_form(kind: type[dspy.Module]) -> bool:
    """Return whether `acall` does what a call does.

    Where a class overrides `forward` alone, as `dspy.CodeAct` does, the `aforward` it inherits is
    another module's.
    """
    where = {name: at for at, base in reversed([*enumerate(kind.__mro__)]) for name in vars(base)}
    return "aforward" in where and where["aforward"] <= where.get("forward", math.inf)


def raise_mistakes(draws: Sequence[Draw]) -> None:
    """Raise the first error of `draws` that `find_mistake` finds."""
    for draw in draws:
        mistake = find_mistake(draw)
        if mistake is not None:
            raise mistake


def find_mistake(draw: Draw) -> BaseException | None:
    """Return a draw's error where it is to be raised, not an abstention.

    Such are mistakes in the set-up and in the user's program, and what is no `Exception` at all
    but for a `CancelledError`: whoever cancels the call itself does not wait for its draws.
    """
    return _find_mistake(draw, draw.error)


def _find_mistake(draw: Draw, error: BaseException | None) -> BaseException | None:
    if isinstance(error, (asyncio.CancelledError, NoThread)):
        return None
    if not isinstance(error, Exception):
        return error
    if draw.on_error == "abstain":
        return error if isinstance(error, (ConfigurationError, MissingExtra)) else None
    return error if is_mistake(error, draw._calls.failures) else None
