"""From a settled draw to a row of the bank: its answer's class, its outputs, and the thread that writes."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy
import pydantic

from ..answers.plain_text import as_text
from ..errors import BankError
from ..mux.slm_mux import SLMMux
from ..sampling.abstention import UNUSABLE
from ..sampling.draw import Draw
from ..sampling.threads import take
from .fingerprint import describe_comparison, jsonable
from .limits import Share
from .sample_bank import Answered, SampleBank

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
        repeats: whether one that failed is recorded in its place, until it arrives.
        score: by the metric; scored_by: the fingerprint of that and the gold answer.
        answered: whether what it answered is known; its score may still be on its way.
        share: of the collection's budget; None where that is unlimited.
    """

    unit: tuple[int, int]
    completes: bool = False
    repeats: bool = False
    answer: Any = None
    score: float | None = None
    scored_by: str | None = None
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
        settings: dict[str, Any] = {
            "max_history_size": min(dspy.settings.max_history_size, HISTORY)
        }
        if self.share is not None:
            settings["callbacks"] = [self.share, *dspy.settings.callbacks]
        return settings


class Writer:
    """Writes draws from one thread, all that have arrived in one transaction."""

    def __init__(self, bank: SampleBank, mux: SLMMux, owner: str):
        self.bank, self.mux, self.owner = bank, mux, owner
        self._types = Types(mux)
        self._comparison = describe_comparison(mux)
        self._comparisons: dict[int, Any] = {}  # of the programs met so far
        self.error: BaseException | None = None
        self._unwritten = 0  # draws
        self._queue: queue.SimpleQueue[RecordedDraw | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="dspy-mux-bank", daemon=True)
        self._thread.start()

    def put(self, draw: RecordedDraw) -> None:
        """To be written; where that fails, `error` says so, and `close` how many were not."""
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
        except BaseException as error:  # noqa: BLE001  (ends the collection, and is raised by `close`)
            self.error = error
        finally:
            self.bank.abandon(self.owner)

    def _persist(self, rows: Sequence[RecordedDraw]) -> None:
        for pause in (*(PAUSES_S if self.bank.path is None else ()), None):
            try:
                self._record(rows)
                return
            except BankError:
                if pause is None:
                    raise
                time.sleep(pause)

    def _record(self, arrived: Sequence[RecordedDraw]) -> None:
        """Write draws, their answers numbered with those that are recorded.

        Comparing answers may take long, mathematics above all, so others can write meanwhile; where they wrote answers to the same
        questions, these are compared too.
        """
        questions = list(dict.fromkeys(draw.unit[0] for draw in arrived))
        while True:
            with self.bank.writing() as connection:
                latest, recorded = self.bank.answers(connection, questions)
                if not self._comparisons.keys() >= {answered.program for answered in recorded}:
                    self._comparisons = self.bank.comparisons(connection)
            known: dict[int, list[Answered]] = {}
            for answered in recorded:
                known.setdefault(answered.question, []).append(answered)
            rows = [
                row
                for question in questions
                for row in self._numbered(question, arrived, known.get(question, []))
            ]
            with self.bank.writing() as connection:
                if self.bank.answered_since(connection, questions, latest):
                    continue
                self.bank.forget_failures(
                    connection, [(*draw.unit, draw.number) for draw in arrived if draw.repeats]
                )
                self.bank.add(connection, rows)
                # With the draws, not before: another process must see a unit as claimed or as drawn.
                self.bank.release(
                    connection, self.owner, [draw.unit for draw in arrived if draw.completes]
                )
                return

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
    ) -> list[dict[str, Any]]:
        """The rows of a question's draws that have arrived.

        What is recorded keeps its class; a new answer equal to none of it gets the next number. What was compared in another way is
        equal to nothing here.
        """
        draws = [draw for draw in arrived if draw.unit[0] == question]
        ours = [
            answered
            for answered in known
            if self._comparisons.get(answered.program) in (None, self._comparison)
        ]
        restored = [self._types.answer(answered.answer) for answered in ours]
        classes = self.mux.kind.classes([*restored, *(draw.answer for draw in draws)])
        kept = {
            now: answered.answer_class
            for now, answered in zip(classes, ours, strict=False)
            if now is not None
        }
        following = max([-1, *(answered.answer_class for answered in known)]) + 1
        rows = []
        for draw, answer_class in zip(draws, classes[len(ours) :], strict=True):
            if answer_class is not None and answer_class not in kept:
                kept[answer_class], following = following, following + 1
            rows.append(_row(draw, None if answer_class is None else kept[answer_class]))
        return rows


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
        "scored_by": draw.scored_by if usable and draw.score is not None else None,
        "cause": None if usable else draw.cause or UNUSABLE,
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


class Types:
    """The types of a mux's output fields."""

    def __init__(self, mux: SLMMux):
        self._answer_field = mux.answer_field
        self._readers: dict[str, pydantic.TypeAdapter[Any]] = {}
        for predictor in mux.programs[0].predictors():
            for name, info in predictor.signature.output_fields.items():
                if (
                    name not in self._readers
                    and (reader := _reader(info.rebuild_annotation())) is not None
                ):
                    self._readers[name] = reader

    def answer(self, told: Any) -> Any:
        """An answer as it was drawn."""
        return self._restored(self._answer_field, told)

    def prediction(self, answer: Any, outputs: Mapping[str, Any]) -> dspy.Prediction:
        """A prediction as it was drawn; of one whose outputs are not known, the answer."""
        told = {**outputs, self._answer_field: answer}
        return dspy.Prediction(
            **{name: self._restored(name, value) for name, value in told.items()}
        )

    def _restored(self, name: str, told: Any) -> Any:
        reader = self._readers.get(name)
        if reader is None:
            return told
        try:
            value = reader.validate_json(json.dumps(told))
            # A program may return another type than it declares: a text that reads as a number stays a text.
            return value if not isinstance(told, str) or jsonable(value) == told else told
        except ValueError:
            return told


def _reader(annotation: Any) -> pydantic.TypeAdapter[Any] | None:
    """What reads a type from JSON; None for what JSON has as it is, or cannot be read."""
    if annotation in (str, bool, Any):
        return None
    try:
        reader = pydantic.TypeAdapter(annotation)
        reader.rebuild()
        return reader
    except (pydantic.PydanticUserError, pydantic.errors.PydanticUndefinedAnnotation):
        return None
