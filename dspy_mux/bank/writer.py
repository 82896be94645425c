"""Write draws to a bank from one thread: their answers' classes, their outputs, one row each."""

from __future__ import annotations

import json
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dspy
import pydantic

from ..answers.equivalence import NO_ANSWER
from ..answers.plain_text import as_text
from ..errors import StorageError
from ..mux.slm_mux import SLMMux
from ..sampling.blame import is_down
from ..sampling.causes import UNUSABLE, is_error
from ..sampling.draw import Draw
from ..sampling.interrupt import Interrupt
from ..sampling.threads import take
from ..voting.evidence import Evidence
from .answer_classes import number_together
from .answers import Answered
from .claims import Unit
from .evidence import values_of
from .fingerprint import describe_comparison, jsonable
from .heartbeat import Confirmation
from .limits import Share
from .patience import patiently
from .sample_bank import SampleBank

#: LM calls that DSPy's histories keep while draws are recorded.
HISTORY = 256
#: Seconds after which an interrupted collection says what it waits for.
NOTICE_S = 1.0

logger = logging.getLogger(__name__)


class RecordedDraw(Draw):
    """A draw with its question, answer and score.

    Attributes:
        unit: (question, program) in the bank.
        completes: whether it is the last draw of its unit in this collection.
        repeats: whether a recorded failure stands in its place until it arrives.
        answer: `NO_ANSWER` for an abstention.
        answered: whether the answer is extracted; the score may follow later.
        score: the metric's value.
        scored_by: the fingerprint of the metric and the gold answer.
        metric_error: what the metric raised.
        judge: extracts and scores the answer.
        share: of the collection's budget; None where that is unlimited.
        claim: on its unit.
    """

    unit: tuple[int, int]
    completes: bool = False
    repeats: bool = False
    answer: Any = NO_ANSWER
    score: float | None = None
    scored_by: str | None = None
    metric_error: Exception | None = None
    judge: Callable[[RecordedDraw], None]
    answered: bool = False
    share: Share | None = None
    claim: Confirmation

    @property
    def cut_short(self) -> bool:
        """Whether it was ended before a call that is not the collection's to make."""
        return self.claim.lost or (self.share is not None and self.share.refused)

    @property
    def from_cache(self) -> bool:
        """Whether DSPy's cache answered: that is no sign of its member's server."""
        spent = self.spent
        return spent.cached_calls > 0 and spent.calls == 0

    @property
    def found_server_down(self) -> bool:
        """Whether it failed as its member's server is down, and had no response before."""
        failed = self.prediction is None and self.error is not None and is_error(self.cause or "")
        return (
            failed
            and self.error is not None
            and not self._meter.billed
            and is_down(self.error, self._calls.failures)
        )

    def expect(self) -> None:
        self._calls.spender = self.share
        super().expect()

    def run(self) -> None:
        super().run()
        if self.error is None:
            self.judge(self)

    def _settings(self) -> dict[str, Any]:
        # The bank keeps the responses. DSPy would keep 10,000 calls of each LM and module too.
        ours = [self.claim] if self.share is None else [self.claim, self.share]
        return {
            "max_history_size": min(dspy.settings.max_history_size, HISTORY),
            "callbacks": [*ours, *dspy.settings.callbacks],
        }


class Writer:
    """Writes draws from one thread; those that arrive together share a transaction.

    Args:
        on_done: called with units once the last of their draws is recorded.

    Attributes:
        error: what ended the thread; None while all is well.
    """

    def __init__(
        self,
        bank: SampleBank,
        mux: SLMMux,
        owner: str,
        interrupt: Interrupt,
        on_done: Callable[[Sequence[Unit]], None],
    ):
        self.bank, self.mux, self.owner, self.interrupt = bank, mux, owner, interrupt
        self._on_done = on_done
        self._types = OutputTypes(mux)
        self._comparison = describe_comparison(mux)
        self._comparisons: dict[int, list[str] | None] = {}  # of the programs met so far
        self.error: BaseException | None = None
        self._given = self._written = 0  # draws
        self._queue: queue.SimpleQueue[RecordedDraw | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dspy-mux-bank", daemon=True)
        self._thread.start()

    def put(self, draw: RecordedDraw) -> None:
        """Queue a draw. Where writing fails, `error` says why and `unwritten` how many are lost."""
        self._given += 1
        self._queue.put(draw)

    def close(self) -> None:
        """Wait until all draws are written and the claims released.

        After Ctrl-C, claims are left to lapse where another process holds the bank; draws are
        written when it has let go, or given up after a second Ctrl-C.

        Raises:
            BankError: something could not be written.
        """
        self._queue.put(None)
        self._join()
        if self.error is not None:
            raise self.error

    @property
    def unwritten(self) -> int:
        """How many of the draws given are not written."""
        return self._given - self._written

    def _join(self) -> None:
        """Wait for the thread; after Ctrl-C, say what it waits for if that takes long."""
        said = False
        while self._thread.is_alive():
            self._thread.join(NOTICE_S)
            if self.interrupt.hurried and self.unwritten and not said:
                said = True
                logger.warning(
                    "Interrupted: %d draws that have arrived are yet to be recorded in the bank "
                    "%s, which another process may be writing to; Ctrl-C again gives them up.",
                    self.unwritten,
                    self.bank.name,
                )

    def _run(self) -> None:
        open_ = True
        try:
            while open_:
                arrived = self._arrived(math.inf)
                open_ = None not in arrived
                if rows := [draw for draw in arrived if draw is not None]:
                    patiently(self.bank, partial(self._record, rows), self._patient)
                    self._written += len(rows)
                    self._on_done([draw.unit for draw in rows if draw.completes])
            patiently(self.bank, self._release, lambda: not self.interrupt.hurried)
        except BaseException as error:  # noqa: BLE001  (ends the collection, and is raised by `close`)
            self.error = error
        finally:
            self.bank.claims.abandon(self.owner)

    def _release(self) -> None:
        """Release the claims; after Ctrl-C only where no other process holds the bank."""
        try:
            with self.bank.writing(lambda: not self.interrupt.hurried) as connection:
                self.bank.claims.release(connection, self.owner)
        except StorageError:
            if not self.interrupt.hurried:
                raise

    def _record(self, arrived: Sequence[RecordedDraw]) -> None:
        """Write draws, their answers' classes numbered along with the recorded ones.

        Comparing answers may take long, mathematics above all, so it holds no transaction. Where
        other processes recorded answers to the same questions meanwhile, it is done again.
        """
        questions = list(dict.fromkeys(draw.unit[0] for draw in arrived))
        while True:
            with self.bank.writing(self._patient) as connection:
                latest, recorded = self.bank.answers.latest(connection, questions)
                if not self._comparisons.keys() >= {answered.program for answered in recorded}:
                    self._comparisons = self.bank.answers.comparisons(connection)
            known: dict[int, list[Answered]] = {}
            for answered in recorded:
                known.setdefault(answered.question, []).append(answered)
            rows, renumbered = [], {}
            for question in questions:
                own, changed = self._numbered(question, arrived, known.get(question, []))
                rows += own
                renumbered.update(changed)
            with self.bank.writing(self._patient) as connection:
                if self.bank.answers.came_after(connection, questions, latest):
                    continue
                self.bank.forget_failures(
                    connection, [(*draw.unit, draw.number) for draw in arrived if draw.repeats]
                )
                self.bank.answers.renumber(connection, renumbered)
                self.bank.add(connection, rows)
                # In one transaction with the draws: a unit is either claimed or drawn.
                self.bank.claims.release(
                    connection, self.owner, [draw.unit for draw in arrived if draw.completes]
                )
                return

    def _patient(self) -> bool:
        return not self.interrupt.insisted

    def _arrived(self, patience: float) -> list[RecordedDraw | None]:
        try:
            arrived = [take(self._queue, patience)]
        except queue.Empty:
            return []
        while arrived[-1] is not None:
            try:
                arrived.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return arrived

    def _numbered(
        self, question: int, arrived: Sequence[RecordedDraw], known: Sequence[Answered]
    ) -> tuple[list[dict[str, Any]], dict[int, int]]:
        """Return the rows of the draws that have arrived for a question, and new classes of others.

        Answers that were compared in another way count as different.
        """
        draws = [draw for draw in arrived if draw.unit[0] == question]
        alike = [
            (answered, self._types.answer(answered.answer))
            for answered in known
            if self._comparisons.get(answered.program) in (None, self._comparison)
        ]
        classes, changed = number_together(
            self.mux.kind,
            alike,
            [(draw.unit[1], draw.number, draw.answer) for draw in draws],
            max([-1, *(answered.answer_class for answered in known)]) + 1,
        )
        return [_row(draw, mine) for draw, mine in zip(draws, classes, strict=True)], changed


def _row(draw: RecordedDraw, answer_class: int | None) -> dict[str, Any]:
    spent = draw.spent
    # One program has one temperature, as its description says, whatever a call of it may set.
    evidence = replace(draw.evidence or Evidence(), temperature=draw.member.temperature)
    question, program = draw.unit
    usable = (
        draw.answer is not NO_ANSWER and answer_class is not None and draw.prediction is not None
    )
    return {
        "question": question,
        "program": program,
        "draw": draw.number,
        "answer": _json(draw.answer) if usable else None,
        "answer_class": answer_class if usable else None,
        "score": draw.score if usable else None,
        "scored_by": draw.scored_by if usable and draw.score is not None else None,
        "cause": None if usable else draw.cause or UNUSABLE,
        "outputs": None if draw.prediction is None else _json_of_fields(draw.prediction),
        "calls": spent.calls + spent.cached_calls,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": (
            # What a live rule reads of the draw: `Draw` counts all of its calls.
            spent.completion_tokens
            if evidence.completion_tokens is None
            else evidence.completion_tokens
        ),
        "seconds": draw.seconds,
        "cost": spent.cost,
        "created": time.time(),
        **values_of(evidence),
    }


def _json(value: Any) -> str:
    """Return a value as JSON; else its text (a number of thousands of digits), or its type."""
    try:
        return json.dumps(jsonable(value))
    except (ValueError, RecursionError):
        try:
            return json.dumps(as_text(value))
        except (ValueError, RecursionError):
            return json.dumps(type(value).__qualname__)


def _json_of_fields(prediction: dspy.Prediction) -> str:
    try:
        return json.dumps(jsonable(prediction.toDict()))
    except (ValueError, RecursionError):
        return (
            "{"
            + ", ".join(f"{json.dumps(name)}: {_json(value)}" for name, value in prediction.items())
            + "}"
        )


class OutputTypes:
    """Restores a mux's output fields from JSON to the types that its signature declares."""

    def __init__(self, mux: SLMMux):
        self._compared = mux.compared
        self._readers: dict[str, pydantic.TypeAdapter[Any]] = {}
        for predictor in mux.programs[0].predictors():
            for name, info in predictor.signature.output_fields.items():
                if name in self._readers:
                    continue
                if (reader := _reader(info.rebuild_annotation())) is not None:
                    self._readers[name] = reader

    def answer(self, value: Any) -> Any:
        """Return an answer as it was drawn."""
        if self._compared.kinds is None:
            return self._restore(self._compared.label, value)
        fields = value if isinstance(value, Mapping) else {}
        return {name: self._restore(name, own) for name, own in fields.items()}

    def prediction(self, answer: Any, outputs: Mapping[str, Any]) -> dspy.Prediction:
        """Return a prediction as it was drawn; with the answer alone where that is all."""
        several = self._compared.kinds is not None and isinstance(answer, Mapping)
        values = {**outputs, **(answer if several else {self._compared.label: answer})}
        return dspy.Prediction(
            **{name: self._restore(name, value) for name, value in values.items()}
        )

    def _restore(self, name: str, value: Any) -> Any:
        reader = self._readers.get(name)
        if reader is None:
            return value
        try:
            restored = reader.validate_json(json.dumps(value))
            # A program may return another type than it declares: a text that reads as a number
            # stays a text.
            changed = isinstance(value, str) and jsonable(restored) != value
        except ValueError:
            return value
        return value if changed else restored


def _reader(annotation: Any) -> pydantic.TypeAdapter[Any] | None:
    """Return what reads a type from JSON; None where JSON has it as it is, or cannot hold it."""
    if annotation in (str, bool, Any):
        return None
    try:
        reader = pydantic.TypeAdapter(annotation)
        reader.rebuild()
        return reader
    except (pydantic.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation):
        return None
