"""`SLMMux`: ask every member k times, trust the most self-consistent one (SLM-MUX, ICLR 2026)."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator, Sequence
from itertools import chain, takewhile
from typing import ClassVar, get_args

import dspy
from typing_extensions import Unpack

from ..answers.equivalence import NO_ANSWER
from ..errors import ConfigurationError
from ..sampling.draw import Draw
from ..sampling.members import Pool
from ..voting.ballot import Ballot, Frugal, Rule, by_accuracy, reads_evidence, rule_for
from ..voting.confidence import decide
from ..voting.evidence import any_of
from ..voting.rules import rule_of
from ..voting.verdict import AllMembersFailed, Verdict
from . import outcome
from .ensemble import Ensemble, Inputs
from .options import SharedOptions
from .points import OperatingPoints, Which
from .prediction import with_verdict
from .rounds import Rounds, Wave
from .saved import Otherwise, Schedule
from .saved_rule import check_asks, check_rule
from .traces import mark_members
from .trust import Escalate, check_trust, draws_wanted, escalation_of, kept_back

#: How many members start together under the hedged schedule.
_HEDGED = 2


class MuxArguments(SharedOptions, total=False):
    """Keyword arguments of `SLMMux`."""

    k: int
    temperature: float
    rule: str | Rule
    schedule: Schedule
    threshold: float | None
    otherwise: Otherwise
    escalate: Escalate | None


class SLMMux(Ensemble):
    """Ask every member k times on its own, and trust the most self-consistent one.

    The prediction is the winning draw's, with all its fields, and a `verdict`
    (`dspy_mux.Verdict`) with every member's ballot and what the question cost. Members never see
    each other's text.

    Args:
        program: a signature (string or class; wrapped in `dspy.ChainOfThought`) or any
            `dspy.Module`, also one of several steps. Each member gets its own deep copy, so
            optimizers can give each its own instructions and demos.
        lms: the pool: a list of `dspy.LM` or `Member`, or a dict of name → either. Its order is
            the last tie-break.
        k: draws of each member that has no k of its own. A `Member`'s own settings, those that
            `load_pool` reads from a file among them, come before the mux's, given or not.
        temperature: of the draws of each member that has none of its own; the paper uses 0.3. At 0,
            where draws are all the same, k is 1.
        rule: "consistency" (the paper's), "pooled", "self_consistency", "probability" (by the
            log-probabilities that servers report), or an object with `name` and
            `choose(ballots)`.
        schedule: "full" makes all draws at once. "frugal" draws member by member and stops as
            soon as no further draw can change the answer: the same answer for fewer calls.
            "hedged" starts the two most accurate members together, the others only if still
            needed, and withdraws what is no longer needed: the same answer too, but "pooled" and
            "probability" may credit a later member that drew it (`verdict.member`, and the fields
            that are not compared), where an earlier one's draws have not arrived or never began.
            Both require a transitive equivalence, unless the rule is "consistency" or
            "self_consistency".
        threshold: the confidence from which an answer is trusted (`verdict.trusted`), such as
            `dspy-mux risk` finds on labelled questions; None trusts or doubts none.
        otherwise: what becomes of an answer below it: "flag" says so in the verdict, "abstain"
            makes the answer None where its field's type admits that, and raises `NotTrusted` where
            not, "escalate" has `escalate` answer instead. Where that fails, the pool's answer
            stands, flagged.
        escalate: an LM or `Member`, which runs the same program once at temperature 0, or a module
            with LMs of its own. Its calls and cost are the verdict's too.
        answer_field: the output field that is compared; by default `answer`, else the last one.
            A list of fields compares them jointly, a dict gives each its equivalence (None for
            its type's). Fields that are not compared are the winning draw's.
        equivalence: decides when two answers are the same: None for the field's type (see
            `answers/choose.py`), an `AnswerKind`, a type such as `MathAnswer`, a key function of
            one answer, or a predicate of two.
        accuracies: member name → accuracy in [0, 1] on a validation split; breaks ties between
            equally consistent members.
        adapter: the DSPy adapter of members that name none; by default the configured one, else
            DSPy's without its JSON retry.
        extract: "lm" asks the member once more, at temperature 0, for the answer in a response
            where no rule finds it.
        timeout: seconds before a draw abstains. They count from when the draw begins: neither its
            wait for a thread nor the time that a local model takes to load is part of them.
        num_threads: draws in flight at once for one question; None for all of them.
        on_error: what becomes of an exception in the program's own code, which is not an error of
            the LM, of parsing or of time: "raise" it, or "abstain" as those do.
        logprobs: whether draws ask their servers for log-probabilities: "auto" where the rule
            reads them, True, or False. What a server refuses is not asked again.
        group: whether a member's draws share one request for several choices: "auto" where its
            server is not known to refuse that, True, or False (`docs/requests.md`).

    Raises:
        ConfigurationError: at construction, an argument cannot work or would fake the confidence.
        AllMembersFailed: on a call, no member produced an answer; names each member's causes.
        NotTrusted: on a call, the answer is not trusted, and its field cannot be None.

    Example:
        `DummyLM` stands in for real models here:

        >>> import dspy
        >>> from dspy.utils import DummyLM
        >>> unsure = DummyLM([{"answer": "Tunis"}, {"answer": "Tripoli"}, {"answer": "Rome"}])
        >>> sure = DummyLM([{"answer": "Tripoli"}] * 3)
        >>> program = dspy.Predict("question -> answer")
        >>> mux = SLMMux(program, lms={"unsure": unsure, "sure": sure}, k=3)
        >>> pred = mux(question="What is the capital of Libya?")
        >>> pred.answer, pred.verdict.member, pred.verdict.confidence, pred.verdict.calls
        ('Tripoli', 'sure', 1.0, 6)
    """

    method: ClassVar[str] = "slm_mux"

    def __init__(  # noqa: PLR0913  (arguments of the user's)
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        k: int = 3,
        temperature: float = 0.3,
        rule: str | Rule = "consistency",
        schedule: Schedule = "full",
        threshold: float | None = None,
        otherwise: Otherwise = "flag",
        escalate: Escalate | None = None,
        **shared: Unpack[SharedOptions],
    ):
        super().__init__(program, lms, k=k, temperature=temperature, rule=rule_of(rule), **shared)
        if schedule not in get_args(Schedule):
            raise ConfigurationError(
                f"schedule must be one of {', '.join(get_args(Schedule))}, not {schedule!r}."
            )
        check_trust(threshold, otherwise, escalate)
        self.escalation = escalation_of(escalate, program, self.pool.names)
        self.pool.settings = dataclasses.replace(
            self.pool.settings,
            schedule=schedule,
            threshold=threshold,
            otherwise=otherwise,
            escalates_to=None if self.escalation is None else self.escalation.name,
        )
        check_rule(self.rule, self.members)
        check_asks(self.rule, self.members, self.pool.settings.logprobs)
        self._frugal_rule({})

    @property
    def rule(self) -> Rule:
        rule = self.pool.rule
        assert rule is not None  # every SLMMux is built with one
        return rule

    @property
    def schedule(self) -> Schedule:
        return self.pool.settings.schedule

    @property
    def points(self) -> OperatingPoints | None:
        """The operating points that `MuxOptimizer` measured; None where it was asked for none."""
        return self.pool.points

    def pick(self, which: Which) -> SLMMux:
        """Return a deep copy whose threshold is that of another of its `points`.

        Args:
            which: the point's name, its position, or its threshold as a float.

        Raises:
            ConfigurationError: there is no such point.
        """
        if self.points is None:
            raise ConfigurationError(
                "This mux has no operating points: MuxOptimizer measures them, given max_risk, "
                "max_escalated or max_cost_per_question."
            )
        threshold, copy = self.points[which].threshold, self.deepcopy()
        copy.pool.settings = dataclasses.replace(copy.pool.settings, threshold=threshold)
        return copy

    def subset(self, names: Sequence[str]) -> SLMMux:
        """Return a deep copy with these members alone, in this order, and their accuracies.

        Raises:
            ConfigurationError: no name, a name twice, or an unknown one; or the rule was fitted,
                or the threshold chosen, for other members.

        >>> import dspy
        >>> lms = {name: dspy.utils.DummyLM([{"answer": name}]) for name in ("a", "b", "c")}
        >>> SLMMux("question -> answer", lms).subset(["c", "a"]).pool.names
        ['c', 'a']
        """
        unknown = [name for name in names if name not in self.pool.names]
        if unknown or not names or len(set(names)) != len(names):
            raise ConfigurationError(
                f"A subset names each of its members once, out of {', '.join(self.pool.names)}; "
                f"not {list(names)}."
            )
        where = [self.pool.names.index(name) for name in names]
        check_rule(self.rule, [self.members[at] for at in where])
        self.pool.check_points([self.members[at] for at in where])
        copy = self.deepcopy()
        copy.programs = [copy.programs[at] for at in where]
        mark_members(copy.programs)
        copy.pool.members = [copy.pool.members[at] for at in where]
        copy.pool.accuracies = {
            name: value for name, value in self.accuracies.items() if name in names
        }
        return copy

    def _rounds(self, inputs: Inputs) -> Rounds:
        self._refuse_own_lms()
        check_rule(self.rule, self.members)
        evidence = reads_evidence(self.rule)
        draws: list[list[Draw]] = [
            self.draws(at, range(member.k or 1), inputs, evidence=evidence)
            for at, member in enumerate(self.members)
        ]
        rule = self._frugal_rule(inputs)
        if rule is None:
            yield Wave(list(chain(*draws)))
        elif self.schedule == "frugal":
            yield from self._in_turn(rule, draws)
        else:
            yield from self._hedged(rule, draws)
        try:
            prediction = self._decide(draws, inputs)
        except AllMembersFailed as failed:
            if self.pool.settings.otherwise != "escalate":
                raise
            return (yield from self._escalate(draws, inputs, failed))
        verdict: Verdict = prediction.verdict
        if verdict.trusted in (None, True) or self.pool.settings.otherwise == "flag":
            return prediction
        if self.pool.settings.otherwise == "abstain":
            return kept_back(
                prediction, self.programs[0], self.compared.fields, self.pool.settings.threshold
            )
        return (yield from self._escalate(draws, inputs, prediction))

    def _escalate(
        self,
        draws: Sequence[Sequence[Draw]],
        inputs: Inputs,
        instead_of: dspy.Prediction | AllMembersFailed,
    ) -> Generator[Wave, None, dspy.Prediction]:
        """Have another model answer in place of the pool's answer, or of none at all.

        Raises:
            AllMembersFailed: neither the pool nor that model answers.
        """
        assert self.escalation is not None
        member, on_error = self.escalation.drawn_from(), self.pool.settings.on_error
        adapter = self._adapter_for(member)
        draw = Draw(
            member, 0, self.escalation.program, adapter, inputs, on_error, self.compared.fault
        )
        yield Wave([draw])
        answer = self.answer_of(draw)
        spent = outcome.total_spent([*chain(*draws), draw]).model_dump()
        if draw.prediction is None or answer is NO_ANSWER:
            if isinstance(instead_of, AllMembersFailed):
                raise instead_of
            told = {"escalation_cause": draw.cause, **spent}
            return with_verdict(instead_of, instead_of.verdict.model_copy(update=told))
        if isinstance(instead_of, AllMembersFailed):
            ballots, cast = self._so_far(draws)
            verdict = Verdict(
                answer=answer,
                member=member.label,
                confidence=0.0,
                tie_break="nothing",
                rule=self.rule.name,
                ballots=outcome.member_ballots(ballots, cast, self._answer),
                trusted=False,
            )
        else:
            verdict = instead_of.verdict
        told = {"answer": answer, "member": member.label, "escalated": True, **spent}
        return with_verdict(draw.prediction, verdict.model_copy(update=told))

    def _in_turn(self, rule: Frugal, draws: Sequence[Sequence[Draw]]) -> Iterator[Wave]:
        """Yield the draws the rule asks for, until it asks for none."""
        while wanted := self._wanted(rule, draws):
            begun = [sum(draw.settled for draw in member) for member in draws]
            wave = [
                draw for at, count in wanted for draw in draws[at][begun[at] : begun[at] + count]
            ]
            if not wave:
                raise ConfigurationError(
                    f"The rule {self.rule.name!r} wants draws that do not exist: {wanted}."
                )
            yield Wave(wave, counted=list(chain(*draws)))

    def _hedged(self, rule: Frugal, draws: Sequence[Sequence[Draw]]) -> Iterator[Wave]:
        """Yield the draws of the two most accurate members, then those of all the others.

        Either wave ends as soon as the rule asks for no more.
        """
        order = by_accuracy([self.accuracies.get(name) for name in self.pool.names])
        stopped = False

        def enough() -> bool:
            # Once true, always true: a withdrawn draw must not start again because of a late one.
            nonlocal stopped
            stopped = stopped or not self._wanted(rule, draws)
            return stopped

        for members in (order[:_HEDGED], order[_HEDGED:]):
            if members and not enough():
                yield Wave(
                    [draw for at in members for draw in draws[at]], enough, list(chain(*draws))
                )

    def _wanted(self, rule: Frugal, draws: Sequence[Sequence[Draw]]) -> list[tuple[int, int]]:
        return draws_wanted(rule, self._so_far(draws)[0], self.pool.settings.threshold)

    def _frugal_rule(self, inputs: Inputs) -> Frugal | None:
        """Return the rule that says which draws are still needed; None under the full schedule."""
        if self.schedule == "full":
            return None
        rule = rule_for(self.rule, inputs)
        if not isinstance(rule, Frugal):
            raise ConfigurationError(
                f"schedule={self.schedule!r} skips draws that cannot change the answer, but the "
                f"rule {rule.name!r} has no method wants(ballots) to say which: "
                'use schedule="full".'
            )
        return rule

    def _so_far(
        self, draws: Sequence[Sequence[Draw]]
    ) -> tuple[list[Ballot], list[tuple[Draw, int | None]]]:
        """Return the ballots of the settled draws, and those draws with their classes.

        A member's draws count up to its first that has not settled.
        """
        settled = [list(takewhile(lambda draw: draw.settled, member)) for member in draws]
        votes = self.kind.classes_by_member(
            [[self.answer_of(draw) for draw in member] for member in settled]
        )
        ballots = [
            Ballot(
                name,
                tuple(own),
                self.accuracies.get(name),
                len(member),
                any_of([draw.evidence for draw in done]),
            )
            for name, own, member, done in zip(self.pool.names, votes, draws, settled, strict=True)
        ]
        cast = [
            pair
            for member, own in zip(settled, votes, strict=True)
            for pair in zip(member, own, strict=True)
        ]
        return ballots, cast

    def _decide(self, draws: Sequence[Sequence[Draw]], inputs: Inputs) -> dspy.Prediction:
        ballots, cast = self._so_far(draws)
        choice = decide(self.rule, self.pool.scale, ballots, inputs)
        if choice is None:
            raise outcome.all_members_failed(
                self.pool.names,
                [draw for draw, _ in cast],
                f"the rule {self.rule.name!r}",
                ballots=outcome.member_ballots(ballots, cast, self._answer),
            )
        name = self.pool.names[choice.ballot]
        winner = next(
            draw for draw, answer in cast if draw.member.label == name and answer == choice.answer
        )
        return self._conclude(
            winner,
            outcome.Grounds(
                self.rule.name,
                choice.confidence,
                choice.tie_break,
                choice.calibrated,
                choice.decided_by,
            ),
            ballots=ballots,
            cast=cast,
            spent=list(chain(*draws)),
        )
