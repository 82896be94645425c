"""Collect draws: ask every member k times for every example, and record each draw as it arrives.

A recorded draw is never made again, so an interrupted collection resumes where it stopped. Several
processes can fill one bank: each claims questions of a member before it draws them, and makes the
draws of one that was killed once it has shown no life for some 20 seconds.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

import dspy
from rich.console import Console

from ..answers.equivalence import NO_ANSWER
from ..answers.reply import CUT_OFF
from ..errors import ConfigurationError
from ..mux.slm_mux import SLMMux
from ..sampling.draw import Draw, find_mistake
from ..sampling.interrupt import Interrupt
from ..sampling.run import sample
from .claims import Unit
from .fingerprint import fingerprint_member
from .health import Health
from .heartbeat import Confirmation, Heartbeat
from .limits import Budget
from .progress_bar import progress_bar
from .questions import check_fit, questions_of
from .sample_bank import SampleBank
from .score import Metric as Metric, Scorer, check_metric
from .units import Units
from .writer import RecordedDraw, Writer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collected:
    """The outcome of a collection.

    Attributes:
        drawn: draws recorded now.
        already: draws that were recorded before, or by another collection meanwhile.
        missing: draws still to make, by a later collection or by another one at work.
        rescored: recorded draws without a score by this metric and gold answer, scored now.
        abstained: abstentions among those drawn now.
        calls: LM calls made now.
        cost: US dollars spent now; None where no price is known.
        seconds: how long it took.
        stopped: the limit that ended it early, "max_calls" or "max_cost"; None otherwise.
        failed: all draws, new and recorded, that failed with an error; they count as abstentions
            until they are retried.
        cause: the most frequent cause of these failures.
        cut_off: abstentions now that ended at `max_tokens` before they had stated an answer.
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
    cut_off: int = 0

    @property
    def errors(self) -> str | None:
        """A sentence on the draws that failed; None where none did."""
        if not self.failed:
            return None
        return (
            f"Errors cost {self.failed} of {self.drawn + self.already} draws, most often "
            f"{self.cause!r}: retry_failed (--retry-failed) makes them again."
        )


@dataclass(frozen=True)
class CollectOptions:
    """The settings of a collection: the keyword arguments of `collect`."""

    dataset: str = "default"
    k: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    num_threads: int = 16
    max_calls: int | None = None
    max_cost: float | None = None
    retry_failed: bool = False
    console: Console | None = None

    def __post_init__(self) -> None:
        if self.num_threads < 1 or (self.k is not None and self.k < 1):
            raise ConfigurationError("k and num_threads must be 1 or more.")


def collect(  # noqa: PLR0913  (users pass keyword arguments; CollectOptions takes them at once)
    mux: SLMMux,
    examples: Sequence[dspy.Example],
    metric: Metric | None,
    bank: SampleBank | str | os.PathLike[str],
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
    """Make the draws that the bank lacks, score them and record them.

    Recorded draws are reused. They are scored again, without a call, where their score is by
    another metric or gold answer.

    >>> import tempfile
    >>> import dspy
    >>> from dspy_mux import SampleBank, SLMMux, collect
    >>> lms = {name: dspy.utils.DummyLM([{"reasoning": "", "answer": "4"}] * 8) for name in "ab"}
    >>> mux = SLMMux("question -> answer", lms=lms, k=3, temperature=0.3)
    >>> examples = [dspy.Example(question="2+2?", answer="4").with_inputs("question")]
    >>> bank = SampleBank(tempfile.mkdtemp() + "/bank.sqlite")
    >>> def metric(example, prediction, trace=None):
    ...     return prediction.answer == example.answer
    >>> done = collect(mux, examples, metric, bank)
    >>> done.drawn, done.already, done.missing
    (6, 0, 0)
    >>> bank.record().scores.mean(axis=2).tolist()
    [[1.0, 1.0]]

    Args:
        examples: with their inputs marked; their other fields, such as a category, are recorded.
        metric: `(example, prediction, trace=None)` → bool or number, as in DSPy. None records the
            draws without a score: for `estimate_accuracies`, or for a later collection with a
            metric, which scores them without a call.
        bank: where draws are recorded: a `SampleBank`, or its path or URL.
        dataset: a name for these questions.
        k: draws per member; None for the mux's own.
        fields: further fields of all these questions, such as `{"split": "train"}`.
        num_threads: draws in flight at once.
        max_calls: at most this many LM calls, retries included.
        max_cost: at most this many US dollars. A price is known only from a response, so the cost
            can exceed this by a member's first draw, and by what calls in flight cost above the
            member's dearest call before them. A draw that a limit cuts short is not recorded.
        retry_failed: draw again what failed with an error (a timeout, a refused connection), but
            not unusable answers. The recorded failure stays until a new draw replaces it.
        console: shows the progress; None for no progress.

    Raises:
        ConfigurationError: a wrong setting; a `max_cost` where DSPy knows no member's price;
            examples whose inputs the mux would refuse; a value, such as a function, by which
            questions cannot be told apart; or two examples with the same inputs and other labels.
        MetricFailed: the metric raised. The draws made so far are kept, and scored by the next
            collection.
        MuxError: the first draws of a member all failed alike.
        BankError: the bank cannot be read or written.
        KeyboardInterrupt: after the draws that have arrived are recorded.
    """
    if not examples:
        raise ConfigurationError("There are no examples to collect draws on.")
    if metric is not None:
        check_metric(metric)
    options = CollectOptions(
        dataset=dataset,
        k=k,
        fields=fields or {},
        num_threads=num_threads,
        max_calls=max_calls,
        max_cost=max_cost,
        retry_failed=retry_failed,
        console=console,
    )
    opened = nullcontext(bank) if isinstance(bank, SampleBank) else closing(SampleBank(bank))
    with opened as to_fill:
        return _Collection(mux, examples, metric, to_fill, options).run()


class _Collection:
    def __init__(
        self,
        mux: SLMMux,
        examples: Sequence[dspy.Example],
        metric: Metric | None,
        bank: SampleBank,
        options: CollectOptions,
    ):
        self.mux, self.bank, self.options = mux, bank, options
        # What cannot be recorded is refused before anything is written.
        asked = questions_of(examples, options.fields)
        check_fit(mux, examples)
        described = [fingerprint_member(mux, at) for at in range(len(mux.members))]
        self.programs = bank.add_programs(
            [
                (member.label, fingerprint, description)
                for member, (fingerprint, description) in zip(mux.members, described, strict=True)
            ]
        )
        self.k = {
            program: options.k or member.k or 1
            for program, member in zip(self.programs, mux.members, strict=True)
        }
        ids = bank.add_questions(
            options.dataset, [(one.key, one.name, one.fields) for one in asked]
        )
        self.examples = dict(zip(ids, examples, strict=True))
        if len(self.examples) < len(examples):
            logger.warning(
                "%d examples have the same inputs as others and are drawn once.",
                len(examples) - len(self.examples),
            )
        self.scorer = Scorer(mux, metric, self.examples)
        self.budget = _budget(mux, options)
        self.health = Health(self.scorer, self.budget, len(mux.members))
        self.calls, self.cost, self.costs_known = 0, 0.0, False
        self.drawn = self.abstained = self.cut_off = 0
        self.mistake: BaseException | None = None

    def run(self) -> Collected:
        began = time.monotonic()
        rescored = self.scorer.score_recorded(self.bank, self.programs)
        units = Units(
            self.bank, list(self.examples), self.k, retry_failed=self.options.retry_failed
        )
        wanted = units.lacking
        total = sum(self.k.values()) * len(self.examples)
        with progress_bar(self.options.console) as progress:
            bar = progress.add_task("drawing", total=total, completed=total - wanted, spent="")
            with closing(self._draw_all(units)) as outcomes:
                for recorded in outcomes:
                    progress.update(bar, advance=recorded, spent=self._spent_text(began))
        if self.mistake is not None:
            raise self.mistake
        # Another collection may have drawn some since, and scored them by its own metric.
        rescored += self.scorer.score_recorded(self.bank, self.programs)
        failures = self.bank.failures(self.programs, list(self.examples)).items()
        causes = Counter(cause for (program, _, n), cause in failures if n < self.k[program])
        return Collected(
            drawn=self.drawn,
            failed=causes.total(),
            cause=next((cause for cause, _ in causes.most_common(1)), None),
            rescored=rescored,
            already=total - units.lacking - self.drawn,
            missing=units.lacking,
            abstained=self.abstained,
            cut_off=self.cut_off,
            calls=self.calls,
            cost=self.cost if self.costs_known else None,
            seconds=time.monotonic() - began,
            stopped=None if self.budget is None else self.budget.stopped,
        )

    def _draw_all(self, units: Units) -> Generator[bool, None, None]:
        """Draw and record; yield, for each draw that ended, whether it was recorded."""
        with (
            Interrupt() as interrupt,
            Heartbeat(self.bank, interrupt) as heart,
            closing(Writer(self.bank, self.mux, heart.owner, interrupt)) as writer,
        ):
            ours = list(units.missing)
            while ours and not interrupt.asked:
                settled = sample(
                    self._draws(units, heart, ours),
                    timeout=self.mux.timeout,
                    num_threads=self.options.num_threads,
                    interrupt=interrupt,
                )
                with closing(settled):
                    for draw in settled:
                        assert isinstance(draw, RecordedDraw)
                        if draw.claim.lost:
                            units.lose(draw.unit)
                        yield self._settle(draw, units, writer)
                        self.mistake = self.mistake or writer.error or self.health.check(draw)
                        if self.mistake is not None:
                            interrupt.ask()  # ends the collection once all that arrived is recorded
                out = self.budget is not None and self.budget.stopped is not None
                ours = [] if out else units.regain(heart, interrupt)

    def _draws(
        self, units: Units, heart: Heartbeat, wanted: Sequence[Unit]
    ) -> Iterator[Draw | None]:
        """Claim units and yield their draws; None while the budget has no room for the next one."""
        positions = {program: at for at, program in enumerate(self.programs)}
        for claimed in units.claim(heart, wanted):
            question, program = claimed.unit
            inputs = self.examples[question].inputs()
            at, numbers = positions[program], claimed.numbers
            # Whoever replays the bank may try rules that read evidence.
            for draw in self.mux.draws(at, numbers, inputs, RecordedDraw, evidence=True):
                draw.unit, draw.judge = claimed.unit, self.scorer.judge
                draw.claim = Confirmation(heart, claimed.unit)
                draw.repeats = draw.number in claimed.failed
                if self.budget is not None:
                    while (share := self.budget.share(draw.member.label)) is None:
                        if self.budget.stopped is not None:
                            return
                        yield None
                    draw.share = share
                yield draw

    def _settle(self, draw: RecordedDraw, units: Units, writer: Writer) -> bool:
        """Record a draw; return False for one that a mistake, limit or interrupt cut short."""
        spent = draw.spent
        self.calls += spent.calls
        if spent.cost is not None:
            self.cost += spent.cost
            self.costs_known = True
        if draw.share is not None:
            draw.share.budget.settled(draw.share, answered=draw.prediction is not None)
        if draw.cut_short or find_mistake(draw) is not None:
            return False
        if draw.prediction is not None and not draw.answered and draw.error is None:
            return False  # interrupted while its answer was extracted
        draw.completes = units.settle(draw.unit, draw.number)
        self.drawn += 1
        self.abstained += draw.answer is NO_ANSWER
        self.cut_off += draw.cause == CUT_OFF
        writer.put(draw)
        return True

    def _spent_text(self, began: float) -> str:
        rate = self.drawn / max(time.monotonic() - began, 1e-9)
        cost = f", ${self.cost:.4f}" if self.costs_known else ""
        return f"{rate:.1f}/s, {self.calls} calls{cost}"


def _budget(mux: SLMMux, options: CollectOptions) -> Budget | None:
    if options.max_calls is None and options.max_cost is None:
        return None
    extraction = mux.extract == "lm"
    longest = {
        member.label: max(1, len(program.predictors()) + extraction)
        for member, program in zip(mux.members, mux.programs, strict=True)
    }
    return Budget(options.max_calls, options.max_cost, longest)
