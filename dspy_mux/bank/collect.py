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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import dspy
from rich.console import Console

from ..errors import BankError, ConfigurationError, check_number
from ..mux.slm_mux import SLMMux
from ..progress import Step
from ..sampling.interrupt import Interrupt
from .children import Children, check_processes, embedded_in, units_at_once
from .collected import Collected as Collected, GivenUp
from .conductor import Cluster, Conductor
from .fingerprint import fingerprint_member
from .heartbeat import Heartbeat
from .limits import Budget
from .member_draws import member_draws
from .questions import check_fit, questions_of
from .sample_bank import SampleBank
from .score import Metric as Metric, Scorer, check_metric
from .session import Session, Tallies
from .units import UNITS_AT_ONCE, Units

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CollectOptions:
    """The settings of a collection: the keyword arguments of `collect`."""

    dataset: str = "default"
    k: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    num_threads: int = 16
    processes: int = 1
    max_calls: int | None = None
    max_cost: float | None = None
    retry_failed: bool = False
    console: Console | None = None
    cluster: Cluster | None = None

    def __post_init__(self) -> None:
        for name in ("k", "num_threads", "processes", "max_calls"):
            if (value := getattr(self, name)) is not None:
                check_number(name, value, 3, whole=True)
        if self.max_cost is not None:
            check_number("max_cost", self.max_cost, 0.5)
        if self.num_threads < 1 or (self.k is not None and self.k < 1):
            raise ConfigurationError("k and num_threads must be 1 or more.")
        if self.cluster is not None and self.processes != 1:
            raise ConfigurationError("A cluster has workers of its own: leave processes out.")


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
    processes: int = 1,
    max_calls: int | None = None,
    max_cost: float | None = None,
    retry_failed: bool = False,
    console: Console | None = None,
    cluster: Cluster | None = None,
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
        num_threads: draws in flight at once, of all processes together.
        processes: forked processes to share the draws, where one interpreter is the limit. They
            share the limits below too, and Ctrl-C ends all of them. What callbacks, the metric and
            LMs keep in memory, such as DSPy's history, stays in them. Where one is killed, the
            others make its draws; the calls that it had under way are not in `calls`. Not for
            embedded models, macOS or Windows.
        max_calls: at most this many LM calls, retries included.
        max_cost: at most this many US dollars. A price is known only from a response, so the cost
            can exceed this by a member's first draw, and by what calls in flight cost above the
            member's dearest call before them. A draw that a limit cuts short is not recorded.
        retry_failed: draw again what failed with an error (a timeout, a refused connection), but
            not unusable answers. The recorded failure stays until a new draw replaces it.
        console: shows the progress; None for no progress.
        cluster: machines to share the draws, such as `dspy_mux.cluster.RayCluster()`
            (`docs/scale.md`); None for this process, or `processes`.

    Raises:
        ConfigurationError: a wrong setting; several processes where they cannot be; a `max_cost`
            where DSPy knows no member's price; examples whose inputs the mux would refuse; a value,
            such as a function, by which questions cannot be told apart; or two examples with the
            same inputs and other labels.
        MetricFailed: the metric raised. The draws made so far are kept, and scored by the next
            collection.
        MuxError: the first draws of a member all failed alike. Where its server is down, it is
            given up instead (`Collected.given_up`), and the other members go on.
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
        processes=processes,
        max_calls=max_calls,
        max_cost=max_cost,
        retry_failed=retry_failed,
        console=console,
        cluster=cluster,
    )
    check_processes(processes, num_threads, embedded_in(mux))
    opened = nullcontext(bank) if isinstance(bank, SampleBank) else closing(SampleBank(bank))
    with opened as to_fill:
        if cluster is not None:
            cluster.check(mux, to_fill, num_threads)
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
        self.session = Session(
            mux,
            bank,
            self.programs,
            self.examples,
            self.scorer,
            _budget(mux, options),
            options.num_threads,
        )

    def run(self) -> Collected:
        began = time.monotonic()
        rescored = self.scorer.score_recorded(self.bank, self.programs)
        units = self._units()
        wanted = units.lacking
        total = sum(self.k.values()) * len(self.examples)
        meter = _Meter(self.options.console, total, total - wanted)
        alone = self.options.processes == 1 and self.options.cluster is None
        draw = self._draw if alone else self._draw_in_processes
        tallies = draw(units, meter)
        # Another collection may have drawn some since, and scored them by its own metric.
        rescored += self.scorer.score_recorded(self.bank, self.programs)
        failures = self.bank.failures(self.programs, list(self.examples)).items()
        causes = Counter(cause for (program, _, n), cause in failures if n < self.k[program])
        return Collected(
            drawn=tallies.drawn,
            failed=causes.total(),
            cause=next((cause for cause, _ in causes.most_common(1)), None),
            rescored=rescored,
            already=total - units.lacking - tallies.drawn,
            missing=units.lacking,
            given_up=self._given_up(units),
            members=member_draws(
                self.bank,
                [
                    (program, member.label, self.k[program])
                    for program, member in zip(self.programs, self.mux.members, strict=True)
                ],
                list(self.examples),
            ),
            abstained=tallies.abstained,
            cut_off=tallies.cut_off,
            calls=tallies.calls,
            cost=tallies.cost,
            seconds=time.monotonic() - began,
            stopped=None if self.session.budget is None else self.session.budget.stopped,
        )

    def _given_up(self, units: Units) -> tuple[GivenUp, ...]:
        missing: Counter[int] = Counter()
        for (_, program), left in units.missing.items():
            missing[program] += len(left)
        found = self.session.health.given_up
        return tuple(
            GivenUp(member.label, *found[member.label], missing[program])
            for program, member in zip(self.programs, self.mux.members, strict=True)
            if member.label in found
        )

    def _units(self) -> Units:
        options = self.options
        at_once = UNITS_AT_ONCE
        if options.processes > 1:
            at_once = units_at_once(options.num_threads // options.processes, max(self.k.values()))
        return Units(
            self.bank,
            list(self.examples),
            self.k,
            retry_failed=options.retry_failed,
            at_once=at_once,
        )

    def _draw(self, units: Units, meter: _Meter) -> Tallies:
        session = self.session
        with _counting_losses(lambda: session.tallies), meter:
            session.on_settled = lambda: meter.show(session.tallies)
            with Interrupt() as interrupt, Heartbeat(self.bank, interrupt) as heart:
                session.draw(units, list(units.missing), heart, interrupt)
        if session.mistake is not None:
            raise session.mistake
        return session.tallies

    def _draw_in_processes(self, units: Units, meter: _Meter) -> Tallies:
        with (
            Interrupt() as interrupt,
            self._conductor(units, interrupt) as conductor,
            _counting_losses(lambda: conductor.tallies),
            meter,  # once all are forked, as it has a thread
        ):
            conductor.show = meter.show
            conductor.run()
        units.begin_again()
        return conductor.tallies

    def _conductor(self, units: Units, interrupt: Interrupt) -> Conductor[Any]:
        if self.options.cluster is not None:
            return self.options.cluster.conductor(self.session, units, interrupt)
        return Children(self.session, units, self.options.processes, interrupt)


@contextmanager
def _counting_losses(tallies: Callable[[], Tallies]) -> Iterator[None]:
    """Add to an error of the bank how many draws it costs."""
    try:
        yield
    except BankError as error:
        if not (lost := tallies().lost):
            raise
        raise type(error)(
            f"{error} Lost: {lost} draws that had arrived; DSPy's cache, where it is on, has "
            "their responses."
        ) from error


class _Meter(Step):
    """Shows how far a collection is, within its block.

    Args:
        total, already: draws to have, and those that are recorded.
    """

    def __init__(self, console: Console | None, total: int, already: int):
        super().__init__(
            "drawing", console=console, unit="draws", total=total, done=already, ends=True
        )

    def show(self, tallies: Tallies) -> None:
        rate = tallies.drawn / max(time.monotonic() - self.began, 1e-9)
        cost = "" if tallies.cost is None else f", ${tallies.cost:.4f}"
        self.at(self.already + tallies.drawn, f"{rate:.1f}/s, {tallies.calls} calls{cost}")


def _budget(mux: SLMMux, options: CollectOptions) -> Budget | None:
    if options.max_calls is None and options.max_cost is None:
        return None
    extraction = mux.extract == "lm"
    longest = {
        member.label: max(1, len(program.predictors()) + extraction)
        for member, program in zip(mux.members, mux.programs, strict=True)
    }
    return Budget(options.max_calls, options.max_cost, longest)
