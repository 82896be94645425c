"""From a settled draw to a row of the bank: its answer's class, its outputs, and the thread that writes."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import dspy
import pydantic

from . import fingerprint
from .bank import SampleBank
from .errors import BankError
from .kinds import as_text
from .limits import Share
from .mux import SLMMux
from .queues import take
from .sampling import Draw

#: How often a collection shows that it lives.
BEAT_S = 20.0
#: Calls that DSPy's histories keep while draws are recorded.
HISTORY = 256
#: Seconds between tries to write to a server, which may be restarting.
PAUSES_S = (0.5, 2.0, 5.0)


class RecordedDraw(Draw):
    """A draw with the question it belongs to, its answer and its score.

    Attributes:
        unit: (question, program) in the bank.
        completes: whether it is the last that this collection had to make for its unit.
        answered: whether what it answered is known; its score may still be on its way.
        share: of the collection's budget; None where that is unlimited.
    """

    unit: tuple[int, int]
    completes: bool = False
    answer: Any = None
    score: float | None = None
    metric_error: Exception | None = None
    judge: Callable[[RecordedDraw], None]
    answered: bool = False
    share: Share | None = None

    def run(self) -> None:
        super().run()
        if self.error is None:
            self.judge(self)

    def _settings(self) -> dict[str, Any]:
        # The bank keeps what was said; DSPy would keep 10,000 calls for every LM and module of the program.
        settings: dict[str, Any] = {"max_history_size": min(dspy.settings.max_history_size, HISTORY)}
        if self.share is not None:
            settings["callbacks"] = [self.share, *dspy.settings.callbacks]
        return settings


class Writer:
    """Writes draws from one thread, all that have arrived in one transaction."""

    def __init__(self, bank: SampleBank, mux: SLMMux, owner: str):
        self.bank, self.mux, self.owner = bank, mux, owner
        self.error: BaseException | None = None
        self._unwritten = 0  # draws
        self._queue: queue.SimpleQueue[RecordedDraw | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dspy-mux-bank", daemon=True)
        self._thread.start()

    def put(self, draw: RecordedDraw) -> None:
        if self.error is not None:
            raise self.error
        self._queue.put(draw)

    def close(self) -> None:
        """Until all is written and the claims are given up.

        Raises:
            BankError: something could not be written.
        """
        self._queue.put(None)
        self._thread.join()
        lost = self._unwritten + sum(draw is not None for draw in self._arrived(0))
        if isinstance(self.error, BankError) and lost:
            raise BankError(
                f"{self.error} Draws that had arrived and are not in it: {lost}; DSPy's cache, where it is on, has their responses."
            ) from self.error
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        open_, beat = True, time.monotonic()
        try:
            while open_:
                arrived = self._arrived(BEAT_S)
                open_ = None not in arrived
                if rows := [draw for draw in arrived if draw is not None]:
                    self._unwritten = len(rows)
                    self._persist(rows)
                    self._unwritten = 0
                if time.monotonic() - beat > BEAT_S:
                    self.bank.beat(self.owner)
                    beat = time.monotonic()
            with self.bank.writing() as connection:
                self.bank.release(connection, self.owner)
        except BaseException as error:  # noqa: BLE001  (raised where the collection next puts a draw, or ends)
            self.error = error
        finally:
            self.bank.abandon(self.owner)

    def _persist(self, rows: Sequence[RecordedDraw]) -> None:
        for pause in (*(PAUSES_S if self.bank.path is None else ()), None):
            try:
                with self.bank.writing() as connection:
                    self._write(connection, rows)
                    # With the draws, not before: another process must see a unit as claimed or as drawn.
                    self.bank.release(connection, self.owner, [draw.unit for draw in rows if draw.completes])
                return
            except BankError:
                if pause is None:
                    raise
                time.sleep(pause)

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

    def _write(self, connection: Any, arrived: Sequence[RecordedDraw]) -> None:
        by_question: dict[int, list[RecordedDraw]] = {}
        for draw in arrived:
            by_question.setdefault(draw.unit[0], []).append(draw)
        for question, draws in by_question.items():
            recorded = self.bank.answers(connection, question)
            known = [restored(json.loads(answer), self.mux) for answer, _ in recorded]
            classes = self.mux.kind.classes([*known, *(draw.answer for draw in draws)])
            # What is recorded keeps its class; a new answer equal to none of it gets the next number.
            kept = {ours: theirs for ours, (_, theirs) in zip(classes, recorded, strict=False) if ours is not None}
            following = max([-1, *(theirs for _, theirs in recorded)]) + 1
            rows = []
            for draw, answer_class in zip(draws, classes[len(recorded) :], strict=True):
                if answer_class is not None and answer_class not in kept:
                    kept[answer_class], following = following, following + 1
                rows.append(_row(draw, None if answer_class is None else kept[answer_class]))
            self.bank.add(connection, rows)


def restored(value: Any, mux: SLMMux) -> Any:
    """An answer read from JSON as the type that the program declares, where it still fits."""
    annotation = next(
        (
            p.signature.output_fields[mux.answer_field].annotation
            for p in mux.programs[0].predictors()
            if mux.answer_field in p.signature.output_fields
        ),
        None,
    )
    if annotation is None or isinstance(value, str):
        return value
    try:
        return pydantic.TypeAdapter(annotation).validate_python(value)
    except (pydantic.ValidationError, pydantic.PydanticSchemaGenerationError):
        return value


def _row(draw: RecordedDraw, answer_class: int | None) -> dict[str, Any]:
    spent = draw.spent
    question, program = draw.unit
    usable = draw.answer is not None and answer_class is not None and draw.prediction is not None
    return {
        "question": question,
        "program": program,
        "draw": draw.number,
        "answer": _json(draw.answer) if usable else None,
        "answer_class": answer_class if usable else None,
        "score": draw.score if usable else None,
        "cause": None if usable else draw.cause or "unusable answer",
        "outputs": None if draw.prediction is None else _json_of_fields(draw.prediction),
        "calls": spent.calls + spent.cached_calls,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "seconds": draw.seconds,
        "cost": spent.cost,
        "created": time.time(),
    }


def _json(value: Any) -> str:
    """A value as JSON; what has no form there, such as a number of thousands of digits, as its text or its type's name."""
    try:
        return json.dumps(fingerprint.jsonable(value))
    except (ValueError, RecursionError):
        try:
            return json.dumps(as_text(value))
        except (ValueError, RecursionError):
            return json.dumps(type(value).__qualname__)


def _json_of_fields(prediction: dspy.Prediction) -> str:
    try:
        return json.dumps(fingerprint.jsonable(prediction.toDict()))
    except (ValueError, RecursionError):
        return "{" + ", ".join(f"{json.dumps(name)}: {_json(value)}" for name, value in prediction.items()) + "}"
