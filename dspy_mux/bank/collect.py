"""Recording draws: every member k times on every example, each draw written as it arrives.

What is in the bank is never asked for again, so an interrupted collection goes on where it stopped, and several processes can work
on one bank: a question of a member belongs to one of them at a time.
"""

from __future__ import annotations

import json
import logging
import math
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import dspy
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..errors import ConfigurationError, MetricFailed, MuxError
from ..mux.code_hash import hash_callable
from ..mux.slm_mux import SLMMux
from ..sampling.abstention import is_error
from ..sampling.draw import Draw, find_mistake
from ..sampling.interrupt import Interrupt
from ..sampling.run import sample
from .fingerprint import fingerprint_inputs, fingerprint_member, fingerprint_score, jsonable
from .limits import Budget
from .record import Record
from .sample_bank import SampleBank
from .writer import RecordedDraw, Types, Writer

logger = logging.getLogger(__name__)

Metric = Callable[..., Any]
#: Units (one member's draws for one question) that a process takes on at a time.
_UNITS_AT_ONCE = 32
#: A member whose first draws all fail before a response comes is out of order: going on would record a bank of failures.
_FAILURES_IN_A_ROW = 12


@dataclass(frozen=True)
class Collected:
    """What a collection did.

    Attributes:
        drawn: draws recorded now; already: those found in the bank; missing: those still to draw.
        rescored: of those found, how many had no score by this metric and gold answer, and were scored now.
        abstained: of those drawn now; calls, cost: LM calls and US dollars spent now.
        stopped: what ended it early: "max_calls", "max_cost", or None.
        failed: of all these draws, how many failed with an error, now or before, and count as abstentions until they are retried;
            cause: the most frequent of their causes.
    """

    drawn: int
    already: int
    missing: int
    abstained: int
    calls: int
    cost: float | None
    seconds: float
    stopped: str | None
    rescored: int = 0
    failed: int = 0
    cause: str | None = None

    @property
    def errors(self) -> str | None:
        """A sentence on what failed; None where nothing did."""
        if not self.failed:
            return None
        of = self.drawn + self.already
        return f"Errors cost {self.failed} of {of} draws, most often {self.cause!r}: retry_failed (--retry-failed) makes them again."


def collect(
    mux: SLMMux,
    examples: Sequence[dspy.Example],
    metric: Metric,
    bank: SampleBank,
    *,
    dataset: str = "default",
    k: int | None = None,
    fields: Mapping[str, Any] | None = None,
    num_threads: int = 16,
    max_calls: int | None = None,
    max_cost: float | None = None,
    retry_failed: bool = False,
    console: Console | None = None,
) -> Collected:
    """Draw what the bank lacks, and score it.

    What is recorded already is scored anew, without a call, where it was scored by another metric or gold answer.

    Args:
        examples: with their inputs marked; what else they hold is kept beside them, such as a category.
        metric: `(example, prediction, trace=None)` → bool or number, as in DSPy.
        dataset: a name for these questions.
        k: draws per member; None for the mux's own.
        fields: further fields of all these questions, such as `{"split": "train"}`.
        num_threads: draws in flight at once.
        max_calls: LM calls that this collection makes at most, repeated ones included.
        max_cost: US dollars that it spends at most. A price is known only from a response: the costs can pass this by what each
            member's first draw takes, and by what calls under way take above the member's dearest before them.
            A draw that a limit ends in the middle is not made yet: it is not recorded.
        retry_failed: draw again what failed with an error (a timeout, a refused connection), not what was answered unusably. What
            is recorded of it stays until a new draw takes its place.
        console: where progress is shown; None for no progress.

    Raises:
        MetricFailed: the metric raised; the draws made so far are kept, and scored by the next collection.
        MuxError: a member's first draws all failed alike; ConfigurationError: a mistake in the set-up, or a `max_cost` where DSPy
            knows the price of no member.
        BankError: the bank cannot be written.
        KeyboardInterrupt: after what has arrived is recorded.
    """
    if not examples:
        raise ConfigurationError("There are no examples to collect draws on.")
    if num_threads < 1 or (k is not None and k < 1):
        raise ConfigurationError("k and num_threads must be 1 or more.")
    return _Collection(
        mux,
        examples,
        metric,
        bank,
        dataset,
        k,
        fields or {},
        num_threads,
        max_calls,
        max_cost,
        retry_failed,
        console,
    ).run()


class _Collection:
    def __init__(
        self,
        mux: SLMMux,
        examples: Sequence[dspy.Example],
        metric: Metric,
        bank: SampleBank,
        dataset: str,
        k: int | None,
        fields: Mapping[str, Any],
        num_threads: int,
        max_calls: int | None,
        max_cost: float | None,
        retry_failed: bool,
        console: Console | None,
    ):
        self.mux, self.metric, self.bank, self.num_threads = mux, metric, bank, num_threads
        self.console = console
        self.k = [k or member.k or 1 for member in mux.members]
        self.owner = uuid.uuid4().hex
        programs = [fingerprint_member(mux, at) for at in range(len(mux.members))]
        self.programs = bank.programs_of(
            [
                (member.label, key, told)
                for member, (key, told) in zip(mux.members, programs, strict=True)
            ]
        )
        rows = [_question(example, fields, number) for number, example in enumerate(examples)]
        ids = bank.questions_of(dataset, rows)
        self.examples = dict(zip(ids, examples, strict=True))
        its_hash = hash_callable(metric)
        self.scored_by = {
            question: fingerprint_score(its_hash, example)
            for question, example in self.examples.items()
        }
        if len(self.examples) < len(examples):
            logger.warning(
                "%d examples have the same inputs as others and are drawn once.",
                len(examples) - len(self.examples),
            )
        self.retry_failed = retry_failed
        self.budget = _budget(mux, max_calls, max_cost)
        self.unpriced: list[str] = []
        self.calls, self.cost, self.costs_known = 0, 0.0, False
        self.drawn = self.abstained = 0
        self.mistake: BaseException | None = None
        self.in_a_row: dict[str, int] = {}
        self.outstanding: dict[tuple[int, int], int] = {}

    def run(self) -> Collected:
        began = time.monotonic()
        rescored = self._score_what_is_left()
        done, _ = self._done(list(self.examples))
        units: dict[tuple[int, int], list[int]] = {}
        for question in self.examples:
            for program, k in zip(self.programs, self.k, strict=True):
                if left := [draw for draw in range(k) if (program, question, draw) not in done]:
                    units[question, program] = left
        wanted, total = sum(map(len, units.values())), sum(self.k) * len(self.examples)
        writer = Writer(self.bank, self.mux, self.owner)
        progress = _progress(self.console)
        with progress if progress is not None else nullcontext():
            bar = (
                progress.add_task("drawing", total=total, completed=total - wanted, spent="")
                if progress is not None
                else None
            )
            with Interrupt() as interrupt, closing(writer):
                settled = sample(
                    self._draws(units),
                    timeout=self.mux.timeout,
                    num_threads=self.num_threads,
                    interrupt=interrupt,
                )
                with closing(settled):
                    for draw in settled:
                        assert isinstance(draw, RecordedDraw)
                        recorded = self._settle(draw, writer)
                        if progress is not None and bar is not None:
                            progress.update(bar, advance=recorded, spent=self._told(began))
                        self.mistake = self.mistake or writer.error or self._mistake(draw)
                        if self.mistake is not None:
                            interrupt.ask()  # but what has arrived is recorded
        if self.mistake is not None:
            raise self.mistake
        k_of = dict(zip(self.programs, self.k, strict=True))
        failures = self.bank.failures(self.programs, list(self.examples)).items()
        causes = Counter(cause for (program, _, draw), cause in failures if draw < k_of[program])
        return Collected(
            drawn=self.drawn,
            failed=causes.total(),
            cause=next((cause for cause, _ in causes.most_common(1)), None),
            rescored=rescored,
            already=total - wanted,
            missing=wanted - self.drawn,
            abstained=self.abstained,
            calls=self.calls,
            cost=self.cost if self.costs_known else None,
            seconds=time.monotonic() - began,
            stopped=None if self.budget is None else self.budget.stopped,
        )

    def _draws(self, units: dict[tuple[int, int], list[int]]) -> Iterator[Draw | None]:
        """The draws to make, unit by unit as this process gets hold of them."""
        at = {program: index for index, program in enumerate(self.programs)}
        keys = list(units)
        for start in range(0, len(keys), _UNITS_AT_ONCE):
            ours = self.bank.claim(keys[start : start + _UNITS_AT_ONCE], self.owner)
            # Another process may have drawn some of them since we looked.
            done, failed = (
                self._done([question for question, _ in ours]) if ours else (set(), set())
            )
            left = {
                unit: [n for n in units[unit] if (unit[1], unit[0], n) not in done] for unit in ours
            }
            with self.bank.writing() as connection:
                self.bank.release(
                    connection, self.owner, [unit for unit, numbers in left.items() if not numbers]
                )
            for unit, numbers in left.items():
                self.outstanding[unit] = len(numbers)
                inputs = self.examples[unit[0]].inputs()
                for draw in self.mux.draws(at[unit[1]], numbers, inputs, RecordedDraw):
                    draw.unit, draw.judge = unit, self._judge
                    draw.repeats = (unit[1], unit[0], draw.number) in failed
                    if self.budget is not None:
                        while (share := self.budget.share(draw.member.label)) is None:
                            if self.budget.stopped is not None:
                                return
                            yield None
                        draw.share = share
                    yield draw

    def _done(
        self, questions: Sequence[int]
    ) -> tuple[set[tuple[int, int, int]], set[tuple[int, int, int]]]:
        """(program, question, draw) of what need not be drawn, and of what failed and is drawn again."""
        failed = set(self.bank.failures(self.programs, questions)) if self.retry_failed else set()
        return self.bank.drawn(self.programs, questions) - failed, failed

    def _judge(self, draw: RecordedDraw) -> None:
        """Within the draw's own thread: a metric may take its time."""
        draw.answer = self.mux.answer_of(draw)
        draw.answered = True
        if draw.answer is None:
            return
        try:
            draw.score = self._score(self.examples[draw.unit[0]], draw.prediction)
            draw.scored_by = self.scored_by[draw.unit[0]]
        except Exception as error:  # noqa: BLE001  (the user's code; told, with the example, once the draw is recorded)
            draw.metric_error = error

    def _settle(self, draw: RecordedDraw, writer: Writer) -> bool:
        """Record a draw that has an outcome; False for one that a mistake, a limit or an interrupt ended before it had."""
        spent = draw.spent
        self.calls += spent.calls
        if spent.cost is not None:
            self.cost += spent.cost
            self.costs_known = True
        if draw.share is not None:
            draw.share.budget.settled(draw.share, answered=draw.prediction is not None)
        if (draw.share is not None and draw.share.refused) or find_mistake(draw) is not None:
            return False
        if draw.prediction is not None and not draw.answered and draw.error is None:
            return False  # an interrupt came while the answer was looked at
        self.outstanding[draw.unit] -= 1
        draw.completes = self.outstanding[draw.unit] == 0
        self.drawn += 1
        self.abstained += draw.answer is None
        writer.put(draw)
        return True

    def _mistake(self, draw: RecordedDraw) -> BaseException | None:
        """What a draw shows to be wrong with the set-up, a metric or a member: it ends the collection."""
        if draw.share is not None and draw.share.refused:
            return None
        if (mistake := find_mistake(draw)) is not None:
            return mistake
        if draw.metric_error is not None:
            return self._metric_failed(self.examples[draw.unit[0]], draw.metric_error)
        name = draw.member.label
        # A response that nothing can be made of is an abstention: the member is there, and weak.
        responded = draw.prediction is not None or not is_error(draw.cause or "")
        failures = self.in_a_row.get(name, 0)
        if responded or failures == -1:
            self.in_a_row[name] = -1
        elif (
            not draw.repeats
        ):  # what fails again may be out of order by itself, and the member is not
            self.in_a_row[name] = failures + 1
        if self.in_a_row.get(name, 0) >= _FAILURES_IN_A_ROW:
            return MuxError(
                f"The first {_FAILURES_IN_A_ROW} draws of {name!r} all failed ({draw.cause}): mend that and collect again with "
                "retry_failed (--retry-failed), or leave the member out."
            )
        return None if draw.share is None else self._without_price(draw.share.budget)

    def _without_price(self, budget: Budget) -> ConfigurationError | None:
        unpriced = budget.unpriced
        if budget.max_cost is None or unpriced == self.unpriced:
            return None
        self.unpriced, told = unpriced, ", ".join(unpriced)
        if len(unpriced) == len(self.mux.members):
            return ConfigurationError(
                f"DSPy tells no price of {told}, so max_cost cannot hold: bound max_calls instead."
            )
        logger.warning("DSPy tells no price of %s, whose calls max_cost does not count.", told)
        return None

    def _score_what_is_left(self) -> int:
        """Score what has no score by this metric and this gold answer, without a call; how many draws."""
        left = self.bank.unscored(self.programs, self.scored_by)
        types, scores = Types(self.mux), dict[int, tuple[float, str]]()
        try:
            for draw, question, answer, outputs in left:
                example = self.examples[question]
                try:
                    scores[draw] = (
                        self._score(example, types.prediction(answer, outputs)),
                        self.scored_by[question],
                    )
                except Exception as error:
                    raise self._metric_failed(example, error) from error
        finally:
            if scores:
                self.bank.score(scores)
        return len(scores)

    def _score(self, example: dspy.Example, prediction: dspy.Prediction | None) -> float:
        score = float(self.metric(example, prediction))
        if not math.isfinite(score):
            raise ValueError(f"the score is {score}")
        return score

    def _metric_failed(self, example: dspy.Example, error: Exception) -> MetricFailed:
        inputs = json.dumps(jsonable(example.inputs().toDict()), ensure_ascii=False)
        told = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        failed = MetricFailed(
            f"The metric raised {told} on the example {inputs[:200]}; its draws are recorded without a score, and a collection "
            "with a mended metric scores them without a call."
        )
        failed.__cause__ = error
        return failed

    def _told(self, began: float) -> str:
        rate = self.drawn / max(time.monotonic() - began, 1e-9)
        return f"{rate:.1f}/s, {self.calls} calls" + (
            f", ${self.cost:.4f}" if self.costs_known else ""
        )


def _budget(mux: SLMMux, max_calls: int | None, max_cost: float | None) -> Budget | None:
    if max_calls is None and max_cost is None:
        return None
    asks = mux.extract == "lm"
    steps = [sum(1 for _ in program.predictors()) + asks for program in mux.programs]
    return Budget(
        max_calls,
        max_cost,
        {member.label: max(1, calls) for member, calls in zip(mux.members, steps, strict=True)},
    )


def _question(
    example: dspy.Example, fields: Mapping[str, Any], number: int
) -> tuple[str, str, dict[str, Any]]:
    try:
        inputs = example.inputs().toDict()
    except ValueError as error:
        raise ConfigurationError(
            f"Example {number + 1} does not say what its inputs are: mark them with .with_inputs(…)."
        ) from error
    key = fingerprint_inputs(inputs)
    told = {
        name: value
        for name, value in {**example.toDict(), **fields}.items()
        if isinstance(value, (str, int, float, bool))
    }
    return key, str(told.get("question_id", key[:16])), told


def _progress(console: Console | None) -> Progress | None:
    if console is None:
        return None
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[spent]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    )


def recorded(
    mux: SLMMux, examples: Sequence[dspy.Example], bank: SampleBank, *, dataset: str, k: int
) -> Record:
    """The bank's draws of this very mux on these examples, in their order."""
    programs = [
        (member.label, fingerprint_member(mux, at)[0]) for at, member in enumerate(mux.members)
    ]
    record = bank.record(dataset=dataset, programs=programs)
    at = {key: position for position, key in enumerate(record.keys)}
    rows = list(
        dict.fromkeys(at[fingerprint_inputs(example.inputs().toDict())] for example in examples)
    )
    return record.rows(np.array(rows)).of([member.label for member in mux.members], k)[0].first(k)
