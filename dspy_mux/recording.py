"""From a settled draw to a row of the bank: its answer's class, its outputs, and the thread that writes."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pydantic

from . import fingerprint
from .bank import SampleBank
from .mux import SLMMux
from .sampling import Draw

#: How often a collection shows that it lives.
BEAT_S = 20.0


class RecordedDraw(Draw):
    """A draw with the question it belongs to, its answer and its score.

    Attributes:
        unit: (question, program) in the bank.
        completes: whether it is the last that this collection had to make for its unit.
    """

    unit: tuple[int, int]
    completes: bool = False
    answer: Any = None
    score: float | None = None
    metric_error: Exception | None = None
    judge: Callable[[RecordedDraw], None]

    def run(self) -> None:
        super().run()
        if self.error is None:
            self.judge(self)


class Writer:
    """Writes draws from one thread, all that have arrived in one transaction."""

    def __init__(self, bank: SampleBank, mux: SLMMux, owner: str):
        self.bank, self.mux, self.owner = bank, mux, owner
        self.error: BaseException | None = None
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
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        open_, beat = True, time.monotonic()
        try:
            while open_:
                arrived = self._arrived()
                open_ = None not in arrived
                if rows := [draw for draw in arrived if draw is not None]:
                    with self.bank.writing() as connection:
                        self._write(connection, rows)
                        # With the draws, not before: another process must see a unit as claimed or as drawn.
                        self.bank.release(connection, self.owner, [draw.unit for draw in rows if draw.completes])
                if time.monotonic() - beat > BEAT_S:
                    self.bank.beat(self.owner)
                    beat = time.monotonic()
            with self.bank.writing() as connection:
                self.bank.release(connection, self.owner)
        except BaseException as error:  # noqa: BLE001  (raised where the collection next puts a draw, or ends)
            self.error = error

    def _arrived(self) -> list[RecordedDraw | None]:
        try:
            arrived = [self._queue.get(timeout=BEAT_S)]
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
        "answer": json.dumps(fingerprint.jsonable(draw.answer), ensure_ascii=True) if usable else None,
        "answer_class": answer_class if usable else None,
        "score": draw.score if usable else None,
        "cause": None if usable else draw.cause or "unusable answer",
        "outputs": json.dumps(fingerprint.jsonable(draw.prediction.toDict()), ensure_ascii=True)
        if draw.prediction is not None
        else None,
        "calls": spent.calls + spent.cached_calls,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "seconds": draw.seconds,
        "cost": spent.cost,
        "created": time.time(),
    }
