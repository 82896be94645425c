"""SLMMux: a pool of language models that answers as one DSPy module (SLM-MUX, ICLR 2026)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import dspy

from .adapters import default_adapter
from .answers import AnswerKind, answer_kind
from .errors import AllMembersFailed, ConfigurationError
from .extracting import ExtractingAdapter
from .members import Member, Pool, pool_of
from .sampling import Draw, asample, raise_what_is_no_abstention, sample, shows_no_key
from .signatures import signature_text
from .state import PoolState, Settings
from .voting import AnswerCount, Ballot, GivenInputs, MemberBallot, Rule, Spent, Verdict, rule_of

logger = logging.getLogger(__name__)


class SLMMux(dspy.Module):
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
        answer_field: the output field that is compared; `answer` where there is one, else the last output field.
        equivalence: when two answers are the same: None for the field's type (`answers.py`), an `AnswerKind`, a type such as
            `MathAnswer`, a key function of one answer, or a function of two answers.
        accuracies: member name → accuracy in [0, 1] on a validation split; breaks ties between equally consistent members.
        rule: "consistency" (the paper's), "pooled", "self_consistency", or an object with `name` and `choose(ballots)`.
        adapter: the DSPy adapter of members that name none; by default the configured one, else DSPy's without its JSON retry.
        extract: "lm" to ask the same member once more, at temperature 0, for the answer in a response where no rule finds it.
        timeout: seconds one draw may take before it abstains.
        num_threads: draws in flight at once for one question; None for all of them.

    Raises:
        ConfigurationError: at construction, for anything that could not work or would fake its confidence.
        AllMembersFailed: on a call, when no member produced an answer; it names each member's causes.
    """

    def __init__(
        self,
        program: str | type[dspy.Signature] | dspy.Module,
        lms: Pool,
        *,
        k: int = 3,
        temperature: float = 0.3,
        answer_field: str | None = None,
        equivalence: AnswerKind | Callable[..., Any] | None = None,
        accuracies: Mapping[str, float] | None = None,
        rule: str | Rule = "consistency",
        adapter: dspy.Adapter | None = None,
        extract: Literal["lm"] | None = None,
        timeout: float | None = None,
        num_threads: int | None = None,
    ):
        super().__init__()
        if extract not in (None, "lm"):
            raise ConfigurationError(f"extract must be None or 'lm', not {extract!r}.")
        if timeout is not None and not (isinstance(timeout, (int, float)) and 0 < timeout <= threading.TIMEOUT_MAX):
            raise ConfigurationError(f"timeout must be a number of seconds above 0, or None, not {timeout!r}.")
        if num_threads is not None and not (isinstance(num_threads, int) and num_threads >= 1):
            raise ConfigurationError(f"num_threads must be 1 or more, or None, not {num_threads!r}.")
        if adapter is not None and not isinstance(adapter, dspy.Adapter):
            raise ConfigurationError(f"adapter must be a dspy.Adapter instance, not {type(adapter).__name__}.")
        template = _as_module(program)
        self.answer_field, field = _answer_field(template, answer_field)
        self.kind = answer_kind(field, equivalence)
        members = pool_of(lms, k=k, temperature=temperature, adapter=adapter)
        self.pool = PoolState(
            members,
            rule_of(rule),
            accuracies=accuracies,
            settings=Settings(extract, timeout),
            equivalence=self.kind.name,
            answer_field=self.answer_field,
            program=_told_program(template),
        )
        self.num_threads = num_threads
        self.programs = [_copy_for_a_member(template) for _ in self.pool.members]
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
    def rule(self) -> Rule:
        return self.pool.rule

    @property
    def extract(self) -> Literal["lm"] | None:
        return self.pool.settings.extract

    @property
    def timeout(self) -> float | None:
        """Seconds one draw may take."""
        return self.pool.settings.timeout

    def forward(self, **inputs: Any) -> dspy.Prediction:
        draws = self._draws(inputs)
        for _ in sample(draws, timeout=self.timeout, num_threads=self.num_threads):
            pass
        return self._decide(draws, inputs)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        draws = self._draws(inputs)
        await asample(draws, timeout=self.timeout, num_threads=self.num_threads)
        # Comparing mathematics can take a while, and the event loop is not ours to hold.
        return await asyncio.to_thread(self._decide, draws, inputs)

    def set_lm(self, lm: dspy.BaseLM) -> None:
        raise ConfigurationError(
            "An SLMMux keeps one LM per member, so set_lm would make all members the same model: "
            "build a new SLMMux with other lms instead."
        )

    def save(self, path: Any, save_program: bool = False, modules_to_serialize: list[Any] | None = None) -> None:
        if save_program:
            logger.warning("save_program=True pickles the members' LMs with their API keys; save to a .json file instead.")
        super().save(path, save_program=save_program, modules_to_serialize=modules_to_serialize)

    def draw(self, member: int, number: int, inputs: Mapping[str, Any], kind: type[Draw] = Draw) -> Draw:
        """Draw `number` of the member at position `member` for a question, ready to run; `collect` records such draws."""
        drawn_from = self.members[member]
        return kind(drawn_from, number, self.programs[member], self.adapter_of(member), inputs)

    def subset(self, names: Sequence[str]) -> SLMMux:
        """A deep copy with these members alone, in this order; accuracies stay with them.

        Raises:
            ConfigurationError: no name, one named twice, or one that is no member.
        """
        unknown = [name for name in names if name not in self.pool.names]
        if unknown or not names or len(set(names)) != len(names):
            raise ConfigurationError(
                f"A subset names each of its members once, out of {', '.join(self.pool.names)}; not {list(names)}."
            )
        where = [self.pool.names.index(name) for name in names]
        copy = self.deepcopy()
        copy.programs = [copy.programs[at] for at in where]
        copy.pool.members = [copy.pool.members[at] for at in where]
        copy.pool.accuracies = {name: value for name, value in self.accuracies.items() if name in names}
        return copy

    def adapter_of(self, member: int) -> dspy.Adapter:
        """The adapter through which the member at position `member` is asked."""
        inner = self.members[member].adapter or dspy.settings.adapter or default_adapter()
        return ExtractingAdapter(inner, self.answer_field, self.kind, ask_model=self.extract == "lm")

    def answer_of(self, draw: Draw) -> Any:
        """The answer that a draw gave; None, and the cause on the draw, where it abstains."""
        answer = self._answer(draw)
        if draw.cause is None and self.kind.key(answer) is None:
            draw.cause = "empty answer" if answer is None or not str(answer).strip() else "unusable answer"
        return None if draw.cause is not None else answer

    def _draws(self, inputs: Mapping[str, Any]) -> list[Draw]:
        self._refuse_own_lms()
        return [self.draw(at, number, inputs) for at, member in enumerate(self.members) for number in range(member.k or 1)]

    def _decide(self, draws: Sequence[Draw], inputs: Mapping[str, Any]) -> dspy.Prediction:
        raise_what_is_no_abstention(draws)
        answers = [self._answer(draw) for draw in draws]
        classes = self.kind.classes(answers)
        for draw, answer, answer_class in zip(draws, answers, classes, strict=True):
            if answer_class is None and draw.cause is None:
                draw.cause = "empty answer" if answer is None or not str(answer).strip() else "unusable answer"
        votes = _by_member(draws, classes)
        ballots = [Ballot(name, tuple(votes[name]), self.accuracies.get(name)) for name in self.pool.names]
        # A rule may weigh by a category, which is one of the inputs.
        rule = self.rule.given(inputs) if isinstance(self.rule, GivenInputs) else self.rule
        choice = rule.choose(ballots)
        if choice is None:
            raise self._all_failed(draws)
        name = self.pool.names[choice.ballot]
        winner = next((d for d, c in zip(draws, classes, strict=True) if d.member.label == name and c == choice.answer), None)
        if winner is None or winner.prediction is None:
            raise ConfigurationError(f"The rule {self.rule.name!r} chose an answer that member {name!r} never drew.")
        verdict = Verdict(
            answer=winner.prediction[self.answer_field],
            member=name,
            confidence=choice.confidence,
            tie_break=choice.tie_break,
            rule=self.rule.name,
            ballots=_told(ballots, draws, answers, classes),
            **_total(draws).model_dump(),
        )
        _extend_trace(winner.trace)
        return _with_verdict(winner.prediction, verdict)

    def _answer(self, draw: Draw) -> Any:
        if draw.cause is not None or draw.prediction is None:
            return None
        if self.answer_field not in draw.prediction:
            draw.cause = f"the prediction has no field {self.answer_field!r} (it has {', '.join(draw.prediction.keys())})"
            return None
        return draw.prediction[self.answer_field]

    def _all_failed(self, draws: Sequence[Draw]) -> AllMembersFailed:
        causes = _by_member(draws, [draw.cause for draw in draws])
        not_chosen = [f"answered, but the rule {self.rule.name!r} chose none of its answers"]
        told = {name: _most_frequent_first(causes[name]) + not_chosen * (None in causes[name]) for name in self.pool.names}
        error = AllMembersFailed(told)
        error.__cause__ = next(
            (draw.error for draw in draws if draw.error is not None and shows_no_key(draw.error, draw.member.lm)), None
        )
        return error

    def _refuse_own_lms(self) -> None:
        for name, predictor in self.named_predictors():
            own = "lm" if predictor.lm is not None else "config" if predictor.config else None
            if own is not None and name.startswith("programs["):
                raise ConfigurationError(
                    f"The predictor {name} has its own {own}, which would override its member's: leave it out and set it on "
                    "the member instead."
                )


def _as_module(program: Any) -> dspy.Module:
    if isinstance(program, dspy.Module):
        return program
    if isinstance(program, str) or (isinstance(program, type) and issubclass(program, dspy.Signature)):
        return dspy.ChainOfThought(program)
    raise ConfigurationError(f"program must be a signature (string or class) or a dspy.Module instance, not {program!r}.")


def _told_program(template: dspy.Module) -> dict[str, str] | None:
    """A program of one signature, as text from which `dspy-mux ask` can build it again; None for any other program."""
    makers = {dspy.ChainOfThought: "chain_of_thought", dspy.Predict: "predict"}
    if type(template) not in makers:
        return None
    signature = template.predict.signature if isinstance(template, dspy.ChainOfThought) else template.signature
    if isinstance(template, dspy.ChainOfThought):
        signature = signature.delete("reasoning")
    text = signature_text(signature)
    return None if text is None else {"module": makers[type(template)], "signature": text}


def _copy_for_a_member(template: dspy.Module) -> dspy.Module:
    copy = template.deepcopy()
    for _, module in copy.named_sub_modules(dspy.Module):
        # DSPy leaves compiled modules out of named_predictors(): they would neither be optimised nor saved.
        module._compiled = False
    return copy


def _answer_field(template: dspy.Module, asked: str | None) -> tuple[str, Any]:
    """The name of the answer field and the field itself, from the last predictor that has it."""
    outputs = [predictor.signature.output_fields for predictor in template.predictors()]
    if any("verdict" in fields for fields in outputs[-1:]):
        raise ConfigurationError("The program has an output field named 'verdict', which the mux adds itself: rename it.")
    name = asked or ("answer" if any("answer" in fields for fields in outputs) else None)
    if name is None:
        name = list(outputs[-1])[-1] if outputs else "answer"
    found = [fields[name] for fields in outputs if name in fields]
    if asked is not None and not found and isinstance(template, (dspy.Predict, dspy.ChainOfThought)):
        known = sorted({field for fields in outputs for field in fields})
        raise ConfigurationError(f"The program has no output field {asked!r}; its output fields are {', '.join(known)}.")
    return name, found[-1] if found else Any


def _by_member(draws: Sequence[Draw], values: Sequence[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = {draw.member.label: [] for draw in draws}
    for draw, value in zip(draws, values, strict=True):
        grouped[draw.member.label].append(value)
    return grouped


def _told(
    ballots: Sequence[Ballot], draws: Sequence[Draw], answers: Sequence[Any], classes: Sequence[int | None]
) -> list[MemberBallot]:
    drawn = {(d.member.label, c): a for d, a, c in reversed(list(zip(draws, answers, classes, strict=True)))}
    causes = _by_member(draws, [draw.cause for draw in draws])
    return [
        MemberBallot(
            member=ballot.member,
            votes=list(ballot.votes),
            confidence=ballot.confidence,
            accuracy=ballot.accuracy,
            answers=[
                AnswerCount(answer=drawn[ballot.member, group], count=count, group=group)
                for group, count in sorted(ballot.counts.items(), key=lambda item: -item[1])
            ],
            abstentions=dict(Counter(cause for cause in causes[ballot.member] if cause is not None)),
        )
        for ballot in ballots
    ]


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


def _most_frequent_first(causes: Sequence[str | None]) -> list[str]:
    return [cause for cause, _ in Counter(cause for cause in causes if cause is not None).most_common()]
