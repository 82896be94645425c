"""Draw what a compilation learns from, within one budget, and read it back as records."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import dspy
import numpy as np
from rich.console import Console

from ..bank.collect import Collected, Metric, collect
from ..bank.conductor import Cluster
from ..bank.record import Record, join_records
from ..bank.reuse import reuse_draws
from ..bank.sample_bank import SampleBank
from ..bank.score import recorded
from ..errors import BankError, ConfigurationError, MetricFailed, MuxError
from ..mux.slm_mux import SLMMux
from ..mux.trust import Escalation
from ..replay.splits import Split
from ..sampling.members import Member, check_members
from ..voting.rules import rule_of
from .plan import Recorded

logger = logging.getLogger(__name__)

_DATASET = "mux_split"


@dataclass(frozen=True)
class DrawOptions:
    """How a compilation draws; `MuxOptimizer` documents each option."""

    greedy: bool = True
    num_threads: int = 16
    max_calls: int | None = None
    max_cost: float | None = None
    retry_failed: bool = False
    progress: bool = False
    cluster: Cluster | None = None


class Drawing:
    """The draws of one compilation: at the members' temperatures, and greedy ones.

    Args:
        k_max: draws per member; None for the mux's own largest k.

    Attributes:
        collected: calls and cost of each collection.
        greedy_left_out: a sentence on why there are no greedy draws where they were asked for.
        splits: the training and validation questions as positions; None without the latter.

    Raises:
        ConfigurationError: a member's k_max draws could only be copies of one another.
    """

    def __init__(
        self,
        student: SLMMux,
        metric: Metric,
        bank: SampleBank,
        options: DrawOptions,
        *,
        k_max: int | None,
    ):
        self.student, self.metric, self.bank, self.options = student, metric, bank, options
        self.k = k_max or max(member.k or 1 for member in student.members)
        self.collected: list[Collected] = []
        self.greedy_left_out: str | None = None
        self.splits: list[Split] | None = None
        check_members([replace(member, k=self.k) for member in student.members])

    def draw(self, parts: Mapping[str, Sequence[dspy.Example]]) -> Recorded:
        """Draw what the bank lacks of the parts "train" and, if given, "validation".

        Raises:
            ConfigurationError: draws are missing, as a limit was reached or others make them.
            MuxError: what `collect` raises.
        """
        sampled = [self._drawn(name, self.student, part, self.k) for name, part in parts.items()]
        if len(sampled) > 1:
            count, total = len(sampled[0].questions), sum(len(each.questions) for each in sampled)
            self.splits = [Split(np.arange(count), np.arange(count, total))]
        return Recorded(_joined(sampled), self._greedy(parts))

    def _greedy(self, parts: Mapping[str, Sequence[dspy.Example]]) -> Record | None:
        """Return the greedy draws, or None and the reason."""
        if not self.options.greedy or all(m.temperature == 0 for m in self.student.members):
            return None
        try:
            student = greedy(self.student)
            return _joined([self._drawn(name, student, part, 1) for name, part in parts.items()])
        except (MetricFailed, BankError):
            raise
        except MuxError as error:
            # A server may refuse temperature 0, and the sampled draws are there.
            self.greedy_left_out = f"Greedy draws were left out: {error}"
            logger.warning("%s", self.greedy_left_out)
            return None

    def large(
        self, parts: Mapping[str, Sequence[dspy.Example]], escalation: Escalation | None
    ) -> Record | None:
        """Return one draw of a large model on every example, in the order of the others.

        None without one, or where it is a program with LMs of its own, which no bank records.
        """
        if escalation is None or escalation.member is None:
            return None
        alone = only_large(self.student, escalation)
        return _joined([self._drawn(name, alone, part, 1) for name, part in parts.items()])

    def _drawn(self, part: str, mux: SLMMux, examples: Sequence[dspy.Example], k: int) -> Record:
        """Draw what the bank lacks of one part, and read it."""
        options = self.options
        reuse_draws(mux, examples, self.bank, dataset=_DATASET, k=k)
        done = collect(
            mux,
            examples,
            self.metric,
            self.bank,
            dataset=_DATASET,
            k=k,
            num_threads=options.num_threads,
            max_calls=self._calls_left(),
            max_cost=self._cost_left(),
            retry_failed=options.retry_failed,
            console=Console(stderr=True) if options.progress else None,
            cluster=options.cluster,
        )
        self.collected.append(done)
        if done.missing:
            why = "another process is drawing them"
            if done.given_up:
                one = done.given_up[0]
                why = f"the server of {one.member!r} is down ({one.cause})"
            elif done.stopped is not None:
                why = f"{done.stopped} was reached"
            raise ConfigurationError(
                f"{done.missing} draws of the {part} split are missing, as {why}: compile again "
                "when that is changed; what is drawn is kept."
            )
        if done.errors is not None:
            logger.warning("%s split: %s", part, done.errors)
        record = recorded(mux, examples, self.metric, self.bank, dataset=_DATASET, k=k)
        return as_live(record, mux)

    def _calls_left(self) -> int | None:
        if self.options.max_calls is None:
            return None
        return max(0, self.options.max_calls - sum(done.calls for done in self.collected))

    def _cost_left(self) -> float | None:
        if self.options.max_cost is None:
            return None
        spent = sum(done.cost or 0.0 for done in self.collected)
        return max(0.0, self.options.max_cost - spent)


def as_live(record: Record, mux: SLMMux) -> Record:
    """Leave out the evidence of members that the mux does not ask for log-probabilities.

    A bank may hold some of a collection that did ask, and no rule will find it in a live draw.
    """
    silent = [not member.asks(mux.pool.settings.logprobs) for member in mux.members]
    if not any(silent):
        return record
    evidence = {
        name: values if name == "temperature" else np.where(np.c_[silent], np.nan, values)
        for name, values in record.evidence.items()
    }
    kept = {name: values for name, values in evidence.items() if not np.isnan(values).all()}
    return replace(record, evidence=kept)


def only_large(mux: SLMMux, escalation: Escalation) -> SLMMux:
    """Return a mux of the large model alone, which asks it as a mux that escalates to it does."""
    assert escalation.member is not None  # it is no program with LMs of its own
    alone = mux.deepcopy()
    alone.escalation, alone.programs = None, [escalation.program]
    alone.pool.members, alone.pool.accuracies = [escalation.member], {}
    alone.pool.rule, alone.pool.points = rule_of("consistency"), None
    return alone


def greedy(mux: SLMMux) -> SLMMux:
    """Return a copy of a mux that draws each member once, at temperature 0.

    Raises:
        ConfigurationError: members differ in their temperature alone.
    """
    members = check_members([greedy_member(member) for member in mux.members])
    copy = mux.deepcopy()
    copy.pool.members = members
    return copy


def greedy_member(member: Member) -> Member:
    """Return a member that is drawn once, at temperature 0."""
    return replace(member, k=1, temperature=0.0)


def _joined(records: Sequence[Record]) -> Record:
    return records[0] if len(records) == 1 else join_records(records)
