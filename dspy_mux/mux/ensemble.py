"""`Ensemble`, the base of `SLMMux` and of every baseline: rounds of draws that end in a verdict.

A method is a generator of waves. `rounds.py` drives it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

import dspy
from typing_extensions import Self, Unpack

from ..adapters.extract import ExtractingAdapter
from ..adapters.formats import default_adapter
from ..adapters.guard import GuardedAdapter
from ..adapters.hints import HintingAdapter, Hints
from ..adapters.joint import JointGuard
from ..adapters.wrap import WrappingAdapter
from ..answers.equivalence import NO_ANSWER, AnswerKind
from ..errors import ConfigurationError
from ..sampling.draw import Draw
from ..sampling.grouped_call import group_of, may_group
from ..sampling.members import Member, Pool, build_pool
from ..sampling.spans import note_verdict
from ..sampling.turns import in_turn, take_turn
from ..voting.ballot import Ballot, Rule
from ..voting.evidence import any_of
from ..voting.verdict import AllMembersFailed, Verdict
from ..voting.verdict_parts import Turn
from . import outcome
from .code_hash import hash_kind, hash_module
from .compared import compared, fault_of
from .options import MuxOptions, SharedOptions, check_names
from .prediction import with_verdict
from .program import as_module, copy_for_a_member, predictors, saved_program
from .refusals import check_inputs, refuse_inner_mux, refuse_own_lms
from .restore import restore
from .rollout import PoolLM
from .rounds import Rounds, arun, run
from .saved import MethodChoices, MuxDescription, MuxSettings, PoolState
from .saved_checks import check_predictors
from .stream import note_original, open_stream
from .traces import extend_trace
from .trust import Escalate

AnyDraw = TypeVar("AnyDraw", bound=Draw)
#: A question: the program's inputs by name.
Inputs: TypeAlias = Mapping[str, Any]


class Ensemble(dspy.Module):
    """A pool of members that answers as one DSPy module.

    Subclasses say in `_rounds` how they draw and decide. `SLMMux` documents the arguments.

    Raises:
        ConfigurationError: at construction, an argument cannot work or would fake the confidence.
        AllMembersFailed: on a call, no member produced an answer; names each member's causes.
    """

    #: The method's name in saved states and verdicts.
    method: ClassVar[str]

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        k: int,
        temperature: float,
        rule: Rule | None = None,
        choices: MethodChoices | None = None,
        **shared: Unpack[SharedOptions],
    ):
        super().__init__()
        check_names(type(self), shared)
        options = MuxOptions(**shared)
        template = as_module(program)
        refuse_inner_mux(template)
        note_original(template)
        self.compared = compared(template, options.answer_field, options.equivalence)
        self.pool = PoolState(
            build_pool(lms, k=k, temperature=temperature, adapter=options.adapter),
            rule,
            description=MuxDescription(
                self.method, self.kind, self.answer_field, saved_program(template)
            ),
            choices=choices or MethodChoices(),
            accuracies=options.accuracies,
            settings=MuxSettings(
                options.extract,
                options.timeout,
                on_error=options.on_error,
                logprobs=options.logprobs,
            ),
        )
        if self.compared.kinds is not None and options.extract is not None:
            raise ConfigurationError(
                "extract='lm' asks for one field, and answer_field names several: leave it out."
            )
        self.num_threads = options.num_threads
        self._group = options.group  # it changes no answer: programs with a mux stay what they are
        # Hashed once, before a run: a program that counts its calls stays the same program.
        self.code = hash_module(template)
        self.compares = [self.kind.name, *hash_kind(self.kind)]
        self.programs = [copy_for_a_member(template, at) for at in range(len(self.members))]
        self._refuse_own_lms()

    @property
    def answer_field(self) -> str:
        """The output field that is compared; several as one text, such as `title, score`."""
        return self.compared.label

    @property
    def kind(self) -> AnswerKind:
        """How answers are compared."""
        return self.compared.kind

    @property
    def members(self) -> list[Member]:
        """The pool's members, complete, in pool order."""
        return self.pool.members

    @property
    def accuracies(self) -> dict[str, float]:
        """Validation accuracies by member name, for those that were measured."""
        return self.pool.accuracies

    @property
    def extract(self) -> Literal["lm"] | None:
        """Return "lm" where a member may be asked once more for its answer, else None."""
        return self.pool.settings.extract

    @property
    def timeout(self) -> float | None:
        """Seconds one draw may take; None for no limit."""
        return self.pool.settings.timeout

    def forward(self, *unnamed: Any, **inputs: Any) -> dspy.Prediction:
        check_inputs(type(self).__name__, self.programs[0], unnamed, inputs)
        with self.pool.as_drawn():
            return run(
                self._rounds(inputs),
                open_stream(self, self.compared, self.pool, inputs),
                timeout=self.timeout,
                num_threads=self.num_threads,
            )

    async def aforward(self, *unnamed: Any, **inputs: Any) -> dspy.Prediction:
        check_inputs(type(self).__name__, self.programs[0], unnamed, inputs)
        with in_turn(), self.pool.as_drawn():
            await take_turn()
            return await arun(
                self._rounds(inputs),
                open_stream(self, self.compared, self.pool, inputs),
                timeout=self.timeout,
                num_threads=self.num_threads,
            )

    def set_lm(self, lm: dspy.BaseLM | None) -> None:
        """Draw anew, where `lm` is a rollout of the configured LM or of this mux's; None ends that.

        Raises:
            ConfigurationError: any other LM, which would make all members the same model.
        """
        name = type(self).__name__
        article = "An" if name.startswith(("A", "SLM")) else "A"
        self.pool.take_rollout(lm, f"{article} {name}", name)

    def named_parameters(self) -> list[tuple[str, Any]]:
        if self.pool.stands_for_predictors():
            return [("pool", self.pool)]
        parameters: list[tuple[str, Any]] = super().named_parameters()
        return parameters

    def get_lm(self) -> dspy.BaseLM:
        """Return what stands for the members' LMs: it can be copied for a rollout, for `set_lm`."""
        return self.pool.rollout or PoolLM(self.pool.names)

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        check_predictors(state)
        super().load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        lms: Pool | None = None,
        *,
        program: str | type[dspy.Signature] | dspy.Module | None = None,
        k: int | None = None,
        rule: str | Rule | None = None,
        escalate: Escalate | None = None,
        accept_license: bool = False,
        **shared: Unpack[SharedOptions],
    ) -> Self:
        """Build a mux as `mux.save("mux.json")` saved it.

        The file holds neither keys nor addresses; `lms` does.

        Args:
            lms: the pool, in any order, which may have more members than were saved:
                `load_pool("pool.toml")`, or what the mux was built with. None is enough for
                embedded models, and for hosted ones whose key is in its usual variable.
            program: needed where it was not a signature, `dspy.Predict` or `dspy.ChainOfThought`.
            k: replaces the file's.
            rule: needed where it was an object of your own; a rule that is not the saved one is
                refused.
            escalate: needed where the mux escalates: what it escalates to.
            accept_license: accept the terms of embedded weights that ask for it.
            shared: what is not saved, such as `equivalence`; or replaces what is, such as
                `timeout`.

        Raises:
            DataError: the file is missing, damaged, or not a saved mux.
            ConfigurationError: it does not say how to reach a member, or a setting is wrong.
            PoolMismatch: the pool lacks a member, or the mux was saved of something else, such as
                another rule or equivalence.
        """
        mux: Self = restore(
            cls,
            Path(path),
            lms,
            program=program,
            rule=rule,
            escalate=escalate,
            accept_license=accept_license,
            **shared,
        )
        mux.pool.set_k(k)
        return mux

    def draws(
        self,
        member: int,
        numbers: Iterable[int],
        inputs: Inputs,
        kind: type[AnyDraw] = Draw,  # type: ignore[assignment]
        *,
        evidence: bool = False,
    ) -> list[AnyDraw]:
        """Return draws of the member at position `member` for one question, ready to run.

        They share one adapter, which keeps no state of a draw.

        Args:
            evidence: whether something reads the draws' evidence: `logprobs="auto"` asks then.
        """
        program, adapter = self.programs[member], self.adapter_of(member)
        on_error = self.pool.settings.on_error
        drawn_from = self._drawn_from(self.members[member], evidence=evidence)
        draws = [
            kind(drawn_from, number, program, adapter, inputs, on_error, self.compared.fault)
            for number in numbers
        ]
        shares = self._group if drawn_from.group is None else drawn_from.group
        group = group_of(program, len(draws)) if may_group(drawn_from.lm, shares) else None
        if group is not None:
            for draw in draws:
                draw.join(group)
        return draws

    def adapter_of(self, member: int) -> dspy.Adapter:
        """Return the adapter that asks the member at position `member` and reads its answer."""
        return self._reading(self._own_adapter(member))

    def answer_of(self, draw: Draw) -> Any:
        """Return a draw's answer; `NO_ANSWER` for an abstention, and note its cause on the draw."""
        answer = self._answer(draw)
        if draw.cause is None and self.kind.key(answer) is None:
            draw.abstain(fault_of(answer))
        return NO_ANSWER if draw.cause is not None else answer

    def _rounds(self, inputs: Inputs) -> Rounds:
        raise NotImplementedError

    def _own_adapter(self, member: int) -> dspy.Adapter:
        hints = Hints.of(dspy.settings.adapter)
        guarded = self._guarded(self.members[member], hints)
        return guarded if hints is None else HintingAdapter(guarded, hints, member)

    def _adapter_for(self, member: Member) -> dspy.Adapter:
        """Return the adapter that asks a model outside the pool, and reads its answer."""
        return self._reading(self._guarded(member, Hints.of(dspy.settings.adapter)))

    def _guarded(self, member: Member, hints: Hints | None) -> GuardedAdapter:
        configured = hints.beneath if hints is not None else dspy.settings.adapter
        chosen = member.adapter or configured or default_adapter()
        if self.compared.kinds is not None:
            return JointGuard(chosen, member.lm, self.compared.kinds)
        return GuardedAdapter(chosen, member.lm, self.answer_field, self.kind)

    def _reading(self, own: dspy.Adapter) -> dspy.Adapter:
        if self.compared.kinds is not None:
            return WrappingAdapter(own)  # free text does not say which field is which
        return ExtractingAdapter(own, self.answer_field, self.kind, ask_model=self.extract == "lm")

    def _drawn_from(self, member: Member, *, evidence: bool) -> Member:
        """Return the member that draws, which asks for log-probabilities or does not."""
        asks = member.asks(self.pool.settings.logprobs)
        asks = evidence if asks == "auto" else asks
        drawn_from = self.pool.drawn_from(member)
        if asks == (drawn_from.logprobs is True):
            return drawn_from
        return dataclasses.replace(drawn_from, logprobs=asks)

    def _answer(self, draw: Draw) -> Any:
        if draw.cause is not None or draw.prediction is None:
            return NO_ANSWER
        if (cause := self.compared.lack(draw.prediction)) is not None:
            draw.abstain(cause)
            return NO_ANSWER
        return self.compared.of(draw.prediction)

    def _classes(self, draws: Sequence[Draw]) -> list[int | None]:
        """Return the equivalence class of each draw's answer.

        The class of an abstention is None, and its cause is noted on the draw.
        """
        answers = [self._answer(draw) for draw in draws]
        classes = self.kind.classes(answers)
        for draw, answer, answer_class in zip(draws, answers, classes, strict=True):
            if answer_class is None and draw.cause is None:
                draw.abstain(fault_of(answer))
        return classes

    def _ballots(self, draws: Sequence[Draw], classes: Sequence[int | None]) -> list[Ballot]:
        """Return the ballots of the members that drew, in pool order."""
        votes = outcome.by_member(draws, classes)
        evidence = outcome.by_member(draws, [draw.evidence for draw in draws])
        return [
            Ballot(
                name,
                tuple(votes[name]),
                self.accuracies.get(name),
                evidence=any_of(evidence[name]),
            )
            for name in self.pool.names
            if name in votes
        ]

    def _conclude(
        self,
        winner: Draw,
        grounds: outcome.Grounds,
        *,
        ballots: Sequence[Ballot],
        cast: Sequence[tuple[Draw, int | None]],
        spent: Sequence[Draw],
        turns: Sequence[Turn] = (),
    ) -> dspy.Prediction:
        """Return the winning draw's prediction with its verdict.

        Args:
            cast: the draws that the ballots count, with their classes.
            spent: all draws made for the question.
        """
        assert winner.prediction is not None  # an abstention wins nothing
        threshold = self.pool.settings.threshold
        verdict = Verdict(
            answer=self.compared.of(winner.prediction),
            member=winner.member.label,
            confidence=grounds.confidence,
            calibrated=grounds.calibrated,
            tie_break=grounds.tie_break,
            rule=grounds.rule,
            decided_by=grounds.decided_by or grounds.rule,
            ballots=outcome.member_ballots(ballots, cast, self._answer),
            turns=list(turns),
            trusted=None if threshold is None else grounds.confidence >= threshold,
            group=next((group for draw, group in cast if draw is winner), None),
            **outcome.total_spent(spent).model_dump(),
        )
        extend_trace(winner, cast, spent)
        note_verdict(self, verdict, (member.lm for member in self.members))
        return with_verdict(winner.prediction, verdict)

    def _all_failed(
        self, draws: Sequence[Draw], decided_by: str, turns: Sequence[Turn] = ()
    ) -> AllMembersFailed:
        return outcome.all_members_failed(self.pool.names, draws, decided_by, turns)

    def _refuse_own_lms(self) -> None:
        if any(predictor.lm is not None or predictor.config for predictor in predictors(self)):
            refuse_own_lms(self)
