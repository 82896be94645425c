"""What every method over a pool has in common: members with their own copies of a program, rounds of draws, and a verdict.

A method is a generator of rounds: it yields draws, goes on when all of them are settled, and returns its prediction. Calls and
`acall`s drive the same generator, on threads and on asyncio tasks.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import dspy
from typing_extensions import TypedDict

from ..adapters.extract import ExtractingAdapter
from ..adapters.formats import default_adapter
from ..adapters.guard import GuardedAdapter
from ..answers.choose import AnswerKind, answer_kind
from ..answers.kinds import as_text
from ..errors import ConfigurationError
from ..redact import shows_no_key
from ..sampling.abstention import NO_FIELD, NO_TEXT, UNUSABLE
from ..sampling.draw import Draw, raise_mistakes
from ..sampling.members import Member, Pool, build_pool
from ..sampling.run import asample, sample
from ..voting.ballot import Ballot, Rule, TieBreak
from ..voting.verdict import (
    AllMembersFailed,
    MemberBallot,
    Spent,
    Turn,
    Verdict,
    most_frequent_first,
)
from .code_hash import hash_kind, hash_module
from .saved import Choices, PoolState, Settings, check_predictors
from .signature_text import signature_text

logger = logging.getLogger(__name__)

AnyDraw = TypeVar("AnyDraw", bound=Draw)


@dataclass(frozen=True)
class Wave:
    """Draws that are made at once.

    Attributes:
        enough: asked whenever one of them has settled; once it says so, the others are withdrawn. None to wait for all.
    """

    draws: Sequence[Draw]
    enough: Callable[[], bool] | None = None


#: A method goes on after each wave when its draws are settled, and returns the prediction.
Rounds = Generator[Wave, None, dspy.Prediction]


class Shared(TypedDict, total=False):
    """Arguments that every method takes; `SLMMux` tells what they mean."""

    answer_field: str | None
    equivalence: AnswerKind | Callable[..., Any] | None
    accuracies: Mapping[str, float] | None
    adapter: dspy.Adapter | None
    extract: Literal["lm"] | None
    timeout: float | None
    num_threads: int | None


class Ensemble(dspy.Module):
    """A pool of members that answers as one DSPy module; the base of `SLMMux` and of the methods in `baselines/`.

    A method says how it draws and decides in `_rounds`.

    Raises:
        ConfigurationError: at construction, for anything that could not work or would fake its confidence.
        AllMembersFailed: on a call, when no member produced an answer; it names each member's causes.
    """

    #: What saved states and verdicts call the method.
    method: ClassVar[str]

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        k: int,
        temperature: float,
        rule: Rule | None = None,
        choices: Choices | None = None,
        answer_field: str | None = None,
        equivalence: AnswerKind | Callable[..., Any] | None = None,
        accuracies: Mapping[str, float] | None = None,
        adapter: dspy.Adapter | None = None,
        extract: Literal["lm"] | None = None,
        timeout: float | None = None,
        num_threads: int | None = None,
    ):
        super().__init__()
        if extract not in (None, "lm"):
            raise ConfigurationError(f"extract must be None or 'lm', not {extract!r}.")
        if timeout is not None and not (
            isinstance(timeout, (int, float)) and 0 < timeout <= threading.TIMEOUT_MAX
        ):
            raise ConfigurationError(
                f"timeout must be a number of seconds above 0, or None, not {timeout!r}."
            )
        if num_threads is not None and not (isinstance(num_threads, int) and num_threads >= 1):
            raise ConfigurationError(
                f"num_threads must be 1 or more, or None, not {num_threads!r}."
            )
        if adapter is not None and not isinstance(adapter, dspy.Adapter):
            raise ConfigurationError(
                f"adapter must be a dspy.Adapter instance, not {type(adapter).__name__}."
            )
        template = as_module(program)
        self.answer_field, field = _answer_field(template, answer_field)
        self.kind = answer_kind(field, equivalence)
        self.pool = PoolState(
            build_pool(lms, k=k, temperature=temperature, adapter=adapter),
            rule,
            method=self.method,
            choices=choices or Choices(),
            accuracies=accuracies,
            settings=Settings(extract, timeout),
            equivalence=self.kind.name,
            answer_field=self.answer_field,
            program=_told_program(template),
        )
        self.num_threads = num_threads
        # As it is made: what runs may count, or note what it has met, and stays the same program.
        self.code = hash_module(template)
        self.compares = [self.kind.name, *hash_kind(self.kind)]
        self.programs = [copy_for_a_member(template) for _ in self.pool.members]
        self._refuse_own_lms()

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
        return self.pool.settings.extract

    @property
    def timeout(self) -> float | None:
        """Seconds one draw may take."""
        return self.pool.settings.timeout

    def forward(self, *unnamed: Any, **inputs: Any) -> dspy.Prediction:
        self._check_inputs(unnamed, inputs)
        rounds = self._rounds(inputs)
        wave, prediction = _go_on(rounds, Wave(()))
        while prediction is None:
            with closing(
                sample(wave.draws, timeout=self.timeout, num_threads=self.num_threads)
            ) as settled:
                for _ in settled:
                    if wave.enough is not None and wave.enough():
                        break
            wave, prediction = _go_on(rounds, wave)
        return prediction

    async def aforward(self, *unnamed: Any, **inputs: Any) -> dspy.Prediction:
        self._check_inputs(unnamed, inputs)
        rounds = self._rounds(inputs)
        wave, prediction = _go_on(rounds, Wave(()))
        while prediction is None:
            await asample(
                wave.draws, timeout=self.timeout, num_threads=self.num_threads, enough=wave.enough
            )
            # Comparing mathematics can take a while, and the event loop is not ours to hold.
            wave, prediction = await asyncio.to_thread(_go_on, rounds, wave)
        return prediction

    def set_lm(self, lm: dspy.BaseLM) -> None:
        name = type(self).__name__
        article = "An" if name.startswith(("A", "SLM")) else "A"
        raise ConfigurationError(
            f"{article} {name} keeps one LM per member, so set_lm would make all members the same model: "
            f"build a new {name} with other lms instead."
        )

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        check_predictors(state)
        super().load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)

    def save(
        self, path: Any, save_program: bool = False, modules_to_serialize: list[Any] | None = None
    ) -> None:
        if save_program:
            logger.warning(
                "save_program=True pickles the members' LMs with their API keys; save to a .json file instead."
            )
        super().save(path, save_program=save_program, modules_to_serialize=modules_to_serialize)

    def draw(self, member: int, number: int, inputs: Mapping[str, Any]) -> Draw:
        """Draw `number` of the member at position `member` for a question, ready to run."""
        return self.draws(member, [number], inputs)[0]

    def draws(
        self,
        member: int,
        numbers: Iterable[int],
        inputs: Mapping[str, Any],
        kind: type[AnyDraw] = Draw,  # type: ignore[assignment]
    ) -> list[AnyDraw]:
        """Draws of the member at position `member` for one question, ready to run.

        They share one adapter, which keeps nothing of a draw.
        """
        program, adapter = self.programs[member], self.adapter_of(member)
        return [kind(self.members[member], number, program, adapter, inputs) for number in numbers]

    def adapter_of(self, member: int) -> dspy.Adapter:
        """The adapter through which the member at position `member` is asked for its answer."""
        return ExtractingAdapter(
            self._own_adapter(member), self.answer_field, self.kind, ask_model=self.extract == "lm"
        )

    def answer_of(self, draw: Draw) -> Any:
        """The answer that a draw gave; None, and the cause on the draw, where it abstains."""
        answer = self._answer(draw)
        if draw.cause is None and self.kind.key(answer) is None:
            draw.cause = _no_answer(answer)
        return None if draw.cause is not None else answer

    def _rounds(self, inputs: Mapping[str, Any]) -> Rounds:
        raise NotImplementedError

    def _own_adapter(self, member: int) -> dspy.Adapter:
        return GuardedAdapter(
            self.members[member].adapter or dspy.settings.adapter or default_adapter(),
            self.members[member].lm,
        )

    def _answer(self, draw: Draw) -> Any:
        if draw.cause is not None or draw.prediction is None:
            return None
        if self.answer_field not in draw.prediction:
            draw.cause = (
                f"{NO_FIELD} {self.answer_field!r} (it has {', '.join(draw.prediction.keys())})"
            )
            return None
        return draw.prediction[self.answer_field]

    def _classes(self, draws: Sequence[Draw]) -> list[int | None]:
        """The equivalence class of each draw's answer; None, and the cause on the draw, where it abstains."""
        answers = [self._answer(draw) for draw in draws]
        classes = self.kind.classes(answers)
        for draw, answer, answer_class in zip(draws, answers, classes, strict=True):
            if answer_class is None and draw.cause is None:
                draw.cause = _no_answer(answer)
        return classes

    def _ballots(self, draws: Sequence[Draw], classes: Sequence[int | None]) -> list[Ballot]:
        """Each member's ballot of these draws, in pool order; those of members that drew none are left out."""
        votes = _by_member(draws, classes)
        return [
            Ballot(name, tuple(votes[name]), self.accuracies.get(name))
            for name in self.pool.names
            if name in votes
        ]

    def _conclude(
        self,
        winner: Draw,
        *,
        decided_by: str,
        confidence: float,
        tie_break: TieBreak,
        ballots: Sequence[Ballot],
        cast: Sequence[tuple[Draw, int | None]],
        spent: Sequence[Draw],
        turns: Sequence[Turn] = (),
    ) -> dspy.Prediction:
        """The winning draw's prediction with its verdict.

        Args:
            cast: the draws that the ballots count, with their classes; spent: all draws made for the question.
        """
        assert winner.prediction is not None  # an abstention wins nothing
        verdict = Verdict(
            answer=winner.prediction[self.answer_field],
            member=winner.member.label,
            confidence=confidence,
            tie_break=tie_break,
            rule=decided_by,
            ballots=self._told(ballots, cast),
            turns=list(turns),
            **_total(spent).model_dump(),
        )
        _extend_trace(winner.trace)
        return _with_verdict(winner.prediction, verdict)

    def _told(
        self, ballots: Sequence[Ballot], cast: Sequence[tuple[Draw, int | None]]
    ) -> list[MemberBallot]:
        draws = [draw for draw, _ in cast]
        drawn = {(draw.member.label, group): self._answer(draw) for draw, group in reversed(cast)}
        causes = _by_member(draws, [draw.cause for draw in draws])
        return [
            MemberBallot.of(
                ballot,
                {group: drawn[ballot.member, group] for group in ballot.counts},
                causes.get(ballot.member, ()),
            )
            for ballot in ballots
        ]

    def _all_failed(
        self, draws: Sequence[Draw], decided_by: str, turns: Sequence[Turn] = ()
    ) -> AllMembersFailed:
        causes = _by_member(draws, [draw.cause for draw in draws])
        not_chosen = [f"answered, but {decided_by} chose none of its answers"]
        told = {
            name: most_frequent_first(causes[name]) + not_chosen * (None in causes[name])
            for name in self.pool.names
            if name in causes
        }
        error = AllMembersFailed(told, turns)
        error.__cause__ = next(
            (
                draw.error
                for draw in draws
                if draw.error is not None and shows_no_key(draw.error, draw.member.lm)
            ),
            None,
        )
        return error

    def _check_inputs(self, unnamed: Sequence[Any], inputs: Mapping[str, Any]) -> None:
        """Before a call is made: DSPy itself only warns of inputs that are missing, once for every draw."""
        program = self.programs[0]
        plain = program.predict if isinstance(program, dspy.ChainOfThought) else program
        fields = list(plain.signature.input_fields) if isinstance(plain, dspy.Predict) else []
        if unnamed or (fields and not inputs.keys() & set(fields)):
            wanted = ", ".join(f"{name}=…" for name in fields) or "question=…"
            got = f"{len(unnamed)} without a name" if unnamed else ", ".join(inputs) or "none"
            raise ConfigurationError(
                f"{type(self).__name__} takes its inputs by name, {wanted}, and was given {got}."
            )

    def _refuse_own_lms(self) -> None:
        if all(predictor.lm is None and not predictor.config for predictor in _predictors(self)):
            return
        for name, predictor in self.named_predictors():
            own = "lm" if predictor.lm is not None else "config" if predictor.config else None
            if own is not None:
                raise ConfigurationError(
                    f"The predictor {name} has its own {own}, which would override its member's: leave it out and set it on "
                    "the member instead."
                )


def as_module(program: Any) -> dspy.Module:
    if isinstance(program, dspy.Module):
        return program
    if isinstance(program, str) or (
        isinstance(program, type) and issubclass(program, dspy.Signature)
    ):
        return dspy.ChainOfThought(program)
    raise ConfigurationError(
        f"program must be a signature (string or class) or a dspy.Module instance, not {program!r}."
    )


def copy_for_a_member(template: dspy.Module) -> dspy.Module:
    copy = template.deepcopy()
    for _, module in copy.named_sub_modules(dspy.Module):
        # DSPy leaves compiled modules out of named_predictors(): they would neither be optimised nor saved.
        module._compiled = False
    return copy


def _predictors(value: Any) -> Iterator[dspy.Predict]:
    """The predictors within a module. DSPy's own walk reads all the calls in every module's history as well, at every call."""
    if isinstance(value, dspy.Predict):
        yield value
    elif isinstance(value, dspy.Module):
        for name, inner in vars(value).items():
            if name not in ("history", "callbacks"):
                yield from _predictors(inner)
    elif isinstance(value, (list, tuple, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _predictors(inner)


def _go_on(rounds: Rounds, done: Wave) -> tuple[Wave, dspy.Prediction | None]:
    """The next wave; after the last one the prediction."""
    raise_mistakes(done.draws)
    try:
        return next(rounds), None
    except StopIteration as end:
        return done, end.value


def _told_program(template: dspy.Module) -> dict[str, str] | None:
    """A program of one signature, as text from which `dspy-mux ask` can build it again; None for any other program."""
    makers = {dspy.ChainOfThought: "chain_of_thought", dspy.Predict: "predict"}
    if type(template) not in makers:
        return None
    signature = (
        template.predict.signature
        if isinstance(template, dspy.ChainOfThought)
        else template.signature
    )
    if isinstance(template, dspy.ChainOfThought):
        signature = signature.delete("reasoning")
    text = signature_text(signature)
    return None if text is None else {"module": makers[type(template)], "signature": text}


def _answer_field(template: dspy.Module, asked: str | None) -> tuple[str, Any]:
    """The name of the answer field and the field itself, from the last predictor that has it."""
    outputs = [predictor.signature.output_fields for predictor in template.predictors()]
    if any("verdict" in fields for fields in outputs[-1:]):
        raise ConfigurationError(
            "The program has an output field named 'verdict', which the mux adds itself: rename it."
        )
    name = asked or ("answer" if any("answer" in fields for fields in outputs) else None)
    if name is None:
        name = list(outputs[-1])[-1] if outputs else "answer"
    found = [fields[name] for fields in outputs if name in fields]
    if (
        asked is not None
        and not found
        and isinstance(template, (dspy.Predict, dspy.ChainOfThought))
    ):
        known = sorted({field for fields in outputs for field in fields})
        raise ConfigurationError(
            f"The program has no output field {asked!r}; its output fields are {', '.join(known)}."
        )
    return name, found[-1] if found else Any


def _no_answer(answer: Any) -> str:
    return NO_TEXT if answer is None or not as_text(answer).strip() else UNUSABLE


def _by_member(draws: Sequence[Draw], values: Sequence[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {draw.member.label: [] for draw in draws}
    for draw, value in zip(draws, values, strict=True):
        grouped[draw.member.label].append(value)
    return grouped


def _total(draws: Sequence[Draw]) -> Spent:
    spent = [draw.spent for draw in draws]
    costs = [each.cost for each in spent if each.cost is not None]
    return Spent(
        calls=sum(each.calls for each in spent),
        cached_calls=sum(each.cached_calls for each in spent),
        prompt_tokens=sum(each.prompt_tokens for each in spent),
        completion_tokens=sum(each.completion_tokens for each in spent),
        cost=sum(costs) if costs else None,
    )


def _extend_trace(trace: Sequence[Any]) -> None:
    settings = dspy.settings
    if settings.trace is not None and settings.max_trace_size > 0:
        settings.trace.extend(trace)
        del settings.trace[: -settings.max_trace_size]


def _with_verdict(prediction: dspy.Prediction, verdict: Verdict) -> dspy.Prediction:
    combined = prediction.copy(verdict=verdict)
    combined._completions = prediction._completions
    return combined
