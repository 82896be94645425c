"""SLMMux: a pool of language models that answers as one DSPy module (SLM-MUX, ICLR 2026)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, get_args

import dspy
from typing_extensions import Unpack

from ..errors import ConfigurationError
from ..sampling.draw import Draw
from ..sampling.members import Pool
from ..voting.ballot import Ballot, Frugal, GivenInputs, Rule, by_accuracy
from ..voting.rules import rule_of
from .ensemble import Ensemble, Rounds, Shared, Wave
from .saved import Schedule, check_rule

#: Members that begin together under the hedged schedule.
_HEDGED = 2


class SLMMux(Ensemble):
    """Ask every member k times on its own, and trust the most self-consistent one.

        mux = SLMMux("question -> answer: float", lms=[lm_a, lm_b, lm_c], k=3)
        pred = mux(question="…")
        pred.answer, pred.verdict.member, pred.verdict.confidence

    The prediction is the winning draw's, with all its fields, and a `verdict` (`dspy_mux.Verdict`) that tells every member's
    ballot and what the question cost. Members never see each other's text.

    Args:
        program: a signature (string or class; wrapped in `dspy.ChainOfThought`) or any `dspy.Module`, of several steps too. Each
            member gets its own deep copy, so optimizers can give each its own instructions and demos.
        lms: the pool: a list of `dspy.LM` or `Member`, or a dict of name → either. Its order is the last tie-break.
        k: draws per member.
        temperature: of the draws; the paper uses 0.3.
        rule: "consistency" (the paper's), "pooled", "self_consistency", or an object with `name` and `choose(ballots)`.
        schedule: "full" makes all draws at once. "frugal" makes them in turn, and none that could not change the answer: the answer
            is the same for fewer calls. "hedged" starts the two most accurate members together, the others only if still needed,
            and withdraws what no longer is. Both count on an equivalence that is one: where a is b and b is c, a is c.
        answer_field: the output field that is compared; `answer` where there is one, else the last output field.
        equivalence: when two answers are the same: None for the field's type (`answers.py`), an `AnswerKind`, a type such as
            `MathAnswer`, a key function of one answer, or a function of two answers.
        accuracies: member name → accuracy in [0, 1] on a validation split; breaks ties between equally consistent members.
        adapter: the DSPy adapter of members that name none; by default the configured one, else DSPy's without its JSON retry.
        extract: "lm" to ask the same member once more, at temperature 0, for the answer in a response where no rule finds it.
        timeout: seconds one draw may take before it abstains; what local models take to load is not counted.
        num_threads: draws in flight at once for one question; None for all of them.

    Raises:
        ConfigurationError: at construction, for anything that could not work or would fake its confidence.
        AllMembersFailed: on a call, when no member produced an answer; it names each member's causes.
    """

    method: ClassVar[str] = "slm_mux"

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        k: int = 3,
        temperature: float = 0.3,
        rule: str | Rule = "consistency",
        schedule: Schedule = "full",
        **shared: Unpack[Shared],
    ):
        super().__init__(program, lms, k=k, temperature=temperature, rule=rule_of(rule), **shared)
        if schedule not in get_args(Schedule):
            raise ConfigurationError(
                f"schedule must be one of {', '.join(get_args(Schedule))}, not {schedule!r}."
            )
        self.pool.settings.schedule = schedule
        check_rule(self.rule, self.members)
        self._frugal_rule({})

    @property
    def rule(self) -> Rule:
        rule = self.pool.rule
        assert rule is not None  # every SLMMux is built with one
        return rule

    @property
    def schedule(self) -> Schedule:
        return self.pool.settings.schedule

    def subset(self, names: Sequence[str]) -> SLMMux:
        """A deep copy with these members alone, in this order; accuracies stay with them.

        Raises:
            ConfigurationError: no name, one named twice, or one that is no member; or the rule was fitted for other members.
        """
        unknown = [name for name in names if name not in self.pool.names]
        if unknown or not names or len(set(names)) != len(names):
            raise ConfigurationError(
                f"A subset names each of its members once, out of {', '.join(self.pool.names)}; not {list(names)}."
            )
        where = [self.pool.names.index(name) for name in names]
        check_rule(self.rule, [self.members[at] for at in where])
        copy = self.deepcopy()
        copy.programs = [copy.programs[at] for at in where]
        copy.pool.members = [copy.pool.members[at] for at in where]
        copy.pool.accuracies = {
            name: value for name, value in self.accuracies.items() if name in names
        }
        return copy

    def _rounds(self, inputs: Mapping[str, Any]) -> Rounds:
        self._refuse_own_lms()
        check_rule(self.rule, self.members)
        draws: list[list[Draw]] = [
            self.draws(at, range(member.k or 1), inputs) for at, member in enumerate(self.members)
        ]
        rule = self._frugal_rule(inputs)
        if rule is None:
            yield Wave([draw for member in draws for draw in member])
        elif self.schedule == "frugal":
            yield from self._in_turn(rule, draws)
        else:
            yield from self._hedged(rule, draws)
        return self._decide(draws, inputs)

    def _in_turn(self, rule: Frugal, draws: Sequence[Sequence[Draw]]) -> Iterator[Wave]:
        """What the rule wants, until it wants nothing more."""
        while wanted := rule.wants(self._so_far(draws)[0]):
            begun = [sum(draw.settled for draw in member) for member in draws]
            wave = [
                draw for at, count in wanted for draw in draws[at][begun[at] : begun[at] + count]
            ]
            if not wave:
                raise ConfigurationError(
                    f"The rule {self.rule.name!r} wants draws that there are not: {wanted}."
                )
            yield Wave(wave)

    def _hedged(self, rule: Frugal, draws: Sequence[Sequence[Draw]]) -> Iterator[Wave]:
        """The draws of the two most accurate members at once, then those of all others; each until the rule wants nothing more."""
        order = by_accuracy([self.accuracies.get(name) for name in self.pool.names])
        stopped = False

        def enough() -> bool:
            # Once is enough: a draw that was withdrawn must not be begun again, whatever the rule makes of one that came late.
            nonlocal stopped
            stopped = stopped or not rule.wants(self._so_far(draws)[0])
            return stopped

        for members in (order[:_HEDGED], order[_HEDGED:]):
            if members and not enough():
                yield Wave([draw for at in members for draw in draws[at]], enough)

    def _frugal_rule(self, inputs: Mapping[str, Any]) -> Frugal | None:
        """The rule that says which draws are still needed; None where all are made."""
        if self.schedule == "full":
            return None
        rule = self._rule_for(inputs)
        if not isinstance(rule, Frugal):
            raise ConfigurationError(
                f"schedule={self.schedule!r} spares draws that cannot change the answer, and the rule {rule.name!r} has no method "
                'wants(ballots) that tells which those are: use schedule="full".'
            )
        return rule

    def _rule_for(self, inputs: Mapping[str, Any]) -> Rule:
        # A rule may weigh by a category, which is one of the inputs.
        return self.rule.given(inputs) if isinstance(self.rule, GivenInputs) else self.rule

    def _so_far(
        self, draws: Sequence[Sequence[Draw]]
    ) -> tuple[list[Ballot], list[tuple[Draw, int | None]]]:
        """The ballots of what has settled, and those draws with their classes; of each member up to its first that has not."""
        cast = [
            draw
            for member in draws
            for draw in itertools.takewhile(lambda draw: draw.settled, member)
        ]
        classes = self._classes(cast)
        votes: dict[str, list[int | None]] = {name: [] for name in self.pool.names}
        for draw, answer_class in zip(cast, classes, strict=True):
            votes[draw.member.label].append(answer_class)
        ballots = [
            Ballot(name, tuple(votes[name]), self.accuracies.get(name), len(member))
            for name, member in zip(self.pool.names, draws, strict=True)
        ]
        return ballots, list(zip(cast, classes, strict=True))

    def _decide(
        self, draws: Sequence[Sequence[Draw]], inputs: Mapping[str, Any]
    ) -> dspy.Prediction:
        ballots, cast = self._so_far(draws)
        choice = self._rule_for(inputs).choose(ballots)
        if choice is None:
            raise self._all_failed([draw for draw, _ in cast], f"the rule {self.rule.name!r}")
        name = self.pool.names[choice.ballot]
        winner = next(
            (draw for draw, its in cast if draw.member.label == name and its == choice.answer), None
        )
        if winner is None or winner.prediction is None:
            raise ConfigurationError(
                f"The rule {self.rule.name!r} chose an answer that member {name!r} never drew."
            )
        return self._conclude(
            winner,
            decided_by=self.rule.name,
            confidence=choice.confidence,
            tie_break=choice.tie_break,
            ballots=ballots,
            cast=cast,
            spent=[draw for member in draws for draw in member],
        )
