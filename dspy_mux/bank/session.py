"""What one process does of a collection: claim units, make their draws, record these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import dspy

from ..answers.equivalence import NO_ANSWER
from ..answers.reply import CUT_OFF
from ..mux.slm_mux import SLMMux
from ..sampling.draw import Draw, find_mistake
from ..sampling.interrupt import Interrupt
from ..sampling.run import sample
from .claims import Unit
from .health import Health
from .heartbeat import Confirmation, Heartbeat
from .limits import Limits
from .sample_bank import SampleBank
from .score import Scorer
from .units import UNITS_AT_ONCE, Claimed, Units
from .writer import RecordedDraw, Writer


@dataclass(frozen=True)
class Tallies:
    """What draws came to, and what they took.

    Attributes:
        drawn: draws recorded.
        abstained, cut_off: as in `Collected`.
        calls: LM calls.
        cost: US dollars; None where no price is known.
        lost: draws of those recorded that the bank did not take.
    """

    drawn: int = 0
    abstained: int = 0
    cut_off: int = 0
    calls: int = 0
    cost: float | None = None
    lost: int = 0

    def __add__(self, other: Tallies) -> Tallies:
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Tallies(
            self.drawn + other.drawn,
            self.abstained + other.abstained,
            self.cut_off + other.cut_off,
            self.calls + other.calls,
            sum(costs) if costs else None,
            self.lost + other.lost,
        )


class Session:
    """Makes draws in this process.

    Args:
        programs: of the members, in pool order.
        examples: question → example.
        budget: what all draws together may spend; None where that is unlimited.
        num_threads: draws in flight at once.

    Attributes:
        tallies: of the draws that have ended.
        health: watches them.
        mistake: the error that ended the session; None while all is well.
        in_flight: draws that have begun, or are about to, and have not ended.
        on_settled: called after each draw that has ended.
        on_record: called before a draw is given to the bank, when the tallies count it.
    """

    def __init__(
        self,
        mux: SLMMux,
        bank: SampleBank,
        programs: Sequence[int],
        examples: Mapping[int, dspy.Example],
        scorer: Scorer,
        budget: Limits | None,
        num_threads: int,
    ):
        self.mux, self.bank, self.scorer = mux, bank, scorer
        self.programs, self.examples = programs, examples
        self.num_threads = num_threads
        self.tallies = Tallies()
        self.mistake: BaseException | None = None
        self.in_flight = 0
        self._under_way: Counter[Unit] = Counter()  # draws
        self.on_settled: Callable[[], None] = lambda: None
        self.on_record: Callable[[RecordedDraw, int], None] = lambda draw, waiting: None
        self.limit_by(budget)

    @property
    def out_of_budget(self) -> bool:
        """Whether a limit was reached."""
        return self.budget is not None and self.budget.stopped is not None

    def limit_by(self, budget: Limits | None) -> None:
        """Have the draws to come spend from this budget."""
        self.budget = budget
        self.health = Health(self.scorer, budget, len(self.mux.members))

    def draw(
        self,
        units: Units,
        wanted: Iterable[Unit | None],
        heart: Heartbeat,
        interrupt: Interrupt,
        *,
        wait: bool = True,
    ) -> None:
        """Draw and record what units lack, where no other collection does.

        Args:
            wait: whether to wait for what others are at work on, and make the draws of those that
                have died.

        Raises:
            BankError: a draw could not be recorded.
        """
        writer = Writer(self.bank, self.mux, heart.owner, interrupt, units.on_done)
        try:
            with closing(writer):
                self._draw_once(units, wanted, heart, interrupt, writer)
                while wait and not self.out_of_budget:
                    ours = units.regain(heart, interrupt)
                    if not ours or interrupt.asked:
                        break
                    self._draw_once(units, ours, heart, interrupt, writer)
        finally:
            self.tallies += Tallies(lost=writer.unwritten)

    def _draw_once(
        self,
        units: Units,
        wanted: Iterable[Unit | None],
        heart: Heartbeat,
        interrupt: Interrupt,
        writer: Writer,
    ) -> None:
        self.in_flight = 0
        self._under_way.clear()
        settled = sample(
            self._draws(units, heart, wanted),
            timeout=self.mux.timeout,
            num_threads=self.num_threads,
            interrupt=interrupt,
        )
        with closing(settled):
            for draw in settled:
                assert isinstance(draw, RecordedDraw)
                if draw.claim.lost:
                    units.lose(draw.unit)
                self._settle(draw, units, writer)
                self.in_flight -= 1
                self._under_way[draw.unit] -= 1
                if not self._under_way[draw.unit]:
                    del self._under_way[draw.unit]
                error = writer.error or self.health.check(draw, self.num_threads)
                self.mistake = self.mistake or error
                if draw.member.label in self.health.given_up:
                    self._leave(draw.unit, units)
                self.on_settled()
                if self.mistake is not None:
                    interrupt.ask()  # ends the collection once all that arrived is recorded

    def _draws(
        self, units: Units, heart: Heartbeat, wanted: Iterable[Unit | None]
    ) -> Iterator[Draw | None]:
        """Claim units and yield their draws; None while the budget has no room for the next one,
        or it is not known yet."""
        positions = {program: at for at, program in enumerate(self.programs)}
        left: list[Unit] = []  # of members that are given up
        for claimed in units.claim(heart, wanted):
            if claimed is None:
                yield None
                continue
            at = positions[claimed.unit[1]]
            if self.mux.members[at].label in self.health.given_up:
                self._leave(claimed.unit, units)
                left.append(claimed.unit)
                if len(left) == UNITS_AT_ONCE:
                    heart.release(left)
                    left.clear()
                continue
            yield from self._draws_of(claimed, at, heart)
            if self.out_of_budget:
                return
            if self.mux.members[at].label in self.health.given_up:
                self._leave(claimed.unit, units)

    def _draws_of(self, claimed: Claimed, at: int, heart: Heartbeat) -> Iterator[Draw | None]:
        """Yield a unit's draws while its member is not given up and the budget has room."""
        inputs = self.examples[claimed.unit[0]].inputs()
        # Whoever replays the bank may try rules that read evidence.
        for draw in self.mux.draws(at, claimed.numbers, inputs, RecordedDraw, evidence=True):
            draw.unit, draw.judge = claimed.unit, self.scorer.judge
            draw.claim = Confirmation(heart, claimed.unit)
            draw.repeats = draw.number in claimed.failed
            if self.budget is not None:
                while (share := self.budget.share(draw.member.label)) is None:
                    if self.budget.stopped is not None:
                        return
                    yield None
                draw.share = share
            self.in_flight += 1
            self._under_way[claimed.unit] += 1
            yield draw
            if draw.member.label in self.health.given_up:
                return

    def _leave(self, unit: Unit, units: Units) -> None:
        """Have nobody wait for a unit of a member given up, once none of it is under way."""
        if not self._under_way[unit]:
            units.on_done([unit])

    def _settle(self, draw: RecordedDraw, units: Units, writer: Writer) -> None:
        """Record a draw, but for one that a mistake, limit or interrupt cut short."""
        spent = draw.spent
        self.tallies += Tallies(calls=spent.calls, cost=spent.cost)
        if draw.share is not None:
            draw.share.budget.settled(draw.share, answered=draw.prediction is not None)
        if draw.cut_short or find_mistake(draw) is not None:
            return
        if draw.prediction is not None and not draw.answered and draw.error is None:
            return  # interrupted while its answer was extracted
        if draw.member.label in self.health.given_up and draw.found_server_down:
            return  # it is missing, as those are that were not begun
        draw.completes = units.settle(draw.unit, draw.number)
        self.tallies += Tallies(1, *abstained(draw))
        self.on_record(draw, 1 + writer.unwritten)
        writer.put(draw)


def abstained(draw: RecordedDraw) -> tuple[bool, bool]:
    """Return whether a draw abstained, and whether because it was cut off."""
    return draw.answer is NO_ANSWER, draw.cause == CUT_OFF
