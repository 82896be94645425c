"""What `dspy.streamify` shows of a mux: a status message per draw, and the winning answer.

Draws run side by side, so the tokens of one are not yet the answer. They never stream: what is sent
is how far the question is, and once it is decided, the fields that a `StreamListener` listens to.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet

import anyio
import anyio.from_thread
import dspy
from dspy.streaming import (
    StatusMessage,
    StatusMessageProvider,
    StreamListener,
    StreamResponse,
)
from dspy.streaming.messages import StatusStreamingCallback

from ..adapters.formats import fields_as_text
from ..answers.equivalence import NO_ANSWER
from ..errors import ConfigurationError
from ..sampling.draw import Draw
from ..sampling.interrupt import Interrupt
from ..sampling.offload import decide
from ..sampling.threads import workers
from ..voting.ballot import Ballot, Frugal, Rule, choice_of, rule_for
from ..voting.rules import Pooled
from ..voting.verdict_text import answer_line
from .compared import Compared
from .outcome import by_member
from .program import modules_in
from .saved import PoolState

logger = logging.getLogger("dspy_mux")

#: Characters of the leading answer in a status message.
_LONGEST = 80
#: Seconds between two looks whether a stream is still read.
_LOOK_S = 0.1
_GONE = (anyio.ClosedResourceError, anyio.BrokenResourceError)

#: The predictors of programs that muxes were built of, and which they never run: members have
#: copies.
_originals: WeakSet[dspy.Module] = WeakSet()
#: Listeners of which a warning was logged.
_told: WeakSet[StreamListener] = WeakSet()


@dataclass(frozen=True)
class MuxProgress:
    """How far a question is.

    Attributes:
        settled: draws with an outcome, abstentions included.
        total: draws that are made at most; where a method has rounds, those of the round.
        leading: the answer that would win now, in one line of at most 80 visible characters; None
            before the first answer.
        member: whose draw settled last.
        answer: that draw's answer, in one line as `leading`; None if it abstains.
        cause: why it abstains; None if it does not.
    """

    settled: int
    total: int
    leading: str | None
    member: str = ""
    answer: str | None = None
    cause: str | None = None


class MuxStatusMessageProvider(StatusMessageProvider):
    """Status messages of programs that contain a mux, for `dspy.streamify`.

    Override `draw_settled_status_message` for messages of your own; a provider of another class
    may have this method too. Without it, draws have the messages of this class.

    >>> class Percent(MuxStatusMessageProvider):
    ...     def draw_settled_status_message(self, instance, progress):
    ...         return f"{progress.settled / progress.total:.0%}"
    """

    def draw_settled_status_message(self, instance: Any, progress: MuxProgress) -> str | None:
        """Return the message after a draw, of which there is one each; None sends none.

        Args:
            instance: the mux.
        """
        text = f"{progress.settled} of {progress.total} draws"
        return text if progress.leading is None else f"{text}, leading: {progress.leading}"


def note_original(program: dspy.Module) -> None:
    """Remember the program that a mux was built of: a listener on its predictors hears nothing."""
    for module in modules_in(program):
        _originals.add(module)


class MuxStream:
    """The reader of one question: what is sent to it, and whether it still reads."""

    def __init__(
        self,
        mux: dspy.Module,
        compared: Compared,
        pool: PoolState,
        listeners: Sequence[StreamListener],
        inputs: Mapping[str, Any],
    ):
        self._mux, self._compared, self._pool = mux, compared, pool
        self._listeners = listeners
        rule = None if pool.rule is None else rule_for(pool.rule, inputs)
        # A rule that says which draws it wants can read ballots that are not complete.
        self._rule: Rule = rule if rule is not None and isinstance(rule, Frugal) else Pooled()
        self._provider = _provider(mux)
        self._stream = dspy.settings.send_stream
        self._settled: set[Draw] = set()
        self._on_loop = _has_loop()

    def tell(self, draw: Draw, among: Sequence[Draw]) -> None:
        """Send the status after a draw.

        Args:
            among: the draws that are counted together, this one among them.

        Raises:
            asyncio.CancelledError: nobody reads any more.
        """
        if message := self._status(draw, among):
            self._send(message)

    async def atell(self, draw: Draw, among: Sequence[Draw]) -> None:
        if message := await decide(partial(self._status, draw, among)):
            await self._asend(message)

    def finish(self, prediction: dspy.Prediction) -> None:
        """Send the fields of the winning answer that are listened to."""
        for listener, chunk in self._chunks(prediction):
            if self._send(chunk):
                _mark(listener)

    async def afinish(self, prediction: dspy.Prediction) -> None:
        for listener, chunk in self._chunks(prediction):
            await self._asend(chunk)
            _mark(listener)

    @contextmanager
    def watched(self, draws: Sequence[Draw]) -> Iterator[Interrupt]:
        """Yield a request to end, which is made when nobody reads any more.

        Awaited calls do not need it: they are cancelled. A thread is left alone, and runs on.

        Args:
            draws: withdrawn by then.

        Raises:
            asyncio.CancelledError: on exit, if nobody reads any more.
        """
        interrupt, over = Interrupt(), threading.Event()

        def watch() -> None:
            while not over.wait(_LOOK_S):
                if not self._stream.statistics().open_receive_streams:
                    for draw in draws:
                        draw.withdraw()
                    return interrupt.ask()

        if not self._on_loop:
            with suppress(RuntimeError):  # no thread can be started: the call is made to its end
                workers.start(watch)
        try:
            yield interrupt
        finally:
            over.set()
        if interrupt.asked:
            raise _cancelled()

    def _status(self, draw: Draw, among: Sequence[Draw]) -> StatusMessage | None:
        self._settled.add(draw)
        settled = [other for other in among if other in self._settled]
        by: object = self._rule
        try:
            progress = self._progress(draw, settled, among)
            by = self._provider
            message = self._provider.draw_settled_status_message(self._mux, progress)
        except Exception as error:  # noqa: BLE001  (as DSPy does: a message is not worth the answer)
            logger.warning("No status message: %r raised by %r.", error, by)
            return None
        return StatusMessage(message) if message else None

    def _progress(self, draw: Draw, settled: Sequence[Draw], among: Sequence[Draw]) -> MuxProgress:
        answer, cause = self._answer(draw), draw.cause
        if answer is not NO_ANSWER and draw.prediction is not None:
            cause = self._compared.fault(draw.prediction)
        shown = answer is not NO_ANSWER and cause is None
        return MuxProgress(
            settled=len(settled),
            total=len(among),
            leading=self._leading(settled, among),
            member=draw.member.label,
            answer=answer_line(answer, _LONGEST) if shown else None,
            cause=cause,
        )

    def _leading(self, settled: Sequence[Draw], among: Sequence[Draw]) -> str | None:
        answers = [self._answer(draw) for draw in settled]
        classes = self._compared.kind.classes(answers)
        votes = by_member(settled, classes)
        asked = by_member(among, among)
        ballots = [
            Ballot(
                name, tuple(votes.get(name, ())), self._pool.accuracies.get(name), len(asked[name])
            )
            for name in self._pool.names
            if name in asked
        ]
        choice = choice_of(self._rule, ballots)
        if choice is None:
            return None
        return answer_line(answers[classes.index(choice.answer)], _LONGEST)

    def _answer(self, draw: Draw) -> Any:
        # Reads only: a draw that judges others has another answer field, and is no abstention.
        if draw.cause is not None or draw.prediction is None:
            return NO_ANSWER
        if self._compared.lack(draw.prediction) is not None:
            return NO_ANSWER
        return self._compared.of(draw.prediction)

    def _chunks(
        self, prediction: dspy.Prediction
    ) -> Iterator[tuple[StreamListener, StreamResponse]]:
        for listener in self._listeners:
            name = listener.signature_field_name
            if listener.stream_end and not listener.allow_reuse:
                continue  # as DSPy's do
            if name not in prediction:
                logger.warning(
                    "StreamListener(%r) was sent nothing: the prediction has the fields %s.",
                    name,
                    ", ".join(prediction.keys()),
                )
                continue
            text = fields_as_text({name: dspy.OutputField()}, {name: prediction[name]})
            yield listener, StreamResponse(listener.predict_name, name, text, is_last_chunk=True)

    def _send(self, item: object) -> bool:
        """Send from a call that is not awaited; return whether there was room."""
        if self._on_loop:  # which does not run while this call does: nothing is read meanwhile
            state = self._stream.statistics()
            room = state.max_buffer_size - state.current_buffer_used
            if isinstance(item, StatusMessage) and room <= state.max_buffer_size / 2:
                return False
            with suppress(*_GONE, anyio.WouldBlock):
                self._stream.send_nowait(item)
                return True
            return False
        try:
            anyio.from_thread.run(self._stream.send, item)
        except (
            *_GONE,
            futures.CancelledError,
            RuntimeError,
        ) as error:  # RuntimeError: no loop left
            raise _cancelled() from error
        return True

    async def _asend(self, item: object) -> None:
        with suppress(*_GONE):  # a task that outlives its stream; others are cancelled
            await self._stream.send(item)


def open_stream(
    mux: dspy.Module, compared: Compared, pool: PoolState, inputs: Mapping[str, Any]
) -> MuxStream | None:
    """Return the reader of a question; None where nobody reads, or nothing can be sent.

    Raises:
        ConfigurationError: somebody listens to what is never sent.
        asyncio.CancelledError: on a thread that was left alone because nobody reads any more.
    """
    if dspy.settings.send_stream is None:
        return None
    listeners = _check_listeners(mux, dspy.settings.stream_listeners or [])
    if not (_has_loop() or _can_reach_loop()):
        logger.info("A mux on a thread that its program started sends nothing to the stream.")
        return None
    return MuxStream(mux, compared, pool, listeners, inputs)


def _check_listeners(mux: dspy.Module, listeners: Sequence[StreamListener]) -> list[StreamListener]:
    """Return the listeners of a mux; refuse those that would hear nothing."""
    if not listeners:
        return []
    whose = type(mux).__name__
    inside = {id(module) for module in modules_in(mux)} - {id(mux)}
    for listener in listeners:
        target, name = listener.predict, listener.signature_field_name
        if id(target) in inside or (target in _originals and not _is_run(target)):
            raise ConfigurationError(
                f"StreamListener({name!r}) listens to a predictor inside a mux, whose draws run "
                "side by side: none of them is the answer yet. Listen to the mux instead, "
                f"StreamListener({name!r}, predict=mux), for the answer that wins."
            )
        _warn_of_other_mux(listener, mux)
    return [listener for listener in listeners if _is_own(listener, mux, whose)]


def _warn_of_other_mux(listener: StreamListener, mux: dspy.Module) -> None:
    """Log that a listener's mux, such as one that this is a copy of, is not what is streamed."""
    # No error: a program may call a mux that is not one of its modules.
    target, name = listener.predict, listener.signature_field_name
    is_mux = isinstance(getattr(target, "pool", None), PoolState)
    if is_mux and target is not mux and not _is_run(target) and listener not in _told:
        _told.add(listener)
        logger.warning(
            "StreamListener(%r) listens to a mux that is not a module of the streamed program, and "
            "is sent nothing unless the program calls that mux: name one of the program's own as "
            "its predict.",
            name,
        )


def _is_own(listener: StreamListener, mux: Any, whose: str) -> bool:
    if listener.predict is not mux:
        return False
    program = mux.programs[0]
    plain = program.predict if isinstance(program, dspy.ChainOfThought) else program
    fields = list(plain.signature.output_fields) if isinstance(plain, dspy.Predict) else []
    if fields and listener.signature_field_name not in fields:
        raise ConfigurationError(
            f"StreamListener({listener.signature_field_name!r}) listens to an output field that "
            f"this {whose} does not have; it has {', '.join(fields)}."
        )
    return True


def _is_run(module: dspy.Module) -> bool:
    """Whether the outermost program contains a module, beside the copies of it in muxes."""
    return any(
        module is other
        for program in (dspy.settings.caller_modules or [])[:1]
        for other in modules_in(program)
    )


def _provider(mux: dspy.Module) -> Any:
    """Return the provider that `dspy.streamify` was given, where it knows of draws."""
    for callback in [*dspy.settings.callbacks, *mux.callbacks]:
        if isinstance(callback, StatusStreamingCallback):
            own = callback.status_message_provider
            if hasattr(own, "draw_settled_status_message"):
                return own
            break
    return MuxStatusMessageProvider()


def _mark(listener: StreamListener) -> None:
    # As `listener.receive` does: it has had its stream, and nothing is left to flush.
    listener.stream_start = listener.stream_end = True


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _can_reach_loop() -> bool:
    """Whether this is a thread that `dspy.streamify` runs a program on.

    Raises:
        asyncio.CancelledError: it is, and nobody waits for it any more.
    """
    try:
        anyio.from_thread.check_cancelled()
    except RuntimeError:
        return False
    return True


def _cancelled() -> asyncio.CancelledError:
    return asyncio.CancelledError("Nobody reads the stream of this program any more.")
